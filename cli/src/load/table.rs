//! What a run measured, as tables. JSON is what the generator tells.

use std::time::Duration;

use load::{Filled, Latency, ProcessUse, Progress, Results};

use crate::human;
use crate::output::{Report, facts, table};

impl Report for Results {
    fn text(&self) -> String {
        let mut parts = vec![figures(self), latencies(self.latency_us)];
        let mut failures = self.failures.clone();
        for (text, count) in self.filled.iter().flat_map(|filled| &filled.failures) {
            failures.insert(format!("{text} (while filling)"), *count);
        }
        if !failures.is_empty() {
            let rows = failures.into_iter().map(|(text, count)| vec![text, count.to_string()]);
            parts.push(table(&["failure", "requests"], &[1], rows));
        }
        if !self.processes.is_empty() {
            parts.push(processes(&self.processes));
        }
        parts.join("\n")
    }
}

fn figures(results: &Results) -> String {
    let unless_zero = |figure: u64| (figure > 0).then(|| figure.to_string());
    let peers = results.peers_per_reply.map(|peers| format!("{peers:.1}"));
    let rows = [
        ("tracker", Some(results.trackers.join(", "))),
        ("filled", results.filled.as_ref().map(filled)),
        ("seconds", Some(format!("{:.2}", results.seconds))),
        ("requests", Some(results.requests.to_string())),
        ("answered", Some(format!("{} ({:.0}/s)", results.answered, results.per_second))),
        ("refused", unless_zero(results.refused)),
        ("no reply", unless_zero(results.lost)),
        ("due, but never sent", unless_zero(results.unsent)),
        ("sent again", unless_zero(results.reopened)),
        ("out, in", Some(format!("{}, {}", human::bytes(results.bytes_out), human::bytes(results.bytes_in)))),
        ("peers per reply", peers),
        ("own CPU per request", results.generator_cpu_us_per_request.map(|cpu| format!("{cpu:.2} us"))),
    ];
    facts(rows.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

fn latencies(Latency { mean, p50, p90, p99, p99_9, max }: Latency) -> String {
    let row = [mean, p50, p90, p99, p99_9, max].map(milliseconds).to_vec();
    table(&["mean ms", "p50", "p90", "p99", "p99.9", "max"], &[0, 1, 2, 3, 4, 5], [row])
}

fn processes(processes: &[ProcessUse]) -> String {
    let header = ["pid", "process", "CPU us per request", "cores", "memory before", "memory"];
    table(&header, &[0, 2, 3, 4, 5], processes.iter().map(process))
}

fn filled(filled: &Filled) -> String {
    format!("{} of {} sessions in {:.1} s", filled.granted, filled.sessions, filled.seconds)
}

fn process(process: &ProcessUse) -> Vec<String> {
    vec![
        process.pid.to_string(),
        if process.ended { format!("{} (ended)", process.name) } else { process.name.clone() },
        process.cpu_us_per_request.map_or_else(|| "-".into(), |cpu| format!("{cpu:.2}")),
        format!("{:.2}", process.cores),
        human::bytes(process.rss_before_bytes),
        human::bytes(process.rss_bytes),
    ]
}

fn milliseconds(micros: f64) -> String {
    format!("{:.3}", micros / 1000.0)
}

/// One line for a terminal, while it runs.
pub(super) fn so_far(progress: Progress) -> String {
    let Progress { phase, elapsed, answered, failed, p50, p99 } = progress;
    let rate = answered as f64 / elapsed.as_secs_f64().max(1e-6);
    let ms = |latency: Duration| milliseconds(latency.as_secs_f64() * 1e6);
    format!(
        "{phase} {:.0} s: {answered} answered, {rate:.0}/s, {failed} failed, p50 {} ms, p99 {} ms",
        elapsed.as_secs_f64(),
        ms(p50),
        ms(p99)
    )
}
