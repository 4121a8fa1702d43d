//! The recorder's desk: numbers reports, answers clients, keeps on disk what Redis does not take, and says
//! how things stand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::booking::{Booking, Entry};
use super::failure::Setback;
use super::metrics::RecorderMetrics;
use super::recorder::{RecordError, Recorded};
use super::script::Outcome;
use super::spool::{AppendError, Batch, Spool};

/// A report and whom to tell what became of it.
pub(super) struct Job {
    pub(super) booking: Booking,
    pub(super) recorded: Recorded,
}

/// How the recorder works now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Redis was not asked yet.
    Starting,
    /// Reports go to Redis.
    Direct,
    /// Redis takes nothing; reports go to the spool.
    Spooling,
    /// Redis takes what is spooled; new reports go behind it.
    Replaying,
    /// Neither Redis nor the spool takes reports.
    Refusing,
}

impl Standing {
    const ALL: [Self; 5] = [Self::Starting, Self::Direct, Self::Spooling, Self::Replaying, Self::Refusing];
}

/// The recorder's standing, for those outside.
#[derive(Debug, Default)]
pub(super) struct State(AtomicU8);

impl State {
    pub(super) fn get(&self) -> Standing {
        Standing::ALL[usize::from(self.0.load(Ordering::Relaxed))]
    }

    fn set(&self, standing: Standing) {
        self.0.store(standing as u8, Ordering::Relaxed);
    }
}

pub(super) struct Desk {
    tracker_id: String,
    pub(super) spool: Option<Arc<Spool>>,
    metrics: RecorderMetrics,
    state: Arc<State>,
    sequence: u64,
    /// Since when Redis takes nothing.
    outage: Option<Instant>,
    replayed: u64,
}

impl Desk {
    pub(super) fn new(
        tracker_id: String,
        spool: Option<Arc<Spool>>,
        metrics: RecorderMetrics,
        state: Arc<State>,
    ) -> Self {
        let mut desk = Self { tracker_id, spool, metrics, state, sequence: 0, outage: None, replayed: 0 };
        desk.stand(Standing::Starting);
        desk
    }

    pub(super) fn standing(&self) -> Standing {
        self.state.get()
    }

    pub(super) fn stand(&mut self, standing: Standing) {
        self.state.set(standing);
        self.metrics.show_standing(standing as usize);
    }

    /// How many reports wait for the batch after the one under way.
    pub(super) fn show_waiting(&self, count: usize) {
        self.metrics.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Takes the jobs off the list, each with its number.
    pub(super) fn number(&mut self, jobs: &mut Vec<Job>) -> (Vec<Entry>, Vec<Recorded>) {
        let numbered = jobs.drain(..).map(|Job { booking, recorded }| {
            self.sequence += 1;
            (Entry { booking, sequence: self.sequence }, recorded)
        });
        numbered.unzip()
    }

    /// Tells clients what became of a batch that Redis answered.
    pub(super) fn answer(&self, outcomes: Vec<Outcome>, waiting: Vec<Recorded>) {
        for (outcome, recorded) in outcomes.into_iter().zip(waiting) {
            self.metrics.count(&outcome);
            let verdict = match outcome {
                Outcome::Failed(reason) | Outcome::Unwritable(reason) => {
                    error!(%reason, "Redis refused one announce; its client is told to come back");
                    Err(RecordError::Unavailable)
                }
                Outcome::Booked | Outcome::Idle | Outcome::Repeated | Outcome::Late => Ok(()),
            };
            recorded(verdict);
        }
    }

    /// Puts entries into the spool and answers; without a spool, or when it takes nothing, clients are told
    /// to come back.
    pub(super) async fn shelve(&mut self, entries: Vec<Entry>, waiting: Vec<Recorded>) {
        let count = waiting.len() as u64;
        let verdict = match &self.spool {
            Some(spool) => spool.append(self.tracker_id.clone(), entries).await.map_err(|error| {
                self.say_that_the_spool_fails(spool, &error);
                match error {
                    AppendError::Full => RecordError::SpoolFull,
                    AppendError::Disk(_) => RecordError::SpoolFailed,
                }
            }),
            None => Err(RecordError::Unavailable),
        };
        match verdict {
            Ok(()) => {
                self.metrics.spool.spooled.inc_by(count);
                if self.standing() != Standing::Replaying {
                    self.stand(Standing::Spooling);
                }
            }
            Err(_) => {
                self.metrics.refused.inc_by(count);
                self.stand(Standing::Refusing);
            }
        }
        waiting.into_iter().for_each(|recorded| recorded(verdict));
    }

    /// Once, not for every batch.
    fn say_that_the_spool_fails(&self, spool: &Spool, error: &AppendError) {
        if self.standing() != Standing::Refusing {
            let directory = spool.directory().display();
            error!(%directory, %error, "clients are told to come back: bring Redis back, free space there, or raise spool.max_bytes and reload");
        }
    }

    /// Lets go of a batch that Redis answered. `false` when it has to be sent again.
    pub(super) async fn booked(&mut self, batch: Batch, outcomes: &[Outcome]) -> bool {
        let Some(spool) = &self.spool else { return true };
        outcomes.iter().for_each(|outcome| self.metrics.count(outcome));
        let failed = |(_, outcome): &(&Entry, &Outcome)| matches!(outcome, Outcome::Failed(_));
        let refused = batch.entries.iter().zip(outcomes).filter(failed);
        let refused: Vec<Entry> = refused.map(|(entry, _)| entry.clone()).collect();
        self.replayed += batch.entries.len() as u64;
        match spool.booked(batch, refused).await {
            Ok(None) => {}
            Ok(Some(file)) => {
                error!(file = %file.display(), "Redis refuses some spooled announces (a foreign value under a snapshot's key?); they are kept and tried again at the next start");
            }
            Err(error) => {
                error!(%error, "announces that Redis refuses cannot be kept aside; trying again");
                return false;
            }
        }
        if !spool.is_empty() {
            self.stand(Standing::Replaying);
        }
        true
    }

    /// Redis takes nothing.
    pub(super) fn redis_failed(&mut self, setback: &Setback) {
        match &self.spool {
            None => self.stand(Standing::Refusing),
            Some(_) if self.standing() == Standing::Refusing => {}
            Some(_) => self.stand(Standing::Spooling),
        }
        if self.outage.is_some() {
            return;
        }
        self.outage = Some(Instant::now());
        let (error, advice) = (&setback.error, setback.trouble.advice());
        match &self.spool {
            Some(spool) => {
                let directory = spool.directory().display();
                warn!(%directory, %error, advice, "Redis takes no announces: they are answered, and kept in the spool until it does");
            }
            None => {
                warn!(%error, advice, "Redis takes no announces, and there is no spool.directory: clients are told to come back");
            }
        }
    }

    /// Redis takes announces, and the spool is empty.
    pub(super) fn redis_is_back(&mut self) {
        self.stand(Standing::Direct);
        let replayed = std::mem::take(&mut self.replayed);
        match self.outage.take() {
            Some(since) => info!(
                seconds = since.elapsed().as_secs(),
                replayed, "Redis takes announces again, and has all that was spooled"
            ),
            None if replayed > 0 => info!(replayed, "Redis has all that was spooled in an earlier run"),
            None => {}
        }
    }
}
