//! What the tracker counts, in Prometheus' naming: seconds and bytes as base units, no label that a client
//! chooses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{
    Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result,
};

use service::metrics::{LATENCY_BUCKETS, counter, gauge, histogram};

use crate::forward::ForwardMetrics;
use crate::frontend::metrics::{Frontends, HttpMetrics, UdpMetrics};
use crate::hooks::metrics::HookMetrics;
use crate::sharing::SharingMetrics;
use crate::swarm::SwarmMetrics;
use crate::traffic::{Outcome, SpoolMetrics};

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
        let registry = service::metrics::registry()?;
        let frontends = Frontends::new(&registry)?;
        Ok(Self {
            http: frontends.http("http")?,
            https: frontends.http("https")?,
            udp: frontends.udp(&registry)?,
            recorder: recorder(&registry)?,
            swarm: SwarmMetrics::new(&registry)?,
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
            LATENCY_BUCKETS,
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
