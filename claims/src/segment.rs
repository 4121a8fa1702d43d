//! What one path said between two beginnings: all of it is of one run, whichever that is.

use crate::WOBBLE_BYTES;

/// A path of a session: a hash of (tracker, transport, the client's address).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(pub u32);

/// A client's own two counters, in bytes, or what of them is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Uploaded.
    pub up: u64,
    /// Downloaded.
    pub down: u64,
}

impl Counters {
    pub(crate) const fn both(self) -> [u64; 2] {
        [self.up, self.down]
    }

    pub(crate) const fn of([up, down]: [u64; 2]) -> Self {
        Self { up, down }
    }
}

/// One announce, as far as its bytes are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// How it came.
    pub path: Path,
    /// When it reached the tracker, in milliseconds of the clock that all trackers share; never how late it
    /// is booked.
    pub at_ms: u64,
    /// What the client has counted.
    pub counters: Counters,
    /// Whether its event is `started`.
    pub started: bool,
}

/// A report's time and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) at: u64,
    pub(crate) counters: [u64; 2],
}

/// What one path said between two beginnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) path: Path,
    /// It begins with a `started`; otherwise with a fall, or with the first that was heard of the path.
    pub(crate) started: bool,
    pub(crate) start: Point,
    /// A point between, about one skew or more before the end: it tells this segment from another path's that
    /// was lower at a later time, which the end may have caught up with since.
    pub(crate) middle: Point,
    /// The last report's time, and the highest counters.
    pub(crate) end: Point,
}

impl Segment {
    pub(crate) fn begun_by(report: &Report) -> Self {
        let point = Point { at: report.at_ms, counters: report.counters.both() };
        Self { path: report.path, started: report.started, start: point, middle: point, end: point }
    }

    /// Whether a later report of this path begins another segment.
    pub(crate) fn ends_before(&self, report: &Report) -> bool {
        let now = report.counters.both();
        report.started || (0..2).any(|which| fell(self.end.counters[which], now[which], false))
    }

    pub(crate) fn extend(&mut self, report: &Report, skew_ms: u64) {
        if self.end.at >= self.middle.at.saturating_add(skew_ms) {
            self.middle = self.end;
        }
        self.end.at = report.at_ms;
        for (highest, now) in self.end.counters.iter_mut().zip(report.counters.both()) {
            *highest = (*highest).max(now);
        }
    }
}

/// Whether a path's counter can only be another run's. With a `started` any fall is; without one, clients
/// correct what they had reported a little too high.
pub(crate) fn fell(before: u64, now: u64, started: bool) -> bool {
    now < before && (started || before - now >= WOBBLE_BYTES)
}
