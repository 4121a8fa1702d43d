//! The `/stats` document: the figures a person asks for first, in JSON, out of the same registry that
//! `/metrics` shows.
//!
//! ```json
//! { "version": "1.0.0", "uptime_seconds": 3600,
//!   "requests": [ { "frontend": "http", "action": "announce", "family": "4", "result": "accepted",
//!                   "count": 9, "mean_seconds": 0.0004 } ],
//!   "connections": { "http": 3, "https": 0 },
//!   "swarm": { "torrents": 1, "seeders": 1, "leechers": 2, "endpoints_v4": 3, "endpoints_v6": 1 },
//!   "recorder": { "up": true, "waiting": 0, "last_commit_unix_seconds": 1767225600.5,
//!                 "errors": 0, "refused": 0, "outcomes": { "booked": 9, "idle": 0 } },
//!   "memory": { "resident_bytes": 20000000 } }
//! ```
//!
//! `requests` lists the combinations that occurred. `recorder` is null when traffic push is off, its
//! `last_commit_unix_seconds` before the first commit.

use prometheus::proto::{Metric, MetricFamily};
use serde_json::{Map, Value, json};

/// Builds the document. `recorder_up` is `None` when nothing is recorded; `uptime_seconds` since the tracker
/// started.
pub(super) fn document(families: &[MetricFamily], recorder_up: Option<bool>, uptime_seconds: u64) -> Value {
    let figures = Figures(families);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime_seconds,
        "requests": figures.requests(),
        "connections": figures.by_label("seedbook_tracker_open_connections", "frontend"),
        "swarm": {
            "torrents": figures.number("seedbook_tracker_torrents"),
            "seeders": figures.number("seedbook_tracker_seeders"),
            "leechers": figures.number("seedbook_tracker_leechers"),
            "endpoints_v4": figures.number("seedbook_tracker_endpoints_v4"),
            "endpoints_v6": figures.number("seedbook_tracker_endpoints_v6"),
        },
        "recorder": recorder_up.map(|up| figures.recorder(up)),
        "memory": { "resident_bytes": figures.number("process_resident_memory_bytes") },
    })
}

struct Figures<'a>(&'a [MetricFamily]);

impl Figures<'_> {
    fn metrics(&self, name: &str) -> &[Metric] {
        self.0.iter().find(|family| family.name() == name).map_or(&[], MetricFamily::get_metric)
    }

    /// The value of a figure without labels; null for one that this system does not have.
    fn number(&self, name: &str) -> Value {
        self.metrics(name).first().map_or(Value::Null, |metric| whole(value(metric)))
    }

    fn by_label(&self, name: &str, label_name: &str) -> Value {
        let entry = |metric: &Metric| (label(metric, label_name), whole(value(metric)));
        Value::Object(self.metrics(name).iter().map(entry).collect())
    }

    fn requests(&self) -> Value {
        let occurred = |metric: &&Metric| metric.get_histogram().get_sample_count() > 0;
        self.metrics("seedbook_tracker_request_seconds").iter().filter(occurred).map(request).collect()
    }

    fn recorder(&self, up: bool) -> Value {
        let last_commit = self.number("seedbook_tracker_recorder_last_commit_unix_seconds");
        json!({
            "up": up,
            "waiting": self.number("seedbook_tracker_recorder_waiting"),
            "last_commit_unix_seconds": if last_commit == json!(0) { Value::Null } else { last_commit },
            "errors": self.number("seedbook_tracker_recorder_errors_total"),
            "refused": self.number("seedbook_tracker_recorder_refused_total"),
            "outcomes": self.by_label("seedbook_tracker_recorded_total", "outcome"),
        })
    }
}

fn request(metric: &Metric) -> Value {
    let mut entry: Map<String, Value> =
        metric.get_label().iter().map(|pair| (pair.name().to_owned(), json!(pair.value()))).collect();
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count();
    // Counts above 2^53 are of no concern to a mean.
    #[allow(clippy::cast_precision_loss)]
    let mean = histogram.get_sample_sum() / count as f64;
    entry.insert("count".into(), json!(count));
    entry.insert("mean_seconds".into(), json!(mean));
    Value::Object(entry)
}

fn label(metric: &Metric, name: &str) -> String {
    let found = metric.get_label().iter().find(|pair| pair.name() == name);
    found.map(|pair| pair.value().to_owned()).unwrap_or_default()
}

/// A counter's or gauge's value: each metric is only one of the two.
fn value(metric: &Metric) -> f64 {
    metric.get_counter().get_value() + metric.get_gauge().get_value()
}

/// Counts as whole numbers, as they were counted.
fn whole(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation)]
    if number.fract() == 0.0 && number.abs() < EXACT { json!(number as i64) } else { json!(number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::metrics::Metrics;
    use crate::frontend::metrics::{Action, RequestOutcome};
    use contract::AddressFamily;
    use std::time::Duration;

    #[test]
    fn the_document_says_what_the_metrics_say() {
        let metrics = Metrics::new().unwrap();
        for _ in 0..3 {
            let took = Duration::from_millis(2);
            metrics.https.latency.observe(Action::Scrape, AddressFamily::V6, RequestOutcome::Refused, took);
        }
        metrics.http.open_connections.set(7);
        let document = document(&metrics.registry.gather(), None, 5);
        let request = &document["requests"][0];
        assert_eq!(request["frontend"], "https");
        assert_eq!((&request["action"], &request["family"]), (&json!("scrape"), &json!("6")));
        assert_eq!((&request["result"], &request["count"]), (&json!("refused"), &json!(3)));
        assert!((request["mean_seconds"].as_f64().unwrap() - 0.002).abs() < 1e-9);
        assert_eq!(document["requests"].as_array().unwrap().len(), 1, "only what occurred");
        assert_eq!(document["connections"], json!({ "http": 7, "https": 0 }));
        assert_eq!(document["swarm"]["torrents"], 0);
        assert_eq!(document["recorder"], Value::Null);
        assert!(document["memory"]["resident_bytes"].as_u64().unwrap() > 1_000_000);
    }

    #[test]
    fn a_recorder_that_never_committed_says_so() {
        let metrics = Metrics::new().unwrap();
        let document = document(&metrics.registry.gather(), Some(false), 5);
        assert_eq!(document["recorder"]["up"], false);
        assert_eq!(document["recorder"]["last_commit_unix_seconds"], Value::Null);
        assert_eq!(document["recorder"]["outcomes"]["booked"], 0);
    }
}
