//! The spool's metrics: how many announces wait, how old the oldest is, how many were replayed or set aside.

use prometheus::{Gauge, IntCounter, IntGauge, Registry, Result};
use service::metrics::{counter, gauge, seconds_gauge};

use super::disk::Disk;
use super::store::Store;

/// The spool's size and age, and its entries by what became of them.
#[derive(Debug, Clone)]
pub struct SpoolMetrics {
    bytes: IntGauge,
    records: IntGauge,
    oldest_age_seconds: Gauge,
    pub(in crate::traffic) replayed: IntCounter,
    pub(in crate::traffic) set_aside: IntCounter,
    pub(in crate::traffic) spooled: IntCounter,
    coalesced: IntCounter,
    damaged: IntCounter,
    tail_bytes: IntGauge,
}

impl SpoolMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registry: &Registry) -> Result<Self> {
        let name = |name: &str| format!("seedbook_tracker_spool_{name}");
        Ok(Self {
            bytes: gauge(registry, name("bytes"), "Bytes in the spool on disk")?,
            records: gauge(registry, name("records"), "Announces in the spool")?,
            oldest_age_seconds: seconds_gauge(
                registry,
                name("oldest_age_seconds"),
                "Age of the oldest spooled announce",
            )?,
            replayed: counter(registry, name("replayed_total"), "Announces booked from the spool")?,
            set_aside: counter(
                registry,
                name("set_aside_total"),
                "Spooled announces that Redis refuses for good, kept in .aside files",
            )?,
            spooled: counter(registry, name("spooled_total"), "Announces written to the spool")?,
            coalesced: counter(
                registry,
                name("coalesced_total"),
                "Spooled announces dropped because a later one of the session says the same",
            )?,
            damaged: counter(
                registry,
                name("damaged_total"),
                "Places where a file of the spool or tail had changed on disk; each cost the announce there",
            )?,
            tail_bytes: gauge(registry, name("tail_bytes"), "Bytes on disk of what Redis confirmed lately")?,
        })
    }

    /// Brings the gauges up to date; `now_ms` in Unix milliseconds.
    pub(super) fn publish<D: Disk>(&self, store: &Store<D>, now_ms: u64) {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.bytes.set(signed(store.bytes()));
        self.records.set(signed(store.records()));
        let age_ms = store.oldest_ms().map_or(0, |oldest| now_ms.saturating_sub(oldest));
        self.oldest_age_seconds.set(std::time::Duration::from_millis(age_ms).as_secs_f64());
        self.tail_bytes.set(signed(store.tail_bytes()));
        self.damaged.inc_by(store.damaged().saturating_sub(self.damaged.get()));
        self.coalesced.inc_by(store.coalesced().saturating_sub(self.coalesced.get()));
    }
}
