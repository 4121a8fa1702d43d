//! What a run measured, as a table and as JSON.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::plan::Plan;
use super::process::Usage;
use super::tally::Tally;
use crate::human;
use crate::output::{Report, facts, table};

/// A run, with its processes before and after.
pub(super) struct Measured {
    pub(super) tally: Tally,
    pub(super) start: Instant,
    pub(super) processes: Vec<(u32, Span)>,
    pub(super) own: Span,
}

/// A process before and after; `None` when it was not there.
type Span = (Option<Usage>, Option<Usage>);

/// Everything that a run tells. Times in JSON are microseconds unless their name says otherwise.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    trackers: Vec<String>,
    /// From the first request to the last reply.
    seconds: f64,
    /// Requests sent.
    requests: u64,
    answered: u64,
    /// Of those answered: with a failure reason.
    refused: u64,
    /// Without a reply.
    lost: u64,
    /// Scheduled, and not sent before the end: the tracker was too slow for the rate.
    unsent: u64,
    /// Sent again on a new connection.
    reopened: u64,
    /// Answered requests per second.
    per_second: f64,
    bytes_out: u64,
    bytes_in: u64,
    /// On average, in the announces' replies that were looked into.
    peers_per_reply: Option<f64>,
    latency_us: Latency,
    failures: BTreeMap<String, u64>,
    filled: Option<Filled>,
    /// This program's own CPU time per answered request.
    generator_cpu_us_per_request: Option<f64>,
    processes: Vec<Process>,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

/// The announces before the measured part.
#[derive(Debug, Serialize)]
pub(super) struct Filled {
    sessions: u64,
    granted: u64,
    seconds: f64,
    failures: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct Process {
    pid: u32,
    name: String,
    /// Over the measured part, user and system.
    cpu_us: f64,
    cpu_us_per_request: Option<f64>,
    /// Share of one core that it used.
    cores: f64,
    /// Before anything was sent, not even to fill; and at the end.
    rss_before_bytes: u64,
    rss_bytes: u64,
    /// Whether it was still there at the end.
    ended: bool,
}

impl Filled {
    pub(super) fn new(tally: &Tally, start: Instant) -> Self {
        Self {
            sessions: tally.sent,
            granted: tally.granted,
            seconds: start.elapsed().as_secs_f64(),
            failures: tally.failures.clone(),
        }
    }
}

impl Measured {
    /// `before`: the processes before anything was sent.
    pub(super) fn report(&self, plan: &Plan, filled: Option<Filled>, before: &[Option<Usage>]) -> Told {
        let tally = &self.tally;
        let length = tally.last_reply.unwrap_or_else(Instant::now).saturating_duration_since(self.start);
        let seconds = length.as_secs_f64().max(1e-6);
        let own = spent(&self.own).and_then(|spent| per(micros(spent), tally.answered()));
        let processes = self.processes.iter().zip(before);
        Told {
            trackers: plan.targets.iter().map(ToString::to_string).collect(),
            seconds: rounded(seconds),
            requests: tally.sent,
            answered: tally.answered(),
            refused: tally.refused,
            lost: tally.lost,
            unsent: tally.unsent,
            reopened: tally.reopened,
            per_second: rounded(tally.answered() as f64 / seconds),
            bytes_out: tally.bytes_out,
            bytes_in: tally.bytes_in,
            peers_per_reply: per(tally.peers.0 as f64, tally.peers.1),
            latency_us: Latency::of(tally),
            failures: tally.failures.clone(),
            filled,
            generator_cpu_us_per_request: own,
            processes: processes
                .filter_map(|((pid, span), before)| self.process(*pid, span, before, seconds))
                .collect(),
        }
    }

