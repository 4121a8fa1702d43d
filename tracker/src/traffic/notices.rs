//! Makes log lines and metrics of the machine's notices, and shows the recorder's state to other threads.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::{error, info, warn};

use super::failure::SendFailure;
use super::machine::{Notice, RecorderState};
use super::metrics::RecorderMetrics;
use super::reply::Outcome;
use super::spool::Spool;

impl RecorderState {
    const ALL: [Self; 5] = [Self::Starting, Self::Direct, Self::Spooling, Self::Replaying, Self::Refusing];
}

/// The recorder's state, as frontends and the admin listener read it from other threads.
#[derive(Debug, Default)]
pub(super) struct SharedState(AtomicU8);

impl SharedState {
    pub(super) fn get(&self) -> RecorderState {
        RecorderState::ALL[usize::from(self.0.load(Ordering::Relaxed))]
    }
}

#[derive(Debug)]
pub(super) struct Notices {
    metrics: RecorderMetrics,
    state: Arc<SharedState>,
    /// Where the spool is, if there is one.
    directory: Option<PathBuf>,
}

impl Notices {
    pub(super) fn new(metrics: RecorderMetrics, state: Arc<SharedState>, directory: Option<PathBuf>) -> Self {
        let notices = Self { metrics, state, directory };
        notices.enter(RecorderState::Starting);
        notices
    }

    pub(super) fn publish(&self, notice: Notice) {
        let metrics = &self.metrics;
        match notice {
            Notice::State(state) => self.enter(state),
            Notice::Committed(took) => metrics.committed(took),
            Notice::Recorded(outcomes) => self.recorded(&outcomes),
            Notice::Replayed(outcomes) => outcomes.iter().for_each(|outcome| metrics.count(outcome)),
            Notice::AttemptFailed => metrics.errors.inc(),
            Notice::WentBack { behind, again } => self.went_back(behind, again),
            Notice::TailFails(error) => {
                let directory = self.directory();
                error!(%directory, %error, "what Redis confirms is not kept on disk: should this tracker be killed and Redis come back older, announces of the last minute are lost");
            }
            Notice::Restored(entries) => {
                metrics.restored.inc_by(entries);
                info!(entries, "Redis has the announces again that it had lost");
            }
            Notice::Remembers { sessions, tail } => metrics.remembers(sessions, tail),
            Notice::Spooled(count) => metrics.spool.spooled.inc_by(count),
            Notice::Refused(count) => metrics.refused.inc_by(count),
            Notice::SpoolFails(error) => {
                let directory = self.directory();
                error!(%directory, %error, "clients are told to come back: bring Redis back, free space there, or raise spool.max_bytes and reload");
            }
            Notice::LeftSpool { booked, set_aside, file } => {
                metrics.spool.replayed.inc_by(booked);
                metrics.spool.set_aside.inc_by(set_aside);
                if let Some(file) = file {
                    error!(file = %file.display(), "Redis refuses some spooled announces (a foreign value under a snapshot's key?); they are kept and tried again at the next start");
                }
            }
            Notice::CannotSetAside(error) => {
                error!(%error, "announces that Redis refuses cannot be kept aside; trying again");
            }
            Notice::OutageBegan(failure) => self.outage_began(&failure),
            Notice::CaughtUp { outage: Some(outage), replayed } => info!(
                seconds = outage.as_secs(),
                replayed, "Redis takes announces again, and has all that was spooled"
            ),
            Notice::CaughtUp { outage: None, replayed } => {
                info!(replayed, "Redis has all that was spooled in an earlier run");
            }
        }
    }

    /// How many reports wait for the batch after the one under way.
    pub(super) fn show_waiting(&self, count: usize) {
        self.metrics.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The recorder has ended.
    pub(super) fn ended(&self, spool: &Spool) {
        if !spool.is_empty() {
            let (directory, records) = (spool.directory().display(), spool.records());
            warn!(%directory, records, "announces stay in the spool; the next start of a tracker with this spool.directory books them");
        }
    }

    fn enter(&self, state: RecorderState) {
        self.state.0.store(state as u8, Ordering::Relaxed);
        self.metrics.show_state(state as usize);
    }

    fn directory(&self) -> String {
        self.directory.as_ref().map(|directory| directory.display().to_string()).unwrap_or_default()
    }

    fn recorded(&self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            self.metrics.count(outcome);
            if let Outcome::Failed(reason) | Outcome::Unwritable(reason) = outcome {
                error!(%reason, "Redis refused one announce; its client is told to come back");
            }
        }
    }

    /// A Redis that has less than it confirmed came back older.
    fn went_back(&self, behind: u64, again: u64) {
        self.metrics.rollbacks.inc();
        let gone = behind.saturating_sub(again);
        self.metrics.lost_reports.inc_by(gone);
        if gone == 0 {
            warn!(
                behind,
                "Redis went back in time: it restarted without its newest data, or a replica that lagged took over. \
                 It is given the announces again that it had confirmed"
            );
        } else {
            error!(
                behind,
                gone,
                "Redis went back in time, further than the tail reaches (`tail`): it is given again what there is. \
                 Sessions go on from what this tracker and the ledger know of them"
            );
        }
    }

    fn outage_began(&self, failure: &SendFailure) {
        let (error, advice) = (failure, failure.kind.advice());
        if self.directory.is_some() {
            let directory = self.directory();
            warn!(%directory, %error, advice, "Redis takes no announces: they are answered, and kept in the spool until it does");
        } else {
            warn!(%error, advice, "Redis takes no announces, and there is no spool.directory: clients are told to come back");
        }
    }
}
