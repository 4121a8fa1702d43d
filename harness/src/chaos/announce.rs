//! What a client says, and how much it moved.

use std::ops::AddAssign;

use contract::Event;

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announce {
    /// The run, counted from 0.
    pub(crate) run: usize,
    pub(crate) event: Event,
    pub(crate) counters: Bytes,
    pub(crate) left: u64,
    pub(crate) said: u64,
    /// Nothing will follow that says more.
    pub(crate) is_last: bool,
}

/// What both counters moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        self.up += other.up;
        self.down += other.down;
    }
}

impl Bytes {
    /// Whether both counters are at most the other's.
    pub(crate) fn within(self, bound: Self) -> bool {
        self.up <= bound.up && self.down <= bound.down
    }

    pub(crate) fn sum(self) -> u64 {
        self.up + self.down
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self { up: self.up.max(other.up), down: self.down.max(other.down) }
    }

    pub(crate) fn less(self, other: Self) -> Self {
        Self { up: self.up.saturating_sub(other.up), down: self.down.saturating_sub(other.down) }
    }

    pub(crate) fn times(self, factors: Self) -> Self {
        Self { up: self.up * factors.up, down: self.down * factors.down }
    }
}
