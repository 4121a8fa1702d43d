//! What the tracker counts, in Prometheus' naming: seconds and bytes as base units, no label that a client
//! chooses.

mod frontends;
mod hooks;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result,
};

use crate::forward::ForwardMetrics;
use crate::sharing::SharingMetrics;
use crate::swarm::{Census, Swarms};
use crate::traffic::{Outcome, SpoolMetrics};
use frontends::Frontends;
pub use frontends::{Action, Dropped, HttpMetrics, Latency, LocalLatency, UdpMetrics, Verdict};
pub use hooks::{HookMetrics, KeySetMetrics, PeerLimitMetrics, SiteMetrics};

/// From 10 microseconds, a reply out of memory, to 5 seconds, a Redis in trouble.
const LATENCY_BUCKETS: &[f64] = &[
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0,
];

/// What the recorder counts.
#[derive(Debug, Clone)]
pub struct RecorderMetrics {
    /// Reports that wait for the batch after the one under way.
    pub waiting: IntGauge,
    /// Seconds from a batch's first attempt to its commit.
    pub commit_seconds: Histogram,
    /// Attempts that failed.
    pub errors: IntCounter,
    /// Announces refused because neither Redis nor a spool took them.
    pub refused: IntCounter,
    /// Reports that Redis lost after it had confirmed them.
    pub lost_reports: IntCounter,
    /// The spool.
    pub spool: SpoolMetrics,
    last_commit: Gauge,
    outcomes: [IntCounter; 6],
    standings: [IntGauge; 5],
}

impl RecorderMetrics {
    /// Notes a commit, just now, that took so long.
    pub fn committed(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_commit.set(since.as_secs_f64());
    }

    /// Notes what became of one report.
    pub fn count(&self, outcome: &Outcome) {
        let place = match outcome {
            Outcome::Booked => 0,
            Outcome::Idle => 1,
            Outcome::Repeated => 2,
            Outcome::Late => 3,
            Outcome::Failed(_) => 4,
            Outcome::Unwritable(_) => 5,
        };
        self.outcomes[place].inc();
    }

    /// Shows how the recorder works: the place of its standing in
    /// `starting direct spooling replaying refusing`.
    pub fn show_standing(&self, place: usize) {
        for (other, gauge) in self.standings.iter().enumerate() {
            gauge.set(i64::from(other == place));
        }
    }
}

/// Gauges about the swarms, brought up to date by the sweeper.
#[derive(Debug, Clone)]
pub struct SwarmMetrics {
    torrents: IntGauge,
    seeders: IntGauge,
    leechers: IntGauge,
    endpoints: [IntGauge; 2],
    /// Endpoints forgotten because their announces stopped.
    pub expired: IntCounter,
    /// Seconds one sweep through all shards took.
    pub sweep_seconds: Histogram,
}

impl SwarmMetrics {
    /// Publishes a census.
    pub fn publish(&self, swarms: &Swarms) {
        let Census { torrents, seeders, leechers, endpoints_v4, endpoints_v6 } = swarms.census();
        let set = |gauge: &IntGauge, count: u64| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.torrents, torrents);
        set(&self.seeders, seeders);
        set(&self.leechers, leechers);
        set(&self.endpoints[0], endpoints_v4);
        set(&self.endpoints[1], endpoints_v6);
    }
}

/// All of the tracker's metrics and the registry they are in.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// What `/metrics` shows.
    pub registry: Registry,
    /// The HTTP frontend, plain.
    pub http: HttpMetrics,
    /// The same over TLS.
    pub https: HttpMetrics,
    /// The UDP frontend.
    pub udp: UdpMetrics,
    /// Traffic push.
    pub recorder: RecorderMetrics,
    /// The swarms.
    pub swarm: SwarmMetrics,
    /// The hooks.
    pub hooks: HookMetrics,
    /// The forwarders.
    pub forward: ForwardMetrics,
    /// Swarms shared with other trackers.
    pub sharing: SharingMetrics,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is taken or malformed: a mistake in this file.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        let frontends = Frontends::new(&registry)?;
        Ok(Self {
            http: frontends.http("http")?,
            https: frontends.http("https")?,
            udp: frontends.udp(&registry)?,
            recorder: recorder(&registry)?,
            swarm: swarm(&registry)?,
            hooks: HookMetrics::new(&registry)?,
            forward: ForwardMetrics::new(&registry)?,
            sharing: SharingMetrics::new(&registry)?,
            registry,
        })
    }
}

