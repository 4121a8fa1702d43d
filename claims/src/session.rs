//! A session's share of the books: what its paths said, what of it is claimed.

use crate::search::{self, Scene};
use crate::segment::{Counters, Path, Report, Segment};

/// What is known of one session: a function of the set of its reports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    pub(crate) segments: Vec<Segment>,
    /// The totals of runs that are over and forgotten, for each counter.
    pub(crate) settled: [u64; 2],
    /// The first run's beginning was heard: it counts from zero, and not from where it was first heard.
    pub(crate) knows_first_run: bool,
    /// A path that is not remembered may still be in a run that was forgotten until then: what it says before
    /// claims nothing.
    pub(crate) horizon: u64,
    pub(crate) claimed: [u64; 2],
}

impl Session {
    /// A new session whose first run is trusted to have begun with its first `started`.
    #[must_use]
    pub fn with_known_beginning() -> Self {
        Self { knows_first_run: true, ..Self::default() }
    }

    /// Takes a report and returns the bytes that it claims: by how much the least total has grown.
    ///
    /// A report that was taken before (a retry, a replay) claims nothing. `skew_ms`: how far two paths of one
    /// client may differ ([`crate::DEFAULT_SKEW_MS`]).
    pub fn book(&mut self, report: &Report, skew_ms: u64) -> Counters {
        let known = self.segments.len();
        if !self.take(report) {
            return Counters::default();
        }
        self.forget_between(skew_ms);
        let claims = self.claim(skew_ms);
        if self.segments.len() > known {
            self.make_room(report.at_ms, skew_ms);
        }
        Counters::of(claims)
    }

    /// All bytes that the session's reports have claimed.
    #[must_use]
    pub fn claimed(&self) -> Counters {
        Counters::of(self.claimed)
    }

    /// Whether the report says something new. It is sorted in where it belongs on its path: what comes out is
    /// the same as if the path's reports had been booked in the order of their arrival.
    fn take(&mut self, report: &Report) -> bool {
        let of_path = |segment: &&mut Segment| segment.path == report.path;
        match self.segments.iter_mut().rev().find(of_path) {
            None if report.at_ms < self.horizon => false,
            None => self.place(Segment::begun_by(report)),
            Some(newest) if report.at_ms > newest.end.at => {
                let next = Segment::begun_by(report);
                if next.begins_anew(newest) {
                    return self.place(next);
                }
                *newest = newest.with(&next);
                true
            }
            Some(_) => self.take_late(report),
        }
    }

    /// Takes a report that is not behind everything that its path has said.
    fn take_late(&mut self, report: &Report) -> bool {
        let point = report.point();
        let is_it = |known: &Segment| match report.started {
            true => known.started && known.start == point,
            false => known.holds(point),
        };
        let mut of_path = self.segments.iter().filter(|segment| segment.path == report.path);
        let is_forgotten =
            report.at_ms < self.horizon && of_path.clone().all(|segment| report.at_ms < segment.start.at);
        if is_forgotten || of_path.any(is_it) {
            return false;
        }
        let mut of_path = self.segments.iter_mut().filter(|segment| segment.path == report.path);
        let around = of_path.rfind(|segment| segment.covers(report.at_ms));
        let is_plain_inside = around.is_some_and(|around| !report.started && around.takes_in(point));
        if !is_plain_inside {
            self.sort_in(Segment::begun_by(report));
        }
        true
    }

    /// Puts a piece between what its path has said before and behind it. A segment around it turns out to be
    /// two.
    fn sort_in(&mut self, piece: Segment) {
        let mut of_path = Vec::new();
        for segment in self.segments.extract_if(.., |segment| segment.path == piece.path) {
            if segment.covers(piece.start.at) {
                of_path.extend(<[Segment; 2]>::from(segment.cut(piece.start.at)));
            } else {
                of_path.push(segment);
            }
        }
        let place = of_path.partition_point(|segment| segment.start.at <= piece.start.at);
        of_path.insert(place, piece);
        let mut before: Option<Segment> = None;
        for segment in of_path {
            before = Some(match before {
                Some(before) if !segment.begins_anew(&before) => before.with(&segment),
                Some(before) => {
                    self.place(before);
                    segment
                }
                None => segment,
            });
        }
        if let Some(last) = before {
            self.place(last);
        }
    }

