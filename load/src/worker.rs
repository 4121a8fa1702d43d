//! The workers: each a thread with connections, sessions and totals of its own, through one phase after the
//! other.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::LoadError;
use crate::plan::{Plan, connections};
use crate::schedule::Schedule;
use crate::sessions::{Order, Sessions};
use crate::settings::Load;
use crate::target::{Protocol, Target};
use crate::totals::{Shared, Totals};
use crate::{http, udp};

/// One worker at rest, between phases.
pub(crate) struct Worker {
    pub(crate) number: u32,
    client: Client,
    sessions: Sessions,
    totals: Shared,
}

enum Client {
    Http(Box<http::Client>),
    Udp(Box<udp::Client>),
}

/// Workers of one phase, at work.
pub(crate) struct Phase {
    totals: Vec<Shared>,
    threads: Vec<JoinHandle<(Worker, io::Result<()>)>>,
    /// Nothing is ever sent: it breaks when the last worker is done.
    working: Receiver<()>,
}

impl Worker {
    /// Gathers sessions and finds the tracker.
    pub(crate) fn new(plan: &Plan, load: &Load, number: u32) -> Result<Self, LoadError> {
        let sessions = Sessions::new(&plan.population, &load.swarms, number, plan.workers);
        let target = plan.target(number);
        let part = |whole: u32| usize::try_from(plan.part(whole.into(), number)).unwrap_or(usize::MAX).max(1);
        let (places, window) = (part(connections(load, target)), part(load.window));
        let population = Arc::clone(&plan.population);
        let client = match target.protocol {
            Protocol::Http => {
                let form = plan.http_form(target, load)?;
                http::Client::new(target, population, form, load.closing, places, load.timeout, load.rest)
                    .map(|client| Client::Http(Box::new(client)))
            }
            Protocol::Udp => {
                let form = plan.udp_form(target, load)?;
                let places = places.min(window);
                udp::Client::new(target, population, form, places, window, load.timeout, load.rest)
                    .map(|client| Client::Udp(Box::new(client)))
            }
        };
        let client = client.map_err(|error| unreachable(target, &error))?;
        Ok(Self { number, client, sessions, totals: Arc::new(Mutex::new(Totals::new())) })
    }

    /// Sessions that it has.
    pub(crate) fn sessions(&self) -> u32 {
        self.sessions.len()
    }

    /// Does one phase, with fresh totals.
    fn work(&mut self, mut schedule: Schedule, order: Order) -> io::Result<()> {
        self.sessions.call(order);
        let Self { client, sessions, totals, .. } = self;
        let done = match client {
            Client::Http(client) => client.work(sessions, &mut schedule, totals),
            Client::Udp(client) => client.work(sessions, &mut schedule, totals),
        };
        totals.lock().unsent = schedule.unsent(Instant::now());
        done
    }
}

impl Phase {
    /// Sends all workers off; `schedule` says what each does.
    pub(crate) fn start(
        workers: Vec<Worker>,
        order: Order,
        mut schedule: impl FnMut(&Worker) -> Schedule,
    ) -> Result<Self, LoadError> {
        let mut totals = Vec::new();
        let (at_work, working): (Sender<()>, _) = channel();
        let start = |mut worker: Worker| {
            let schedule = schedule(&worker);
            *worker.totals.lock() = Totals::new();
            totals.push(Arc::clone(&worker.totals));
            let at_work = at_work.clone();
            std::thread::Builder::new().name("load".into()).spawn(move || {
                let done = worker.work(schedule, order);
                drop(at_work);
                (worker, done)
            })
        };
        let threads = workers.into_iter().map(start).collect::<io::Result<_>>()?;
        drop(at_work);
        Ok(Self { totals, threads, working })
    }

    /// What each worker measures, for as long as it does.
    pub(crate) fn totals(&self) -> Vec<Shared> {
        self.totals.clone()
    }

    /// Waits until all are done, but no longer than this. Returns whether they are.
    pub(crate) fn is_over_within(&self, longest: Duration) -> bool {
        self.working.recv_timeout(longest) == Err(RecvTimeoutError::Disconnected)
    }

    /// The workers, back from work.
    pub(crate) fn end(self) -> Result<Vec<Worker>, LoadError> {
        let mut workers = Vec::new();
        for thread in self.threads {
            let (worker, done) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            done?;
            workers.push(worker);
        }
        Ok(workers)
    }
}

fn unreachable(target: &Target, error: &io::Error) -> LoadError {
    let cause = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer".into(),
        _ => error.to_string(),
    };
    LoadError::Unreachable { tracker: target.to_string(), cause }
}
