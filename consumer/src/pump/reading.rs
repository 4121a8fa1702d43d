//! The half that reads batches and brings their sessions into the presence sets.

use std::time::{Duration, Instant};

use service::redis::Backoff;

use super::{Attempt, MOST_IN_FLIGHT, Next, Pump};
use crate::batch::Batch;

/// Between two readings, unless there is more than one can bring. What arrives after a quiet moment does not
/// wait; at any load the work that is done for each batch, a commit above all, is done some twenty times a
/// second and not a thousand.
const GATHER: Duration = Duration::from_millis(40);

/// What this half does.
#[derive(Debug)]
pub enum Reading {
    /// Reads a batch ([`Pump::read`]).
    Read,
    /// Shows in the presence sets what the batch says, and gives it back ([`Pump::shown`]).
    Show(Batch),
}

/// What a read would ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entries {
    /// Those that nobody was given.
    New,
    /// Those that were given before: the ones in flight would come again.
    GivenBefore,
}

#[derive(Debug, Default)]
pub(super) struct ReadingState {
    stage: Stage,
    read_failures: Backoff,
    show_failures: Backoff,
}

#[derive(Debug)]
enum Stage {
    /// A batch is read once there is room for it; after a failure not before then.
    Read(Option<Instant>),
    /// Something is being done.
    Busy,
    /// A batch is shown; after a failure not before then.
    Show(Batch, Option<Instant>),
    /// New entries gather in the stream until then, and until the other half has taken all that was read.
    Gather(Instant),
    /// Nothing more is read.
    End,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Read(None)
    }
}

impl Stage {
    /// Only a step that is under way, or whose turn it is, keeps a line from stopping.
    fn may_end(&self) -> bool {
        !matches!(self, Self::Busy | Self::Show(_, None))
    }

    fn not_before(&self) -> Option<Instant> {
        match self {
            Self::Read(until) | Self::Show(_, until) => *until,
            Self::Gather(until) => Some(*until),
            Self::Busy | Self::End => None,
        }
    }
}

impl Pump {
    /// What the reading half does next. `entries`: what a read would ask for now.
    pub fn poll_reading(&mut self, entries: Entries, now: Instant) -> Next<Reading> {
        if self.stopping && self.reading.stage.may_end() {
            self.reading.stage = Stage::End;
        }
        if let Some(until) = self.reading.stage.not_before().filter(|until| now < *until) {
            return Next::Wait(Some(until));
        }
        match std::mem::replace(&mut self.reading.stage, Stage::Busy) {
            Stage::Show(batch, _) => Next::Do(Reading::Show(batch)),
            Stage::Read(_) if self.has_room_for(entries) => self.reads(),
            Stage::Gather(_) if self.gathered.is_empty() && self.has_room_for(entries) => self.reads(),
            Stage::Busy => Next::Wait(None),
            stage => {
                let ended = matches!(stage, Stage::End);
                self.reading.stage = stage;
                if ended { Next::End } else { Next::Wait(None) }
            }
        }
    }

    fn has_room_for(&self, entries: Entries) -> bool {
        let room = match entries {
            Entries::New => MOST_IN_FLIGHT,
            Entries::GivenBefore => 1,
        };
        self.ledger_is_open && self.in_flight < room
    }

    fn reads(&mut self) -> Next<Reading> {
        self.in_flight += 1;
        Next::Do(Reading::Read)
    }

    /// A read brought this batch, or failed.
    pub fn read(&mut self, batch: Option<Batch>, now: Instant) {
        self.reading.stage = match batch {
            Some(batch) if !batch.is_empty() => Stage::Show(batch, None),
            Some(_) => self.read_nothing(None),
            None => {
                let again = now + self.reading.read_failures.delay(&mut self.rng);
                return self.reading.stage = self.read_nothing(Some(again));
            }
        };
        self.reading.read_failures.reset();
    }

    fn read_nothing(&mut self, not_before: Option<Instant>) -> Stage {
        self.in_flight -= 1;
        Stage::Read(not_before)
    }

    /// The batch was shown, or could not be. Behind a full batch there is more, which is read at once.
    pub fn shown(&mut self, batch: Batch, attempt: Attempt, now: Instant) {
        self.reading.stage = match attempt {
            Attempt::Failed => {
                Stage::Show(batch, Some(now + self.reading.show_failures.delay(&mut self.rng)))
            }
            Attempt::Done => {
                self.reading.show_failures.reset();
                let full = batch.len() >= self.batch_size;
                self.gathered.push(batch);
                if full { Stage::Read(None) } else { Stage::Gather(now + GATHER) }
            }
        };
    }

    /// Whether nothing more comes from this half.
    pub(super) fn reading_has_ended(&self) -> bool {
        matches!(self.reading.stage, Stage::End)
    }
}
