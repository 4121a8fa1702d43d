//! The consumer's figures for Prometheus: how far behind it is, what it settled, how long that took.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, exponential_buckets,
};

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
    /// Entries taken out of the stream before any consumer was given them.
    pub lost: IntCounter,
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
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let r = &registry;
        Ok(Self {
            lag: gauge(r, "lag_entries", "Entries that nobody in the group has read")?,
            lag_seconds: seconds_gauge(r, "lag_seconds", "Age of the oldest entry that is not settled")?,
            pending: gauge(r, "pending_entries", "Entries read by the group and not acknowledged")?,
            settled: counter(r, "settled_total", "Entries that counted")?,
            duplicates: counter(r, "duplicates_total", "Entries that had been settled before")?,
            flagged: counter(r, "flagged_total", "Entries settled and credited nothing")?,
            dead: counter(r, "dead_total", "Entries moved to the dead letters")?,
            gone: counter(r, "gone_total", "Entries deleted from the stream before they were finished")?,
            lost: counter(
                r,
                "lost_entries_total",
                "Entries taken out of the stream before any consumer was given them: never settled",
            )?,
            dead_waiting: gauge(r, "dead_waiting", "Dead letters that wait for a retry")?,
            dead_failed: gauge(r, "dead_failed", "Dead letters given up")?,
            // 50 ms to 27 minutes: a healthy second, a deployment, a lunch break.
            end_to_end: histogram(
                r,
                "end_to_end_seconds",
                "From the announce's entry in the stream to its commit in the ledger",
                (0.002, 2.0, 20),
            )?,
            batch_size: histogram(r, "batch_entries", "Entries settled at once", (1.0, 2.0, 16))?,
            presence_seconds: histogram(
                r,
                "presence_seconds",
                "Bringing a batch into the presence sets",
                (0.0005, 2.0, 14),
            )?,
            commit_seconds: histogram(
                r,
                "commit_seconds",
                "Settling a batch in the ledger",
                (0.0005, 2.0, 14),
            )?,
            ledger_up: gauge(r, "ledger_up", "1 while the ledger takes transactions")?,
            redis_errors: counter(r, "redis_errors_total", "Attempts that Redis failed")?,
            ledger_errors: counter(r, "ledger_errors_total", "Attempts that the ledger failed")?,
            expired_peers: counter(r, "expired_peers_total", "Peers removed because they fell silent")?,
            trimmed: counter(r, "trimmed_total", "Entries trimmed from the stream")?,
            seeding: gauge(r, "seeding_sessions", "Sessions in the sets that seed, when last counted")?,
            leeching: gauge(r, "leeching_sessions", "Sessions in the sets that leech, when last counted")?,
            drift_users: counter(r, "drift_users_total", "Users whose sets were compared")?,
            drift_sets: gauge(
                r,
                "drift_sets",
                "Differences between sets and guards among the users last compared",
            )?,
            drift_ledger: gauge(
                r,
                "drift_ledger",
                "Sessions in the sets whose settled announce the ledger lacks, among the users last compared",
            )?,
            registry,
        })
    }
}

fn named(name: &str) -> String {
    format!("seedbook_consumer_{name}")
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(named(name), help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::with_opts(Opts::new(named(name), help))?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn seconds_gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Gauge> {
    let gauge = Gauge::with_opts(Opts::new(named(name), help))?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

/// `buckets`: the first, the factor, how many.
fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: (f64, f64, usize),
) -> prometheus::Result<Histogram> {
    let buckets = exponential_buckets(buckets.0, buckets.1, buckets.2)?;
    let histogram = Histogram::with_opts(HistogramOpts::new(named(name), help).buckets(buckets))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}
