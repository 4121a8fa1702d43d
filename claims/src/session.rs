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
    /// Takes a report and returns the bytes that it claims: by how much the least total has grown.
    ///
    /// A report that was taken before (a retry, a replay) claims nothing. `skew_ms`: how far two paths of one
    /// client may differ ([`crate::DEFAULT_SKEW_MS`]).
    pub fn book(&mut self, report: &Report, skew_ms: u64) -> Counters {
        if !self.take(report, skew_ms) {
            return Counters::default();
        }
        let claims = self.claim(skew_ms);
        if self.segments.len() > KEPT_SEGMENTS {
            self.forget_what_is_over(report.at_ms, skew_ms);
        }
        if self.segments.len() > MOST_SEGMENTS {
            self.begin_anew(report.at_ms, skew_ms);
        }
        Counters::of(claims)
    }

    /// All bytes that the session's reports have claimed.
    #[must_use]
    pub fn claimed(&self) -> Counters {
        Counters::of(self.claimed)
    }

    /// Whether the report says something new.
    fn take(&mut self, report: &Report, skew_ms: u64) -> bool {
        let last = self.segments.iter_mut().filter(|segment| segment.path == report.path);
        match last.max_by_key(|segment| segment.start.at) {
            Some(last) if report.at_ms <= last.end.at => return false,
            Some(last) if !last.ends_before(report) => last.extend(report, skew_ms),
            None if report.at_ms < self.horizon => return false,
            _ => self.segments.push(Segment::begun_by(report)),
        }
        true
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
