//! A story: one way to sort spans into runs, which follow each other in time.

use crate::span::{Members, Span};

/// A run in a story.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) lowest: u64,
    pub(crate) high: u64,
    pub(crate) members: Members,
    /// It began with a `started`.
    pub(crate) from_zero: bool,
}

/// A way to sort the first spans into runs, which follow each other in time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    pub(crate) runs: Vec<Run>,
}

impl Run {
    /// What it adds to the total.
    pub(crate) fn moved(&self, is_baseline: bool) -> u64 {
        if self.from_zero && !is_baseline { self.high } else { self.high - self.lowest }
    }

    pub(crate) fn of(span: &Span, place: usize) -> Self {
        let ((begin, lowest), (end, high)) = (span.first(), span.last());
        Self { begin, end, lowest, high, members: 1 << place, from_zero: span.started }
    }

    pub(crate) fn with(self, span: &Span, place: usize) -> Self {
        Self {
            begin: self.begin.min(span.first().0),
            end: self.end.max(span.last().0),
            lowest: self.lowest.min(span.first().1),
            high: self.high.max(span.last().1),
            members: self.members | 1 << place,
            from_zero: self.from_zero,
        }
    }
}

impl Story {
    pub(crate) fn run_of(&self, place: usize) -> usize {
        self.runs.iter().position(|run| run.members >> place & 1 == 1).unwrap_or(0)
    }

    /// Whether a run of this time fits behind the first `before` runs and in front of those from `after` on:
    /// a client is in one run at a time, and its reports are a skew late at most.
    pub(crate) fn fits(&self, (begin, end): (u64, u64), before: usize, after: usize, skew: u64) -> bool {
        self.runs[..before].iter().all(|run| run.end <= begin.saturating_add(skew))
            && self.runs[after..].iter().all(|run| end <= run.begin.saturating_add(skew))
    }

    pub(crate) fn replace(&self, at: usize, run: Run) -> Self {
        let mut runs = self.runs.clone();
        runs[at] = run;
        Self { runs }
    }

    pub(crate) fn insert(&self, at: usize, run: Run) -> Self {
        let mut runs = self.runs.clone();
        runs.insert(at, run);
        Self { runs }
    }

    /// What the first `count` runs have moved. The first of all may have begun before anybody was listening.
    pub(crate) fn total_of(&self, count: usize, has_baseline: bool) -> u64 {
        let moved = |(place, run): (usize, &Run)| run.moved(has_baseline && place == 0);
        self.runs.iter().enumerate().take(count).map(moved).fold(0, u64::saturating_add)
    }

    /// The runs to which something that arrives at `next_at` or later can still be added: those up to the one
    /// that began a skew ago are over, the client has been elsewhere since.
    pub(crate) fn open(&self, next_at: u64, skew: u64) -> &[Run] {
        let mut earliest = u64::MAX;
        let over = self.runs.iter().rposition(|run| {
            let is_over = earliest.saturating_add(skew) < next_at;
            earliest = earliest.min(run.begin);
            is_over
        });
        &self.runs[over.map_or(0, |last| last + 1)..]
    }
}
