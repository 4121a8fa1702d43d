//! The line: read a batch, show who is there, settle what they moved, put aside what is broken, acknowledge.
//! [`Pump`] decides what is done when, without doing any of it; [`run`] does it. The simulation does it in
//! virtual time.
//!
//! The line has two halves that work side by side. One reads batches and shows presence while the other
//! commits and acknowledges. Between reading and acknowledging are at most [`MOST_IN_FLIGHT`] batches. Those
//! that gathered during a commit are settled in one transaction: a slow disk makes transactions larger
//! instead of a backlog, and without load there is one batch at a time.
//!
//! Every step repeats until it succeeds, so nothing is lost; every step recognises what it has seen, so
//! repeating is harmless. Acknowledged means committed. Only a wish to stop breaks a wait off, and then what
//! is in flight is still pending for the next consumer.

mod driver;
mod reading;
mod settling;
#[cfg(test)]
mod tests;

use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::reading::ReadingState;
use self::settling::SettlingState;
use crate::batch::Batch;

pub use driver::{ReadingHalf, SettlingHalf, Shared, acknowledgement, run};
pub use reading::{Entries, Reading};
pub use settling::{Settled, Settling};

/// Batches that are read and not acknowledged.
pub const MOST_IN_FLIGHT: usize = 8;

/// What one half of the line does next.
#[derive(Debug)]
pub enum Next<Action> {
    /// This, and then the pump is told what came of it.
    Do(Action),
    /// Nothing before this time, unless the other half gets further or the pump is told to stop.
    Wait(Option<Instant>),
    /// Nothing any more.
    End,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It succeeded.
    Done,
    /// Nothing was done, or nobody knows: it is made again.
    Failed,
}

/// Both halves of the line.
#[derive(Debug)]
pub struct Pump {
    batch_size: usize,
    rng: SmallRng,
    stopping: bool,
    /// Nothing is taken from the stream before there is a ledger to put it in.
    ledger_is_open: bool,
    /// Batches between reading and acknowledging, with the one that is being read.
    in_flight: usize,
    /// Read and shown; they wait for the other half.
    gathered: Vec<Batch>,
    reading: ReadingState,
    settling: SettlingState,
}

impl Pump {
    /// A line at rest. `batch_size` is how many entries a full batch has; the seed spreads repeated attempts.
    #[must_use]
    pub fn new(batch_size: usize, seed: u64) -> Self {
        Self {
            batch_size,
            rng: SmallRng::seed_from_u64(seed),
            stopping: false,
            ledger_is_open: false,
            in_flight: 0,
            gathered: Vec::with_capacity(MOST_IN_FLIGHT),
            reading: ReadingState::default(),
            settling: SettlingState::default(),
        }
    }

    /// Nothing more is read. What was read is finished, as far as that needs no waiting.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Batches that were read, or are being read, and are not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }
}