    fn process(&self, pid: u32, span: &Span, before: &Option<Usage>, seconds: f64) -> Option<Process> {
        let first = span.0.as_ref().or(before.as_ref())?;
        let spent = spent(span).unwrap_or_default();
        Some(Process {
            pid,
            name: first.name.clone(),
            cpu_us: micros(spent),
            cpu_us_per_request: per(micros(spent), self.tally.answered()),
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
    fn of(tally: &Tally) -> Self {
        let quantile = |share| micros(tally.quantile(share));
        let max = rounded(tally.latency.max() as f64 / 1000.0);
        Self {
            mean: rounded(tally.latency.mean() / 1000.0),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            max,
        }
    }
}

impl Told {
    /// Whether any request was granted.
    pub(super) fn has_granted(&self) -> bool {
        self.answered > self.refused
    }

    fn figures(&self) -> String {
        let unless_zero = |figure: u64| (figure > 0).then(|| figure.to_string());
        let peers = self.peers_per_reply.map(|peers| format!("{peers:.1}"));
        let rows = [
            ("tracker", Some(self.trackers.join(", "))),
            ("filled", self.filled.as_ref().map(Filled::line)),
            ("seconds", Some(format!("{:.2}", self.seconds))),
            ("requests", Some(self.requests.to_string())),
            ("answered", Some(format!("{} ({:.0}/s)", self.answered, self.per_second))),
            ("refused", unless_zero(self.refused)),
            ("no reply", unless_zero(self.lost)),
            ("due, but never sent", unless_zero(self.unsent)),
            ("sent again", unless_zero(self.reopened)),
            ("out, in", Some(format!("{}, {}", human::bytes(self.bytes_out), human::bytes(self.bytes_in)))),
            ("peers per reply", peers),
            ("own CPU per request", self.generator_cpu_us_per_request.map(|cpu| format!("{cpu:.2} us"))),
        ];
        facts(rows.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }

    fn latencies(&self) -> String {
        let Latency { mean, p50, p90, p99, p99_9, max } = self.latency_us;
        let row = [mean, p50, p90, p99, p99_9, max].map(milliseconds).to_vec();
        table(&["mean ms", "p50", "p90", "p99", "p99.9", "max"], &[0, 1, 2, 3, 4, 5], [row])
    }

    fn processes(&self) -> String {
        let header = ["pid", "process", "CPU us per request", "cores", "memory before", "memory"];
        table(&header, &[0, 2, 3, 4, 5], self.processes.iter().map(Process::row))
    }
}

impl Report for Told {
    fn text(&self) -> String {
        let mut parts = vec![self.figures(), self.latencies()];
        let mut failures = self.failures.clone();
        for (text, count) in self.filled.iter().flat_map(|filled| &filled.failures) {
            failures.insert(format!("{text} (while filling)"), *count);
        }
        if !failures.is_empty() {
            let rows = failures.into_iter().map(|(text, count)| vec![text, count.to_string()]);
            parts.push(table(&["failure", "requests"], &[1], rows));
        }
        if !self.processes.is_empty() {
            parts.push(self.processes());
        }
        parts.join("\n")
    }
}

impl Filled {
    fn line(&self) -> String {
        format!("{} of {} sessions in {:.1} s", self.granted, self.sessions, self.seconds)
    }
}

impl Process {
    fn row(&self) -> Vec<String> {
        vec![
            self.pid.to_string(),
            if self.ended { format!("{} (ended)", self.name) } else { self.name.clone() },
            self.cpu_us_per_request.map_or_else(|| "-".into(), |cpu| format!("{cpu:.2}")),
            format!("{:.2}", self.cores),
            human::bytes(self.rss_before_bytes),
            human::bytes(self.rss_bytes),
        ]
    }
}

fn milliseconds(micros: f64) -> String {
    format!("{:.3}", micros / 1000.0)
}

/// One line for a terminal, while it runs.
pub(super) fn so_far(what: &str, tally: &Tally, elapsed: Duration) -> String {
    let rate = tally.answered() as f64 / elapsed.as_secs_f64().max(1e-6);
    let (p50, p99) = (micros(tally.quantile(0.5)), micros(tally.quantile(0.99)));
    format!(
        "{what} {:.0} s: {} answered, {rate:.0}/s, {} failed, p50 {} ms, p99 {} ms",
        elapsed.as_secs_f64(),
        tally.answered(),
        tally.refused + tally.lost,
        milliseconds(p50),
        milliseconds(p99)
    )
}
