//! The consumer's figures for Prometheus: how far behind it is, what it settled, how long that took.

use prometheus::{Gauge, Histogram, IntCounter, IntGauge, Registry, exponential_buckets};
use service::metrics;
use service::redis::durable::DoubtMetrics;

/// Every figure. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) registry: Registry,
    /// Entries nobody in the group has read.
    pub lag: IntGauge,
    /// Age of the oldest entry that is not settled.
    pub lag_seconds: Gauge,
    /// Entries read by the group and not acknowledged.
    pub pending: IntGauge,
    pub(crate) settled: IntCounter,
    /// Entries that had been settled before.
    pub duplicates: IntCounter,
    /// Settled entries that were credited nothing until an operator decides.
    pub flagged: IntCounter,
    /// Entries moved to the dead letters.
    pub dead: IntCounter,
    /// Entries that were deleted from the stream before they were finished.
    pub gone: IntCounter,
    /// Entries whose numbers never came.
    pub lost: IntCounter,
    pub(crate) rollbacks: IntCounter,
    /// Dead letters that wait for a retry.
    pub dead_waiting: IntGauge,
    pub(crate) dead_failed: IntGauge,
    /// From the announce to the commit.
    pub end_to_end: Histogram,
    pub(crate) batch_size: Histogram,
    /// Bringing a batch into the presence sets.
    pub presence_seconds: Histogram,
    /// Settling a batch in the ledger.
    pub commit_seconds: Histogram,
    /// 1 while the ledger takes transactions.
    pub ledger_up: IntGauge,
    pub(crate) redis_errors: IntCounter,
    pub(crate) redis_doubts: DoubtMetrics,
    /// Attempts that the ledger failed.
    pub ledger_errors: IntCounter,
    /// Peers that left the sets because they fell silent.
    pub expired_peers: IntCounter,
    /// Entries trimmed from the stream.
    pub trimmed: IntCounter,
    /// Sessions in the sets that seed.
    pub seeding: IntGauge,
    /// Sessions in the sets that leech.
    pub leeching: IntGauge,
    /// Users whose sets were compared with guards and ledger.
    pub drift_users: IntCounter,
    /// Differences between sets and guards, in the last comparison.
    pub drift_sets: IntGauge,
    /// Sessions in the sets whose settled announce the ledger lacks, in the last comparison.
    pub drift_ledger: IntGauge,
}

impl Metrics {
    /// Registers every figure in a registry of its own, with those of the process.
    ///
    /// # Errors
    /// When a name is taken twice.
    pub fn new() -> prometheus::Result<Self> {
        let registry = metrics::registry()?;
        let named = |name: &str| format!("seedbook_consumer_{name}");
        let counter = |name, help| metrics::counter(&registry, named(name), help);
        let gauge = |name, help| metrics::gauge(&registry, named(name), help);
        let histogram = |name, help, (first, factor, count)| {
            let buckets = exponential_buckets(first, factor, count)?;
            metrics::histogram(&registry, named(name), help, &buckets)
        };
        Ok(Self {
            lag: gauge("lag_entries", "Entries that nobody in the group has read")?,
            lag_seconds: metrics::seconds_gauge(
                &registry,
                named("lag_seconds"),
                "Age of the oldest entry that is not settled",
            )?,
            pending: gauge("pending_entries", "Entries read by the group and not acknowledged")?,
            settled: counter("settled_total", "Entries that counted")?,
            duplicates: counter("duplicates_total", "Entries that had been settled before")?,
            flagged: counter("flagged_total", "Entries settled and credited nothing")?,
            dead: counter("dead_total", "Entries moved to the dead letters")?,
            gone: counter("gone_total", "Entries deleted from the stream before they were finished")?,
            lost: counter(
                "lost_entries_total",
                "Entries whose numbers never came and that nobody can deliver any more: never settled",
            )?,
            rollbacks: counter("redis_rollbacks_total", "Times that Redis went back to an earlier state")?,
            dead_waiting: gauge("dead_waiting", "Dead letters that wait for a retry")?,
            dead_failed: gauge("dead_failed", "Dead letters given up")?,
            // 2 ms to 17 minutes: a healthy line, a deployment, an outage.
            end_to_end: histogram(
                "end_to_end_seconds",
                "From the announce's entry in the stream to its commit in the ledger",
                (0.002, 2.0, 20),
            )?,
            batch_size: histogram("batch_entries", "Entries settled at once", (1.0, 2.0, 16))?,
            presence_seconds: histogram(
                "presence_seconds",
                "Bringing a batch into the presence sets",
                (0.0005, 2.0, 14),
            )?,
            commit_seconds: histogram("commit_seconds", "Settling a batch in the ledger", (0.0005, 2.0, 14))?,
            ledger_up: gauge("ledger_up", "1 while the ledger takes transactions")?,
            redis_doubts: DoubtMetrics::new(&registry, &named("redis_doubts"))?,
            redis_errors: counter("redis_errors_total", "Attempts that Redis failed")?,
            ledger_errors: counter("ledger_errors_total", "Attempts that the ledger failed")?,
            expired_peers: counter("expired_peers_total", "Peers removed because they fell silent")?,
            trimmed: counter("trimmed_total", "Entries trimmed from the stream")?,
            seeding: gauge("seeding_sessions", "Sessions in the sets that seed, when last counted")?,
            leeching: gauge("leeching_sessions", "Sessions in the sets that leech, when last counted")?,
            drift_users: counter("drift_users_total", "Users whose sets were compared")?,
            drift_sets: gauge(
                "drift_sets",
                "Differences between sets and guards among the users last compared",
            )?,
            drift_ledger: gauge(
                "drift_ledger",
                "Sessions in the sets whose settled announce the ledger lacks, among the users last compared",
            )?,
            registry,
        })
    }
}
