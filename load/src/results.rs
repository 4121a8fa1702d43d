//! The results of a run, as `trackerctl load --json` prints them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::plan::Plan;
use crate::process::Usage;
use crate::totals::Totals;

/// A run, with its processes before and after.
pub(crate) struct Measured {
    pub(crate) totals: Totals,
    pub(crate) start: Instant,
    pub(crate) processes: Vec<(u32, Span)>,
    pub(crate) own: Span,
}

/// A process before and after; `None` when it was not there.
type Span = (Option<Usage>, Option<Usage>);

/// Everything that a run tells. Times are microseconds unless their name says otherwise; `trackerctl load
/// --json` prints it as it is.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// Where the requests went.
    pub trackers: Vec<String>,
    /// From the first request to the last reply.
    pub seconds: f64,
    /// Requests sent.
    pub requests: u64,
    /// Requests with a reply.
    pub answered: u64,
    /// Of those answered: with a failure reason.
    pub refused: u64,
    /// Without a reply.
    pub lost: u64,
    /// Scheduled, and not sent before the end: the tracker was too slow for the rate.
    pub unsent: u64,
    /// Sent again on a new connection.
    pub reopened: u64,
    /// Answered requests per second.
    pub per_second: f64,
    /// Bytes sent, without what TCP, UDP and IP add.
    pub bytes_out: u64,
    /// Bytes received, likewise.
    pub bytes_in: u64,
    /// On average, in the announces' replies that were looked into.
    pub peers_per_reply: Option<f64>,
    /// How long replies took.
    pub latency_us: Latency,
    /// How many requests failed in which words.
    pub failures: BTreeMap<String, u64>,
    /// The announces before the measured part.
    pub filled: Option<Filled>,
    /// The generator's own CPU time per answered request.
    pub generator_cpu_us_per_request: Option<f64>,
    /// The local processes that were to be measured.
    pub processes: Vec<ProcessUse>,
}

/// Latencies: the mean, and within which so many of a hundred replies came.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs)] // Their names say it.
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// The announces before the measured part.
#[derive(Debug, Clone, Serialize)]
pub struct Filled {
    /// Sessions that announced.
    pub sessions: u64,
    /// Those that were answered as they asked.
    pub granted: u64,
    /// How long it took.
    pub seconds: f64,
    /// How many requests failed in which words.
    pub failures: BTreeMap<String, u64>,
}

/// What a local process used.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessUse {
    /// Its number.
    pub pid: u32,
    /// Its name, as the kernel has it.
    pub name: String,
    /// Over the measured part, user and system.
    pub cpu_us: f64,
    /// The same for each answered request.
    pub cpu_us_per_request: Option<f64>,
    /// Share of one core that it used.
    pub cores: f64,
    /// Resident memory before anything was sent, not even to fill.
    pub rss_before_bytes: u64,
    /// Resident memory at the end.
    pub rss_bytes: u64,
    /// Whether it had ended by then.
    pub ended: bool,
}

impl Filled {
    pub(crate) fn new(totals: &Totals, start: Instant) -> Self {
        Self {
            sessions: totals.sent,
            granted: totals.granted,
            seconds: start.elapsed().as_secs_f64(),
            failures: totals.failures.clone(),
        }
    }
}

impl Measured {
    /// `before`: the processes before anything was sent.
    pub(crate) fn results(&self, plan: &Plan, filled: Option<Filled>, before: &[Option<Usage>]) -> Results {
        let totals = &self.totals;
        let length = totals.last_reply.unwrap_or_else(Instant::now).saturating_duration_since(self.start);
        let seconds = length.as_secs_f64().max(1e-6);
        let own = spent(&self.own).and_then(|spent| per(micros(spent), totals.answered()));
        let processes = self.processes.iter().zip(before);
        Results {
            trackers: plan.targets.iter().map(ToString::to_string).collect(),
            seconds: rounded(seconds),
            requests: totals.sent,
            answered: totals.answered(),
            refused: totals.refused,
            lost: totals.lost,
            unsent: totals.unsent,
            reopened: totals.reopened,
            per_second: rounded(totals.answered() as f64 / seconds),
            bytes_out: totals.bytes_out,
            bytes_in: totals.bytes_in,
            peers_per_reply: per(totals.peers.0 as f64, totals.peers.1),
            latency_us: Latency::of(totals),
            failures: totals.failures.clone(),
            filled,
            generator_cpu_us_per_request: own,
            processes: processes
                .filter_map(|((pid, span), before)| self.process(*pid, span, before, seconds))
                .collect(),
        }
    }

    fn process(&self, pid: u32, span: &Span, before: &Option<Usage>, seconds: f64) -> Option<ProcessUse> {
        let first = span.0.as_ref().or(before.as_ref())?;
        let spent = spent(span).unwrap_or_default();
        Some(ProcessUse {
            pid,
            name: first.name.clone(),
            cpu_us: micros(spent),
            cpu_us_per_request: per(micros(spent), self.totals.answered()),
            cores: rounded(spent.as_secs_f64() / seconds),
            rss_before_bytes: before.as_ref().map_or(0, |before| before.rss),
            rss_bytes: span.1.as_ref().map_or(0, |after| after.rss),
            ended: span.1.is_none(),
        })
    }
}

fn spent(span: &Span) -> Option<Duration> {
    Some(span.1.as_ref()?.cpu.saturating_sub(span.0.as_ref()?.cpu))
}

fn per(whole: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| rounded(whole / count as f64))
}

fn micros(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e6)
}

/// To a thousandth: more digits would only pretend.
fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

impl Latency {
    fn of(totals: &Totals) -> Self {
        let quantile = |share| micros(totals.quantile(share));
        let max = rounded(totals.latency.max() as f64 / 1000.0);
        Self {
            mean: rounded(totals.latency.mean() / 1000.0),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            max,
        }
    }
}

impl Results {
    /// Whether any request was granted.
    #[must_use]
    pub fn has_granted(&self) -> bool {
        self.answered > self.refused
    }

    /// Processor time of the process of this place among those that were to be measured, in microseconds for
    /// each reply; `None` when nothing was answered.
    #[must_use]
    pub fn cpu_us(&self, place: usize) -> Option<f64> {
        self.processes.get(place)?.cpu_us_per_request
    }
}
