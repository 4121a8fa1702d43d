//! The metrics of shared visits: told, taken in, dropped and still waiting.

use prometheus::{Gauge, IntCounter, IntGauge, Registry, Result};

/// The metrics of visits that trackers tell each other of.
#[derive(Debug, Clone)]
pub struct SharingMetrics {
    /// Visits that other trackers were told of.
    pub shared: IntCounter,
    /// Other trackers' visits that changed a swarm here.
    pub received: IntCounter,
    /// Other trackers' visits that were too old, or of peers that this tracker saw later.
    pub outdated: IntCounter,
    /// Visits that no other tracker was told of, for want of room while Redis was away.
    pub dropped: IntCounter,
    /// Entries that this version cannot read.
    pub malformed: IntCounter,
    /// Visits in the outbox.
    pub waiting: IntGauge,
    /// Age of the newest visit read while there are more to read, in seconds.
    pub lag_seconds: Gauge,
    /// Bytes that all trackers' visits take in Redis, about.
    pub stream_bytes: IntGauge,
}

impl SharingMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registry: &Registry) -> Result<Self> {
        let counter = |name: &str, help: &str| -> Result<IntCounter> {
            let counter = IntCounter::new(format!("seedbook_tracker_sharing_{name}_total"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge> {
            let gauge = IntGauge::new(format!("seedbook_tracker_sharing_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let lag_seconds = Gauge::new(
            "seedbook_tracker_sharing_lag_seconds",
            "How old the newest visit is that other trackers told of, while there are more to read; 0 when all is read",
        )?;
        registry.register(Box::new(lag_seconds.clone()))?;
        Ok(Self {
            shared: counter("shared_visits", "Visits that other trackers were told of")?,
            received: counter("received_visits", "Other trackers' visits that were news here")?,
            outdated: counter("outdated_visits", "Other trackers' visits that were no news, or too old")?,
            dropped: counter("dropped_visits", "Visits that no other tracker hears of, for want of room")?,
            malformed: counter("malformed_entries", "Entries of the shared stream that cannot be read")?,
            waiting: gauge("waiting_visits", "Visits that wait to be shared")?,
            lag_seconds,
            stream_bytes: gauge("stream_bytes", "Bytes of shared visits that Redis holds, about")?,
        })
    }
}
