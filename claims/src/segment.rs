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
    /// The last point of an earlier window than the end's: it tells this segment from another path's that was
    /// lower at a later time, which the end may have caught up with since. Windows are of the clock, so it is
    /// the same whatever was booked first.
    pub(crate) middle: Point,
    /// The last report's time, and the highest counters.
    pub(crate) end: Point,
    /// How far the last report was below the highest: a `completed` had been reported a little high.
    pub(crate) below: [u64; 2],
}

impl Report {
    pub(crate) const fn point(&self) -> Point {
        Point { at: self.at_ms, counters: self.counters.both() }
    }
}

impl Segment {
    pub(crate) const fn begun_by(report: &Report) -> Self {
        Self::of_point(report.path, report.started, report.point())
    }

    const fn of_point(path: Path, started: bool, point: Point) -> Self {
        Self { path, started, start: point, middle: point, end: point, below: [0; 2] }
    }

    /// Whether it begins anew behind `before`, which is the segment before it on this path.
    pub(crate) fn begins_anew(&self, before: &Self) -> bool {
        self.started || any_fell(before.end.counters, self.start.counters)
    }

    /// Both as one: `next` goes on where this one ends.
    pub(crate) fn with(&self, next: &Self, skew_ms: u64) -> Self {
        let highest = highest(self.end.counters, next.end.counters);
        let behind = |point: Point| Point { counters: highest_of(point, self.end), ..point };
        let points = [behind(next.middle), behind(next.start), self.end, self.middle];
        let is_earlier = |point: &Point| window(point.at, skew_ms) < window(next.end.at, skew_ms);
        Self {
            middle: points.into_iter().find(is_earlier).unwrap_or(self.start),
            end: Point { at: next.end.at, counters: highest },
            below: std::array::from_fn(|which| highest[which] - next.last()[which]),
            ..*self
        }
    }

    /// (at, counter) of the start, the middle and the end.
    pub(crate) fn points(&self, which: usize) -> [(u64, u64); 3] {
        [self.start, self.middle, self.end].map(|point| (point.at, point.counters[which]))
    }

    /// What the last report said.
    fn last(&self) -> [u64; 2] {
        std::array::from_fn(|which| self.end.counters[which].saturating_sub(self.below[which]))
    }

    /// Whether the point is known to be one of this segment's.
    pub(crate) fn holds(&self, point: Point) -> bool {
        let is_below = |of: Point| of.at == point.at && !is_above(point.counters, of.counters);
        self.start == point || is_below(self.middle) || is_below(self.end)
    }

    pub(crate) const fn covers(&self, at: u64) -> bool {
        self.start.at <= at && at < self.end.at
    }

    /// The points around this time, which it covers.
    fn around(&self, at: u64) -> (Point, Point) {
        if at < self.middle.at {
            (self.start, self.middle)
        } else {
            (self.middle, Point { at: self.end.at, counters: self.last() })
        }
    }

    /// Takes a plain report of a time that it covers. `false` where the report shows that this is not one
    /// segment.
    pub(crate) fn takes_in(&mut self, point: Point, skew_ms: u64) -> bool {
        let (before, after) = self.around(point.at);
        if any_fell(before.counters, point.counters) || any_fell(point.counters, after.counters) {
            return false;
        }
        let is_of_earlier_window = window(point.at, skew_ms) < window(self.end.at, skew_ms);
        if point.at < self.middle.at || is_of_earlier_window {
            self.middle =
                Point { at: point.at.max(self.middle.at), counters: highest_of(point, self.middle) };
        }
        let last = self.last();
        self.end.counters = highest_of(point, self.end);
        self.below = std::array::from_fn(|which| self.end.counters[which] - last[which]);
        true
    }

    /// What it is known to have said up to this time, and behind it. What was said between is forgotten, so
    /// the earlier half may be lower than the path was.
    pub(crate) fn cut(&self, at: u64) -> (Self, Self) {
        let (before, after) = self.around(at);
        let last = self.last();
        let lower = std::array::from_fn(|which| after.counters[which].min(last[which]));
        let mut behind = Self::of_point(self.path, false, Point { at: after.at, counters: lower });
        behind.end = Point { at: self.end.at, counters: last };
        (Self { middle: self.start, end: before, below: [0; 2], ..*self }, behind)
    }

    /// The reports that it is known to hold.
    pub(crate) fn reports(&self) -> impl Iterator<Item = Report> {
        let (path, started) = (self.path, self.started);
        let mut points = vec![self.start, self.middle, self.end];
        points.dedup();
        (0..).zip(points).map(move |(place, point)| Report {
            path,
            at_ms: point.at,
            counters: Counters::of(point.counters),
            started: started && place == 0,
        })
    }
}

/// Which window of the clock: two points of different windows may be a moment or two windows apart.
fn window(at: u64, skew_ms: u64) -> u64 {
    at / skew_ms.max(1)
}

fn highest(one: [u64; 2], other: [u64; 2]) -> [u64; 2] {
    std::array::from_fn(|which| one[which].max(other[which]))
}

fn highest_of(one: Point, other: Point) -> [u64; 2] {
    highest(one.counters, other.counters)
}

fn is_above(one: [u64; 2], other: [u64; 2]) -> bool {
    (0..2).any(|which| one[which] > other[which])
}

fn any_fell(before: [u64; 2], now: [u64; 2]) -> bool {
    (0..2).any(|which| fell(before[which], now[which], false))
}

/// Whether a path's counter can only be another run's. With a `started` any fall is; without one, clients
/// correct what they had reported a little too high.
pub(crate) fn fell(before: u64, now: u64, started: bool) -> bool {
    now < before && (started || before - now >= WOBBLE_BYTES)
}