fn recorder(registry: &Registry) -> Result<RecorderMetrics> {
    let last_commit = Gauge::new(
        "seedbook_tracker_recorder_last_commit_unix_seconds",
        "When the last batch was committed; 0 before the first",
    )?;
    registry.register(Box::new(last_commit.clone()))?;
    Ok(RecorderMetrics {
        waiting: gauge(registry, "seedbook_tracker_recorder_waiting", "Reports that wait to be recorded")?,
        commit_seconds: histogram(
            registry,
            "seedbook_tracker_recorder_commit_seconds",
            "From a batch's first attempt to its commit in Redis",
        )?,
        errors: counter(registry, "seedbook_tracker_recorder_errors_total", "Attempts that failed")?,
        refused: counter(
            registry,
            "seedbook_tracker_recorder_refused_total",
            "Announces refused because they could not be recorded",
        )?,
        lost_reports: counter(
            registry,
            "seedbook_tracker_redis_lost_reports_total",
            "Reports that Redis lost after it had confirmed them",
        )?,
        spool: SpoolMetrics::new(registry)?,
        last_commit,
        standings: standings(registry)?,
        outcomes: outcomes(registry)?,
    })
}

fn outcomes(registry: &Registry) -> Result<[IntCounter; 6]> {
    let outcomes = IntCounterVec::new(
        Opts::new("seedbook_tracker_recorded_total", "Reports by what became of them"),
        &["outcome"],
    )?;
    registry.register(Box::new(outcomes.clone()))?;
    let outcome = |word: &str| outcomes.get_metric_with_label_values(&[word]);
    Ok([
        outcome("booked")?,
        outcome("idle")?,
        outcome("repeated")?,
        outcome("late")?,
        outcome("failed")?,
        outcome("unwritable")?,
    ])
}

fn standings(registry: &Registry) -> Result<[IntGauge; 5]> {
    let standings = IntGaugeVec::new(
        Opts::new("seedbook_tracker_recorder_state", "1 for the way in which the recorder works now"),
        &["state"],
    )?;
    registry.register(Box::new(standings.clone()))?;
    let standing = |word: &str| standings.get_metric_with_label_values(&[word]);
    Ok([
        standing("starting")?,
        standing("direct")?,
        standing("spooling")?,
        standing("replaying")?,
        standing("refusing")?,
    ])
}

fn swarm(registry: &Registry) -> Result<SwarmMetrics> {
    Ok(SwarmMetrics {
        torrents: gauge(registry, "seedbook_tracker_torrents", "Torrents with at least one peer")?,
        seeders: gauge(registry, "seedbook_tracker_seeders", "Clients that seed")?,
        leechers: gauge(registry, "seedbook_tracker_leechers", "Clients that download")?,
        endpoints: [
            gauge(registry, "seedbook_tracker_endpoints_v4", "IPv4 addresses of peers")?,
            gauge(registry, "seedbook_tracker_endpoints_v6", "IPv6 addresses of peers")?,
        ],
        expired: counter(
            registry,
            "seedbook_tracker_expired_peers_total",
            "Peers forgotten because their announces stopped",
        )?,
        sweep_seconds: histogram(
            registry,
            "seedbook_tracker_sweep_seconds",
            "One sweep for silent peers through all shards",
        )?,
    })
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Result<Histogram> {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec()))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}
