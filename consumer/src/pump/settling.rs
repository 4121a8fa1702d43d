//! The half that settles the events of batches, moves broken entries to the dead letters, and acknowledges
//! both: in this order, so that acknowledged means committed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use books::dead_letters::BrokenEntry;
use books::entry::{Entry, EntryId};
use service::redis::Backoff;

use super::{Attempt, Next, Pump};
use crate::batch::Batch;

/// Ids in one acknowledgement: a millisecond of Redis, which its other clients can wait.
const ACKNOWLEDGED_AT_ONCE: usize = 1000;

/// What this half does.
#[derive(Debug)]
pub enum Settling {
    /// Settles entries in one transaction ([`Pump::settled`]).
    Settle(Arc<[Entry]>),
    /// Moves an entry to the dead letters ([`Pump::buried`]).
    Bury(BrokenEntry),
    /// Acknowledges entries ([`Pump::acknowledged`]).
    Acknowledge(Vec<EntryId>),
}

/// What the ledger made of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// They are committed.
    Committed,
    /// One of them at least cannot be settled, for this reason.
    Refused(String),
    /// The ledger is not available.
    Unavailable,
}

#[derive(Debug)]
pub(super) struct SettlingState {
    round: Option<Round>,
    busy: bool,
    failures: Backoff,
    not_before: Option<Instant>,
    ended: bool,
}

impl Default for SettlingState {
    /// Begins by settling nothing, which opens the ledger.
    fn default() -> Self {
        let round = Some(Round::of(Vec::new()));
        Self { round, busy: false, failures: Backoff::default(), not_before: None, ended: false }
    }
}

/// Batches that are settled together, and how far that is.
#[derive(Debug)]
struct Round {
    batches: usize,
    /// Still to be settled, the oldest last.
    parts: Vec<Arc<[Entry]>>,
    /// Still to be moved to the dead letters.
    broken: VecDeque<BrokenEntry>,
    /// To be acknowledged, and how many of them are.
    finished: Vec<EntryId>,
    acknowledged: usize,
}

impl Round {
    fn of(mut batches: Vec<Batch>) -> Self {
        let (count, mut all) = (batches.len(), Batch::default());
        batches.drain(..).for_each(|batch| all.append(batch));
        let finished = all.entries.iter().map(|entry| entry.id).chain(all.gone).collect();
        Self {
            batches: count,
            parts: vec![all.entries.into()],
            broken: all.broken.into(),
            finished,
            acknowledged: 0,
        }
    }

    fn is_finished(&self) -> bool {
        self.parts.is_empty() && self.broken.is_empty() && self.acknowledged == self.finished.len()
    }

    fn next(&self) -> Option<Settling> {
        if let Some(part) = self.parts.last() {
            return Some(Settling::Settle(part.clone()));
        }
        if let Some(broken) = self.broken.front() {
            return Some(Settling::Bury(broken.clone()));
        }
        let some = self.finished[self.acknowledged..].chunks(ACKNOWLEDGED_AT_ONCE).next()?;
        Some(Settling::Acknowledge(some.to_vec()))
    }

    /// Everything but what the ledger refuses is settled: halves of a refused part are tried until the guilty
    /// entries stand alone.
    fn refused(&mut self, reason: String) {
        match self.parts.pop().as_deref() {
            None | Some([]) => {}
            Some([guilty]) => self.broken.push_back(refusal(guilty, reason)),
            Some(part) => {
                let (older, newer) = part.split_at(part.len() / 2);
                self.parts.extend([newer.into(), older.into()]);
            }
        }
    }
}

fn refusal(entry: &Entry, error: String) -> BrokenEntry {
    let fields = entry.event.to_fields();
    let fields = fields.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value.into_bytes()));
    BrokenEntry { id: entry.id, fields: fields.collect(), error }
}

impl Pump {
    /// What the settling half does next.
    pub fn poll_settling(&mut self, now: Instant) -> Next<Settling> {
        // A wish to stop breaks waits off, and nothing else.
        self.settling.ended |= self.stopping && self.settling.not_before.is_some();
        if self.settling.ended {
            return Next::End;
        }
        if self.settling.busy {
            return Next::Wait(None);
        }
        if let Some(until) = self.settling.not_before.filter(|until| now < *until) {
            return Next::Wait(Some(until));
        }
        self.settling.not_before = None;
        match self.next_of_round() {
            Some(action) => {
                self.settling.busy = true;
                Next::Do(action)
            }
            None if self.reading_has_ended() => Next::End,
            None => Next::Wait(None),
        }
    }

    /// Goes on with a round, or begins one with all that gathered.
    fn next_of_round(&mut self) -> Option<Settling> {
        if self.settling.round.is_none() && !self.gathered.is_empty() {
            self.settling.round = Some(Round::of(std::mem::take(&mut self.gathered)));
        }
        self.settling.round.as_ref()?.next()
    }

    /// What became of the entries that were to be settled.
    pub fn settled(&mut self, settled: Settled, now: Instant) {
        let Some(round) = &mut self.settling.round else { return };
        match settled {
            Settled::Committed => drop(round.parts.pop()),
            Settled::Refused(reason) => round.refused(reason),
            Settled::Unavailable => return self.settle_again(now),
        }
        self.step_done();
    }

    /// What became of the entry that was to be moved to the dead letters.
    pub fn buried(&mut self, attempt: Attempt, now: Instant) {
        let Some(round) = &mut self.settling.round else { return };
        match attempt {
            Attempt::Done => drop(round.broken.pop_front()),
            Attempt::Failed => return self.settle_again(now),
        }
        self.step_done();
    }

    /// What became of the entries that were to be acknowledged.
    pub fn acknowledged(&mut self, attempt: Attempt, now: Instant) {
        let Some(round) = &mut self.settling.round else { return };
        match attempt {
            Attempt::Done => {
                round.acknowledged = round.finished.len().min(round.acknowledged + ACKNOWLEDGED_AT_ONCE);
            }
            Attempt::Failed => return self.settle_again(now),
        }
        self.step_done();
    }

    fn step_done(&mut self) {
        self.settling.busy = false;
        self.settling.failures.reset();
        if let Some(round) = self.settling.round.take_if(|round| round.is_finished()) {
            self.in_flight -= round.batches;
            self.ledger_is_open = true;
        }
    }

    fn settle_again(&mut self, now: Instant) {
        self.settling.busy = false;
        self.settling.not_before = Some(now + self.settling.failures.delay(&mut self.rng));
    }
}
