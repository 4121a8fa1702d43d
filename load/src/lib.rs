//! A load generator: sends announces and scrapes to a tracker and measures its replies.
//!
//! Clients and their announces follow from settings and seed (`population`, `sessions`), their times from a
//! `schedule`; workers (`worker`) send them over HTTP or UDP and keep `totals` each. It is written by hand,
//! because it shares its machine with the tracker that it measures: HTTP is read only as far as a reply's
//! end, UDP leaves and arrives in batches, and a million sessions take 16 MB.

mod draw;
mod error;
mod http;
mod pacer;
mod passkeys;
mod plan;
mod population;
mod process;
mod results;
mod schedule;
mod sessions;
mod settings;
mod target;
mod totals;
mod udp;
mod worker;

use std::time::{Duration, Instant};

use contract::InfoHash;

pub use error::LoadError;
pub use passkeys::made_up as made_up_passkeys;
pub use results::{Filled, Latency, ProcessUse, Results};
pub use schedule::Stop;
pub use settings::{Closing, Events, Load, Reach, Rest, Swarms};

use self::plan::Plan;
use self::population::Population;
use self::process::Usage;
use self::results::Measured;
use self::schedule::Schedule;
use self::sessions::Order;
use self::totals::Totals;
use self::worker::{Phase, Worker};

/// How often the figures so far are shown.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// The figures so far, while it runs.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// `filling` or `measuring`.
    pub phase: &'static str,
    /// Since the phase began.
    pub elapsed: Duration,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were refused or got no reply.
    pub failed: u64,
    /// Half of the replies took no longer.
    pub p50: Duration,
    /// One in a hundred took longer.
    pub p99: Duration,
}

/// Who is shown the figures so far, if anybody.
pub type Show<'a> = Option<&'a mut dyn FnMut(Progress)>;

/// Puts the load on, until it is done or `stop` is ordered, and says what it measured. Its threads run where
/// the calling thread may run.
///
/// # Errors
/// When the load makes no sense, or the tracker or this machine does not take it.
pub fn run(mut load: Load, stop: &Stop, mut show: Show<'_>) -> Result<Results, LoadError> {
    let passkeys = std::mem::take(&mut load.passkeys);
    let plan = Plan::new(&load, passkeys)?;
    let before = usages(&load);
    let workers =
        (0..plan.workers).map(|number| Worker::new(&plan, &load, number)).collect::<Result<_, _>>()?;
    let (workers, filled) = fill(workers, &load, stop, &mut show)?;
    let measured = measure(workers, &plan, &load, stop, &mut show)?;
    Ok(measured.results(&plan, filled, &before))
}

/// The torrents that a load on these swarms is about.
pub fn info_hashes(swarms: &Swarms) -> impl Iterator<Item = InfoHash> + use<> {
    Population::new(swarms, Vec::new()).into_hashes()
}

/// Announces every session once, if that is wanted.
fn fill(
    workers: Vec<Worker>,
    load: &Load,
    stop: &Stop,
    show: &mut Show<'_>,
) -> Result<(Vec<Worker>, Option<Filled>), LoadError> {
    if !load.swarms.fill {
        return Ok((workers, None));
    }
    let start = Instant::now();
    let schedule = |worker: &Worker| Schedule::new(start, None, None, worker.sessions().into(), stop.clone());
    let phase = Phase::start(workers, Order::EachOnce, schedule)?;
    let (workers, totals) = over("filling", phase, start, show)?;
    Ok((workers, Some(Filled::new(&totals, start))))
}

/// The part that is measured.
fn measure(
    workers: Vec<Worker>,
    plan: &Plan,
    load: &Load,
    stop: &Stop,
    show: &mut Show<'_>,
) -> Result<Measured, LoadError> {
    let (before, own_before) = (usages(load), own_usage());
    let start = Instant::now();
    let rate = load.rate.map(|rate| rate / f64::from(plan.workers));
    let schedule = |worker: &Worker| {
        let requests = load.requests.map_or(u64::MAX, |requests| plan.part(requests, worker.number));
        Schedule::new(start, plan.duration, rate, requests, stop.clone())
    };
    let phase = Phase::start(workers, Order::Random, schedule)?;
    let (_, totals) = over("measuring", phase, start, show)?;
    let processes = load.pids.iter().copied().zip(before.into_iter().zip(usages(load))).collect();
    Ok(Measured { totals, start, processes, own: (own_before, own_usage()) })
}

/// Waits until a phase is over; its workers and what they measured together.
fn over(
    name: &'static str,
    phase: Phase,
    start: Instant,
    show: &mut Show<'_>,
) -> Result<(Vec<Worker>, Totals), LoadError> {
    let totals = phase.totals();
    while !phase.is_over_within(SHOW_EVERY) {
        if let Some(show) = show {
            show(Progress::new(name, start.elapsed(), &Totals::sum(&totals)));
        }
    }
    let workers = phase.end()?;
    Ok((workers, Totals::sum(&totals)))
}

impl Progress {
    fn new(phase: &'static str, elapsed: Duration, totals: &Totals) -> Self {
        let failed = totals.refused + totals.lost;
        let (p50, p99) = (totals.quantile(0.5), totals.quantile(0.99));
        Self { phase, elapsed, answered: totals.answered(), failed, p50, p99 }
    }
}

fn usages(load: &Load) -> Vec<Option<Usage>> {
    load.pids.iter().map(|pid| Usage::of(*pid)).collect()
}

fn own_usage() -> Option<Usage> {
    Usage::of(std::process::id())
}
