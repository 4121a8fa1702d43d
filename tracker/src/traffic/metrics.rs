//! The recorder's metrics: how long Redis takes, the outcome of each report, the recorder's state.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, Histogram, IntCounter, IntGauge, Registry, Result};
use service::metrics::{LATENCY_BUCKETS, counter, counters_by, gauge, gauges_by, histogram, seconds_gauge};

use service::redis::durable::DoubtMetrics;

use super::reply::Outcome;
use super::spool::SpoolMetrics;

/// The recorder's metrics, those of its spool included.
#[derive(Debug, Clone)]
pub struct RecorderMetrics {
    pub(super) waiting: IntGauge,
    pub(super) errors: IntCounter,
    pub(super) refused: IntCounter,
    pub(super) lost_reports: IntCounter,
    pub(super) rollbacks: IntCounter,
    pub(super) restored: IntCounter,
    known_sessions: IntGauge,
    tail_entries: IntGauge,
    pub(super) doubts: DoubtMetrics,
    pub(super) spool: SpoolMetrics,
    commit_seconds: Histogram,
    last_commit: Gauge,
    outcomes: [IntCounter; 5],
    states: [IntGauge; 5],
}

impl RecorderMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registry: &Registry) -> Result<Self> {
        Ok(Self {
            waiting: gauge(
                registry,
                "seedbook_tracker_recorder_waiting",
                "Reports that wait to be recorded",
            )?,
            commit_seconds: histogram(
                registry,
                "seedbook_tracker_recorder_commit_seconds",
                "From a batch's first attempt to its commit in Redis",
                LATENCY_BUCKETS,
            )?,
            last_commit: seconds_gauge(
                registry,
                "seedbook_tracker_recorder_last_commit_unix_seconds",
                "When the last batch was committed; 0 before the first",
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
                "Reports that Redis lost after it had confirmed them, and that the tail did not reach back to",
            )?,
            rollbacks: counter(
                registry,
                "seedbook_tracker_redis_rollbacks_total",
                "Times that Redis went back behind what it had confirmed",
            )?,
            restored: counter(
                registry,
                "seedbook_tracker_redis_restored_total",
                "Reports that Redis was given again after it had lost them",
            )?,
            known_sessions: gauge(
                registry,
                "seedbook_tracker_recorder_known_sessions",
                "Sessions whose snapshot the recorder remembers",
            )?,
            tail_entries: gauge(
                registry,
                "seedbook_tracker_recorder_tail_entries",
                "Confirmed reports that are kept for a Redis that goes back",
            )?,
            doubts: DoubtMetrics::new(registry, "seedbook_tracker_redis_doubts")?,
            spool: SpoolMetrics::new(registry)?,
            states: states(registry)?,
            outcomes: outcomes(registry)?,
        })
    }

    /// Notes a commit, just now, that took so long.
    pub(super) fn committed(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_commit.set(since.as_secs_f64());
    }

    /// Shows how much the recorder remembers.
    pub(super) fn remembers(&self, sessions: usize, tail: usize) {
        self.known_sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
        self.tail_entries.set(i64::try_from(tail).unwrap_or(i64::MAX));
    }

    /// Notes what became of one report.
    pub(super) fn count(&self, outcome: &Outcome) {
        let place = match outcome {
            Outcome::Booked => 0,
            Outcome::Repeated => 1,
            Outcome::Stale(_) | Outcome::Renamed { .. } | Outcome::Folding { .. } => 2,
            Outcome::Failed(_) => 3,
            Outcome::Unwritable(_) => 4,
        };
        self.outcomes[place].inc();
    }

    /// Sets the gauge of the recorder's state, which is given by its place in
    /// `starting direct spooling replaying refusing`, to 1 and the others to 0.
    pub(super) fn show_state(&self, place: usize) {
        for (other, gauge) in self.states.iter().enumerate() {
            gauge.set(i64::from(other == place));
        }
    }
}

fn outcomes(registry: &Registry) -> Result<[IntCounter; 5]> {
    let name = "seedbook_tracker_recorded_total";
    let outcome = counters_by(registry, name, "Reports by what became of them", "outcome")?;
    Ok([
        outcome("booked")?,
        outcome("repeated")?,
        outcome("stale")?,
        outcome("failed")?,
        outcome("unwritable")?,
    ])
}

fn states(registry: &Registry) -> Result<[IntGauge; 5]> {
    let name = "seedbook_tracker_recorder_state";
    let state = gauges_by(registry, name, "1 for the way in which the recorder works now", "state")?;
    Ok([state("starting")?, state("direct")?, state("spooling")?, state("replaying")?, state("refusing")?])
}
