//! `trackerctl load`: puts announces and scrapes on a tracker and says what it measured.
//!
//! Who announces what follows from options and seed (`population`, `crowd`); when, from a `shift`; workers
//! (`worker`) carry it over HTTP or UDP and keep a `tally` each. It is cheap, because it shares its machine
//! with the tracker.

mod crowd;
mod draw;
mod http;
mod options;
mod pacer;
mod passkeys;
mod plan;
mod population;
mod process;
mod report;
mod shift;
mod tally;
mod target;
mod udp;
mod worker;

use std::time::{Duration, Instant};

use contract::Passkey;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) use options::Load;

use self::crowd::Order;
use self::plan::Plan;
use self::population::Population;
use self::process::Usage;
use self::report::{Filled, Measured};
use self::shift::{Shift, Stop};
use self::tally::Tally;
use self::worker::{Phase, Worker};
use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::progress;

/// How often the end of a phase is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// The progress line is written anew once in so many looks.
const SHOW_ONCE_IN: u32 = 25;

/// Puts the load on, until it is done or Ctrl-C.
pub(crate) async fn run(load: Load, context: &Context) -> Result<Answer, Failure> {
    if load.users.print_passkeys {
        let passkeys = passkeys::gather(&load.users)?;
        return print(passkeys.iter().map(Passkey::reveal), context);
    }
    if load.swarms.print_torrents {
        let population = Population::new(&load.swarms, Vec::new());
        return print(population.hashes().map(ToString::to_string), context);
    }
    let plan = Plan::new(&load)?;
    let mut watch = Watch::new()?;
    let before = usages(&load);
    let workers =
        (0..plan.workers).map(|number| Worker::new(&plan, &load, number)).collect::<Result<_, _>>()?;
    let (workers, filled) = fill(workers, &load, &mut watch).await?;
    let measured = measure(workers, &plan, &load, &mut watch).await?;
    let report = measured.report(&plan, filled, &before);
    context.output.show(&report)?;
    Ok(if report.has_granted() { Answer::Done } else { Answer::No })
}

fn print(lines: impl Iterator<Item = impl AsRef<str>>, context: &Context) -> Result<Answer, Failure> {
    let mut list = context.output.list();
    for line in lines {
        list.push(line.as_ref())?;
    }
    list.finish()?;
    Ok(Answer::Done)
}

/// Announces every session once, if that is wanted.
async fn fill(
    workers: Vec<Worker>,
    load: &Load,
    watch: &mut Watch,
) -> Result<(Vec<Worker>, Option<Filled>), Failure> {
    if !load.swarms.fill {
        return Ok((workers, None));
    }
    let start = Instant::now();
    let shift = |worker: &Worker| Shift::new(start, None, None, worker.sessions().into(), watch.stop.clone());
    let phase = Phase::start(workers, Order::Introductions, shift)?;
    let (workers, tally) = watch.over("filling", phase, start).await?;
    Ok((workers, Some(Filled::new(&tally, start))))
}

/// The part that is measured.
async fn measure(
    workers: Vec<Worker>,
    plan: &Plan,
    load: &Load,
    watch: &mut Watch,
) -> Result<Measured, Failure> {
    let (before, own_before) = (usages(load), own_usage());
    let start = Instant::now();
    let rate = load.rate.map(|rate| rate / f64::from(plan.workers));
    let shift = |worker: &Worker| {
        let requests = load.requests.map_or(u64::MAX, |requests| plan.part(requests, worker.number));
        Shift::new(start, plan.duration, rate, requests, watch.stop.clone())
    };
    let phase = Phase::start(workers, Order::Anybody, shift)?;
    let (_, tally) = watch.over("measuring", phase, start).await?;
    let processes = load.pids.iter().copied().zip(before.into_iter().zip(usages(load))).collect();
    Ok(Measured { tally, start, processes, own: (own_before, own_usage()) })
}

fn usages(load: &Load) -> Vec<Option<Usage>> {
    load.pids.iter().map(|pid| Usage::of(*pid)).collect()
}

fn own_usage() -> Option<Usage> {
    Usage::of(std::process::id())
}

/// Watches over the workers: shows how they get on, and stops them at Ctrl-C or SIGTERM.
struct Watch {
    stop: Stop,
    interrupted: Signal,
    terminated: Signal,
}

impl Watch {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::Output);
        Ok(Self {
            stop: Stop::default(),
            interrupted: listen(SignalKind::interrupt())?,
            terminated: listen(SignalKind::terminate())?,
        })
    }

    /// Waits until a phase is over; its workers and what they measured together.
    async fn over(
        &mut self,
        what: &str,
        phase: Phase,
        start: Instant,
    ) -> Result<(Vec<Worker>, Tally), Failure> {
        let tallies = phase.tallies();
        let line = progress::line();
        for look in 1u32.. {
            if phase.is_over() {
                break;
            }
            if look.is_multiple_of(SHOW_ONCE_IN) && !line.is_hidden() {
                line.set_message(report::so_far(what, &Tally::sum(&tallies), start.elapsed()));
                line.tick();
            }
            tokio::select! {
                _ = self.interrupted.recv() => self.stop.order(),
                _ = self.terminated.recv() => self.stop.order(),
                () = tokio::time::sleep(LOOK) => (),
            }
        }
        line.finish_and_clear();
        let workers = phase.end()?;
        Ok((workers, Tally::sum(&tallies)))
    }
}