    /// Forgets what no segment needs of the points between its ends.
    pub(crate) fn forget_between(&mut self, skew_ms: u64) {
        for place in 0..self.segments.len() {
            if self.segments[place].between.len() > 1 {
                let follows_another = self.follows_another(place, skew_ms);
                self.segments[place].forget(follows_another, skew_ms);
            }
        }
    }

    /// Whether another path's segment was over when this one began, as far as a skew lets that be known.
    fn follows_another(&self, place: usize, skew_ms: u64) -> bool {
        let Segment { path, start, .. } = self.segments[place];
        let is_over = |other: &Segment| other.end.at <= start.at.saturating_add(skew_ms);
        self.segments.iter().any(|other| other.path != path && is_over(other))
    }

    /// Segments stand in the order in which they began.
    pub(crate) fn place(&mut self, segment: Segment) -> bool {
        let began = |segment: &Segment| (segment.start.at, segment.path);
        let place = self.segments.partition_point(|other| began(other) <= began(&segment));
        self.segments.insert(place, segment);
        true
    }

    /// The union of what both were told: two names of one session turned out to be one (a rotated passkey, a
    /// hybrid torrent's second info hash). What both have claimed stays claimed, so what they claimed twice
    /// is worked off: nothing more is claimed until the least total has passed it.
    ///
    /// Two that know one and the same report are one session at two times: one of them is what was folded
    /// before, and Redis went back to the other. What they have claimed, they have claimed once.
    #[must_use]
    pub fn fold(self, other: Self, skew_ms: u64) -> Self {
        let is_one = self.knows_a_report_of(&other);
        let is_in_order = if is_one && self.horizon != other.horizon {
            self.horizon > other.horizon
        } else {
            self.first_at() <= other.first_at()
        };
        let (mut folded, mut later) = if is_in_order { (self, other) } else { (other, self) };
        if is_one {
            later.segments.retain(|segment| segment.start.at.saturating_add(skew_ms) >= folded.horizon);
        }
        for which in 0..2 {
            let (claimed, settled) = (later.claimed[which], later.settled[which]);
            if is_one {
                folded.claimed[which] = folded.claimed[which].max(claimed);
            } else {
                folded.settled[which] = folded.settled[which].saturating_add(settled);
                folded.claimed[which] = folded.claimed[which].saturating_add(claimed);
            }
        }
        folded.horizon = folded.horizon.max(later.horizon);
        for segment in later.segments {
            folded.take_segment(segment);
        }
        folded.forget_between(skew_ms);
        folded.make_room(folded.newest_at(), skew_ms);
        folded
    }

    fn knows_a_report_of(&self, other: &Self) -> bool {
        let begins_alike =
            |own: &Segment, theirs: &Segment| own.path == theirs.path && own.start == theirs.start;
        self.segments.iter().any(|own| other.segments.iter().any(|theirs| begins_alike(own, theirs)))
    }

    fn take_segment(&mut self, segment: Segment) {
        let overlaps = |other: &Segment| {
            other.path == segment.path && other.start.at <= segment.end.at && segment.start.at <= other.end.at
        };
        if self.segments.iter().any(overlaps) {
            segment.reports().for_each(|report| {
                self.take_late(&report);
            });
        } else {
            self.sort_in(segment);
        }
    }

    pub(crate) fn first_at(&self) -> u64 {
        self.segments.first().map_or(u64::MAX, |first| first.start.at)
    }

    fn claim(&mut self, skew_ms: u64) -> [u64; 2] {
        let totals = self.totals(skew_ms);
        std::array::from_fn(|which| {
            let claim = totals[which].saturating_sub(self.claimed[which]);
            self.claimed[which] += claim;
            claim
        })
    }

    fn totals(&self, skew_ms: u64) -> [u64; 2] {
        let least = |which| search::least_total(self.scene(skew_ms), which);
        std::array::from_fn(|which| least(which).saturating_add(self.settled[which]))
    }

    pub(crate) fn scene(&self, skew_ms: u64) -> Scene<'_> {
        Scene { segments: &self.segments, skew_ms, has_baseline: !self.knows_first_run }
    }

    /// Paths that are remembered, for operators' eyes.
    pub fn paths(&self) -> impl Iterator<Item = Path> {
        self.segments.iter().map(|segment| segment.path)
    }
}
