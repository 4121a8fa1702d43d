//! The workers: each a thread with connections, sessions and a tally of its own, through one phase after the
//! other.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;

use super::crowd::{Crowd, Order};
use super::options::Load;
use super::pacer::Rest;
use super::plan::{Plan, connections};
use super::shift::Shift;
use super::tally::{Shared, Tally};
use super::target::{Protocol, Target};
use super::{http, udp};
use crate::failure::Failure;

/// One worker at rest, between phases.
pub(super) struct Worker {
    pub(super) number: u32,
    client: Client,
    crowd: Crowd,
    tally: Shared,
}

enum Client {
    Http(Box<http::Client>),
    Udp(Box<udp::Client>),
}

/// Workers of one phase, at work.
pub(super) struct Phase {
    tallies: Vec<Shared>,
    threads: Vec<JoinHandle<(Worker, io::Result<()>)>>,
}

impl Worker {
    /// Gathers sessions and finds the tracker.
    pub(super) fn new(plan: &Plan, load: &Load, number: u32) -> Result<Self, Failure> {
        let crowd = Crowd::new(&plan.population, &load.swarms, number, plan.workers);
        let target = plan.target(number);
        let part = |whole: u32| usize::try_from(plan.part(whole.into(), number)).unwrap_or(usize::MAX).max(1);
        let (places, window) = (part(connections(load, target)), part(load.window));
        let population = Arc::clone(&plan.population);
        let rest = if load.spin { Rest::Spins } else { Rest::Sleeps };
        let client = match target.protocol {
            Protocol::Http => {
                let form = plan.http_form(target, load)?;
                let closing = if load.close { http::Closing::Asked } else { http::Closing::NotAsked };
                http::Client::new(target, population, form, closing, places, load.timeout, rest)
                    .map(|client| Client::Http(Box::new(client)))
            }
            Protocol::Udp => {
                let form = plan.udp_form(target, load)?;
                let places = places.min(window);
                udp::Client::new(target, population, form, places, window, load.timeout, rest)
                    .map(|client| Client::Udp(Box::new(client)))
            }
        };
        let client = client.map_err(|error| unreachable(target, &error))?;
        Ok(Self { number, client, crowd, tally: Arc::new(Mutex::new(Tally::new())) })
    }

    /// Sessions that it has.
    pub(super) fn sessions(&self) -> u32 {
        self.crowd.len()
    }

    /// Does one shift, with a fresh tally.
    fn work(&mut self, mut shift: Shift, order: Order) -> io::Result<()> {
        self.crowd.call(order);
        let Self { client, crowd, tally, .. } = self;
        let done = match client {
            Client::Http(client) => client.work(crowd, &mut shift, tally),
            Client::Udp(client) => client.work(crowd, &mut shift, tally),
        };
        tally.lock().unsent = shift.unsent(Instant::now());
        done
    }
}

impl Phase {
    /// Sends all workers off; `shift` says what each does.
    pub(super) fn start(
        workers: Vec<Worker>,
        order: Order,
        mut shift: impl FnMut(&Worker) -> Shift,
    ) -> Result<Self, Failure> {
        let mut tallies = Vec::new();
        let start = |mut worker: Worker| {
            let shift = shift(&worker);
            *worker.tally.lock() = Tally::new();
            tallies.push(Arc::clone(&worker.tally));
            std::thread::Builder::new().name("load".into()).spawn(move || {
                let done = worker.work(shift, order);
                (worker, done)
            })
        };
        let threads = workers.into_iter().map(start).collect::<io::Result<_>>();
        let threads = threads.map_err(|error| broken(&error))?;
        Ok(Self { tallies, threads })
    }

    /// What each worker measures, for as long as it does.
    pub(super) fn tallies(&self) -> Vec<Shared> {
        self.tallies.clone()
    }

    /// Whether all are done.
    pub(super) fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// The workers, back from work.
    pub(super) fn end(self) -> Result<Vec<Worker>, Failure> {
        let mut workers = Vec::new();
        for thread in self.threads {
            let (worker, done) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            done.map_err(|error| broken(&error))?;
            workers.push(worker);
        }
        Ok(workers)
    }
}

fn unreachable(target: &Target, error: &io::Error) -> Failure {
    Failure::Service {
        tried: target.to_string(),
        cause: match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer".into(),
            _ => error.to_string(),
        },
        hint: "is the tracker running, and is this its address?".into(),
    }
}

fn broken(error: &io::Error) -> Failure {
    Failure::Service {
        tried: "sending the load".into(),
        cause: error.to_string(),
        hint: "fewer --connections or --workers take less of the system".into(),
    }
}
