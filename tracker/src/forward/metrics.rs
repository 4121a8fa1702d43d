//! The metrics of forwarding. The label is the configured name, or scheme, host and port: never the path,
//! which may be a credential.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    Result,
};

/// From a neighbour's answer to the longest wait.
const BUCKETS: &[f64] = &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With peers, or the word that there are none.
    Answered,
    /// With a failure reason.
    Refused,
    /// Without an answer, or with one that cannot be read.
    Failed,
}

/// The metrics of all forwarders; the forwarder's name is a label.
#[derive(Debug, Clone)]
pub struct ForwardMetrics {
    requests: IntCounterVec,
    dropped: IntCounterVec,
    seconds: HistogramVec,
    waiting: IntGaugeVec,
    suspended: IntGaugeVec,
    peers: IntGaugeVec,
}

/// The metrics of one forwarder.
#[derive(Debug)]
pub(super) struct ForwarderMetrics {
    requests: [IntCounter; 3],
    pub(super) dropped: IntCounter,
    seconds: Histogram,
    waiting: IntGauge,
    pub(super) suspended: IntGauge,
    pub(super) peers: IntGauge,
}

impl ForwardMetrics {
    /// Registers the families.
    ///
    /// # Errors
    /// When a name is taken: a mistake in this file.
    pub fn new(registry: &Registry) -> Result<Self> {
        let gauge = |name: &str, help: &str| -> Result<IntGaugeVec> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["forwarder"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let seconds = HistogramOpts::new("seedbook_tracker_forward_seconds", "One exchange with a forwarder");
        let seconds = HistogramVec::new(seconds.buckets(BUCKETS.to_vec()), &["forwarder"])?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self {
            requests: counter(
                "seedbook_tracker_forward_requests_total",
                "Exchanges with a forwarder by how they ended",
                &["forwarder", "result"],
            )?,
            dropped: counter(
                "seedbook_tracker_forward_dropped_total",
                "Announces that a forwarder was not told of: its queue was full, or it was away too long",
                &["forwarder"],
            )?,
            seconds,
            waiting: gauge("seedbook_tracker_forward_waiting", "Announces that wait for a forwarder")?,
            suspended: gauge("seedbook_tracker_forward_suspended", "1 while a forwarder is away")?,
            peers: gauge("seedbook_tracker_forward_peers", "Peers known from a forwarder")?,
        })
    }

    pub(super) fn of(&self, forwarder: &str) -> Result<ForwarderMetrics> {
        let ended = |result: &str| self.requests.get_metric_with_label_values(&[forwarder, result]);
        let label = &[forwarder];
        Ok(ForwarderMetrics {
            requests: [ended("answered")?, ended("refused")?, ended("failed")?],
            dropped: self.dropped.get_metric_with_label_values(label)?,
            seconds: self.seconds.get_metric_with_label_values(label)?,
            waiting: self.waiting.get_metric_with_label_values(label)?,
            suspended: self.suspended.get_metric_with_label_values(label)?,
            peers: self.peers.get_metric_with_label_values(label)?,
        })
    }
}

impl ForwarderMetrics {
    pub(super) fn observe(&self, ending: Ending, took: Duration) {
        self.requests[ending as usize].inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(super) fn waiting(&self, count: usize) {
        self.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

impl Drop for ForwarderMetrics {
    /// A forwarder that a reload removed is neither away nor does anything wait for it.
    fn drop(&mut self) {
        for gauge in [&self.waiting, &self.suspended, &self.peers] {
            gauge.set(0);
        }
    }
}
