//! What one path said between two beginnings: all of it is of one run, whichever that is.

use crate::WOBBLE_BYTES;

/// Points between that are kept for a segment's beginning, and as many for its end. Clients do not announce
/// as often on one path within two skews.
const MOST_AT_AN_END: usize = 7;
/// Until a segment is so long, all that another path said before it may still be under way, but for a spool.
const YOUNG_SKEWS: u64 = 8;
/// Points between start and end.
pub(crate) const MOST_BETWEEN: usize = 2 * MOST_AT_AN_END;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) path: Path,
    /// It begins with a `started`; otherwise with a fall, or with the first that was heard of the path.
    pub(crate) started: bool,
    pub(crate) start: Point,
    /// Those points between start and end that are not forgotten, each with the highest counters until then.
    pub(crate) between: Vec<Point>,
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

    pub(crate) const fn of_point(path: Path, started: bool, point: Point) -> Self {
        Self { path, started, start: point, between: Vec::new(), end: point, below: [0; 2] }
    }

    /// Whether it begins anew behind `before`, which is the segment before it on this path.
    pub(crate) fn begins_anew(&self, before: &Self) -> bool {
        self.started || any_fell(before.end.counters, self.start.counters)
    }

    /// Both as one: `next` goes on where this one ends.
    pub(crate) fn with(&self, next: &Self) -> Self {
        let mut joined = self.clone();
        for point in next.points() {
            joined.go_on(Point { counters: highest_of(point, self.end), ..point });
        }
        joined.below = std::array::from_fn(|which| joined.end.counters[which] - next.last()[which]);
        joined
    }

    /// Adds a point that is behind all others. Of two of one millisecond the first is forgotten.
    pub(crate) fn go_on(&mut self, point: Point) {
        let at = point.at.max(self.end.at);
        let before = std::mem::replace(&mut self.end, Point { at, ..point });
        if self.start.at < before.at && before.at < at {
            self.between.push(before);
        }
    }

    /// All points that are not forgotten.
    pub(crate) fn points(&self) -> impl Iterator<Item = Point> {
        let end = (self.end != self.start).then_some(self.end);
        [self.start].into_iter().chain(self.between.iter().copied()).chain(end)
    }

    /// Forgets the points that tell nothing more.
    ///
    /// Two segments can be of different runs only when one ends before the other has begun, or at most a skew
    /// behind that. Then what tells one run from two is a point of the one, a skew and more before a lower
    /// one of the other. So it is among the last two skews of the earlier segment or the last before these,
    /// and among the first two skews of the later or the first behind these. The latter are forgotten, too,
    /// when the segment is older than anything that is still under way to tell of an earlier one.
    pub(crate) fn forget(&mut self, follows_another: bool, skew_ms: u64) {
        let ending = self.end.at.saturating_sub(skew_ms.saturating_mul(2));
        let beginning = self.start.at.saturating_add(skew_ms.saturating_mul(2));
        let last = self.between.partition_point(|point| point.at < ending);
        let last = last.saturating_sub(1).max(self.between.len().saturating_sub(MOST_AT_AN_END));
        let first = self.between.partition_point(|point| point.at <= beginning) + 1;
        let is_young = self.end.at <= self.start.at.saturating_add(skew_ms.saturating_mul(YOUNG_SKEWS));
        let first = if follows_another || is_young { first.min(MOST_AT_AN_END) } else { 0 };
        if first < last {
            self.between.drain(first..last);
        }
    }

    /// What the last report said.
    fn last(&self) -> [u64; 2] {
        std::array::from_fn(|which| self.end.counters[which].saturating_sub(self.below[which]))
    }

    /// Whether the point is known to be one of this segment's.
    pub(crate) fn holds(&self, point: Point) -> bool {
        let is_below = |of: Point| of.at == point.at && !is_above(point.counters, of.counters);
        self.start == point || self.between.iter().chain([&self.end]).any(|of| is_below(*of))
    }

    pub(crate) const fn covers(&self, at: u64) -> bool {
        self.start.at <= at && at < self.end.at
    }

    /// How many of the points between are not behind this time.
    fn place_of(&self, at: u64) -> usize {
        self.between.partition_point(|point| point.at <= at)
    }

    /// Takes a plain report of a time that it covers. `false` where the report shows that this is not one
    /// segment.
    pub(crate) fn takes_in(&mut self, point: Point) -> bool {
        let (place, last) = (self.place_of(point.at), self.last());
        let before = place.checked_sub(1).map_or(self.start, |before| self.between[before]);
        let after = self.between.get(place).map_or(last, |after| after.counters);
        if any_fell(before.counters, point.counters) || any_fell(point.counters, after) {
            return false;
        }
        for later in self.between[place..].iter_mut().chain([&mut self.end]) {
            later.counters = highest_of(point, *later);
        }
        let point = Point { counters: highest_of(point, before), ..point };
        if place > 0 && before.at == point.at {
            self.between[place - 1] = point;
        } else if self.start.at < point.at {
            self.between.insert(place, point);
        }
        self.below = std::array::from_fn(|which| self.end.counters[which] - last[which]);
        true
    }

    /// What it is known to have said up to this time, and behind it. What was said between may be forgotten,
    /// so the earlier half may be lower than the path was.
    pub(crate) fn cut(&self, at: u64) -> (Self, Self) {
        let (place, last) = (self.place_of(at), self.last());
        let mut until = Self::of_point(self.path, self.started, self.start);
        self.between[..place].iter().for_each(|point| until.go_on(*point));
        let lower = |point: &Point| Point { counters: lowest(point.counters, last), ..*point };
        let end = lower(&self.end);
        let first = self.between.get(place).map_or(end, lower);
        let mut behind = Self::of_point(self.path, false, first);
        self.between[place..].iter().skip(1).map(lower).chain([end]).for_each(|point| behind.go_on(point));
        (until, behind)
    }

    /// The reports that it is known to hold.
    pub(crate) fn reports(&self) -> impl Iterator<Item = Report> {
        let (path, started) = (self.path, self.started);
        (0..).zip(self.points()).map(move |(place, point)| Report {
            path,
            at_ms: point.at,
            counters: Counters::of(point.counters),
            started: started && place == 0,
        })
    }
}

fn highest(one: [u64; 2], other: [u64; 2]) -> [u64; 2] {
    std::array::from_fn(|which| one[which].max(other[which]))
}

fn lowest(one: [u64; 2], other: [u64; 2]) -> [u64; 2] {
    std::array::from_fn(|which| one[which].min(other[which]))
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
