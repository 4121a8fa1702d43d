//! A session's share of the books: what its paths said, what of it is claimed.

use crate::search::{self, Scene};
use crate::segment::{Counters, Path, Report, Segment};
use crate::span::Members;

/// Segments beyond which runs that are over are settled and forgotten. A report of such a run that comes
/// later (a spool of days ago) claims nothing any more; until then it claims what it would have claimed in
/// its place.
const KEPT_SEGMENTS: usize = 16;
/// Segments with which a session begins anew although stories still differ: only clients that restart all the
/// time on many paths, or change their address every few minutes, come here.
pub(crate) const MOST_SEGMENTS: usize = 32;

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
        if !self.take(report, skew_ms) {
            return Counters::default();
        }
        let claims = self.claim(skew_ms);
        self.make_room(report.at_ms, skew_ms);
        Counters::of(claims)
    }

    fn make_room(&mut self, now_ms: u64, skew_ms: u64) {
        if self.segments.len() > KEPT_SEGMENTS {
            self.forget_what_is_over(now_ms, skew_ms);
        }
        if self.segments.len() > MOST_SEGMENTS {
            self.begin_anew(now_ms, skew_ms);
        }
    }

    /// All bytes that the session's reports have claimed.
    #[must_use]
    pub fn claimed(&self) -> Counters {
        Counters::of(self.claimed)
    }

    /// Whether the report says something new. It is sorted in where it belongs on its path: what comes out is
    /// the same as if the path's reports had been booked in the order of their arrival.
    fn take(&mut self, report: &Report, skew_ms: u64) -> bool {
        let of_path = |segment: &&mut Segment| segment.path == report.path;
        match self.segments.iter_mut().rev().find(of_path) {
            None if report.at_ms < self.horizon => false,
            None => self.place(Segment::begun_by(report)),
            Some(newest) if report.at_ms > newest.end.at => {
                let next = Segment::begun_by(report);
                if next.begins_anew(newest) {
                    return self.place(next);
                }
                *newest = newest.with(&next, skew_ms);
                true
            }
            Some(_) => self.take_late(report, skew_ms),
        }
    }

    /// Takes a report that is not behind everything that its path has said.
    fn take_late(&mut self, report: &Report, skew_ms: u64) -> bool {
        let point = report.point();
        let is_it = |known: &Segment| match report.started {
            true => known.started && known.start == point,
            false => known.holds(point),
        };
        let mut of_path = self.segments.iter_mut().filter(|segment| segment.path == report.path);
        if of_path.any(|segment| is_it(segment)) {
            return false;
        }
        let mut of_path = self.segments.iter_mut().filter(|segment| segment.path == report.path);
        let around = of_path.rfind(|segment| segment.covers(report.at_ms));
        let is_plain_inside = around.is_some_and(|around| !report.started && around.takes_in(point, skew_ms));
        if !is_plain_inside {
            self.sort_in(Segment::begun_by(report), skew_ms);
        }
        true
    }

    /// Puts a piece between what its path has said before and behind it. A segment around it turns out to be
    /// two.
    fn sort_in(&mut self, piece: Segment, skew_ms: u64) {
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
                Some(before) if !segment.begins_anew(&before) => before.with(&segment, skew_ms),
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

    /// Segments stand in the order in which they began.
    fn place(&mut self, segment: Segment) -> bool {
        let began = |segment: &Segment| (segment.start.at, segment.path);
        let place = self.segments.partition_point(|other| began(other) <= began(&segment));
        self.segments.insert(place, segment);
        true
    }

    /// The union of what both were told: two names of one session turned out to be one (a rotated passkey, a
    /// hybrid torrent's second info hash). What both have claimed stays claimed, so what they claimed twice
    /// is worked off: nothing more is claimed until the least total has passed it.
    #[must_use]
    pub fn fold(self, other: Self, skew_ms: u64) -> Self {
        let (mut folded, later) =
            if self.first_at() <= other.first_at() { (self, other) } else { (other, self) };
        for which in 0..2 {
            folded.settled[which] = folded.settled[which].saturating_add(later.settled[which]);
            folded.claimed[which] = folded.claimed[which].saturating_add(later.claimed[which]);
        }
        folded.horizon = folded.horizon.max(later.horizon);
        for segment in later.segments {
            folded.take_segment(segment, skew_ms);
        }
        folded.make_room(folded.newest_at(), skew_ms);
        folded
    }

    fn take_segment(&mut self, segment: Segment, skew_ms: u64) {
        let overlaps = |other: &Segment| {
            other.path == segment.path && other.start.at <= segment.end.at && segment.start.at <= other.end.at
        };
        if self.segments.iter().any(overlaps) {
            segment.reports().for_each(|report| {
                self.take_late(&report, skew_ms);
            });
        } else {
            self.sort_in(segment, skew_ms);
        }
    }

    fn first_at(&self) -> u64 {
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

    fn scene(&self, skew_ms: u64) -> Scene<'_> {
        Scene { segments: &self.segments, skew_ms, has_baseline: !self.knows_first_run }
    }

    /// Settles the runs that are over in every story, when both counters agree which segments these are.
    fn forget_what_is_over(&mut self, now_ms: u64, skew_ms: u64) {
        let Some((segments, totals)) = self.what_is_over(now_ms, skew_ms) else { return };
        for (settled, total) in self.settled.iter_mut().zip(totals) {
            *settled = settled.saturating_add(total);
        }
        self.knows_first_run = true;
        let mut place = 0..;
        self.segments.retain(|_| place.next().is_some_and(|place: usize| segments >> place & 1 == 0));
        let next_run = self.segments.iter().map(|segment| segment.start.at).min();
        self.horizon = next_run.unwrap_or(now_ms).saturating_add(skew_ms);
    }

    /// The segments of runs that are over in every story of both counters, and their totals. A counter that
    /// has stood at zero all the time (a seeder's `downloaded`) has nothing to say.
    fn what_is_over(&self, now_ms: u64, skew_ms: u64) -> Option<(Members, [u64; 2])> {
        let over = |which| search::over(self.scene(skew_ms), which, now_ms).filter(|over| over.segments != 0);
        let is_zero = |members: Members, which: usize| {
            let segments = self.segments.iter().enumerate();
            let mut members = segments.filter(|(place, _)| members >> place & 1 == 1);
            members.all(|(_, segment)| segment.end.counters[which] == 0)
        };
        match [over(0), over(1)] {
            [Some(up), Some(down)] if up.segments == down.segments => {
                Some((up.segments, [up.total, down.total]))
            }
            [Some(up), _] if is_zero(up.segments, 1) => Some((up.segments, [up.total, 0])),
            [_, Some(down)] if is_zero(down.segments, 0) => Some((down.segments, [0, down.total])),
            _ => None,
        }
    }

    /// Forgets what nobody can follow any more: once everything that is under way has arrived, the session is
    /// as new, with a baseline of its own. What the client moves until then is not claimed.
    fn begin_anew(&mut self, now_ms: u64, skew_ms: u64) {
        let horizon = now_ms.saturating_add(skew_ms);
        *self = Self { settled: self.claimed, claimed: self.claimed, horizon, ..Self::default() };
    }

    /// Paths that are remembered, for operators' eyes.
    pub fn paths(&self) -> impl Iterator<Item = Path> {
        self.segments.iter().map(|segment| segment.path)
    }
}
