//! A session's room: which segments give way when there are too many, so that a snapshot stays small and a
//! search short. A client whose address changes every day keeps its books; so does one that pauses and
//! resumes for weeks.

use crate::search;
use crate::segment::Segment;
use crate::session::Session;
use crate::span::Members;

/// Paths beyond which one that the client has left is handed over to another.
const KEPT_PATHS: usize = 8;
/// Segments beyond which runs that are over are settled and forgotten. A report of such a run that comes
/// later (a spool of days ago) claims nothing any more; until then it claims what it would have claimed in
/// its place.
const KEPT_SEGMENTS: usize = 16;
/// Segments with which a session begins anew although stories still differ: only clients that restart all the
/// time on many paths, or change their address every few minutes, come here.
pub(crate) const MOST_SEGMENTS: usize = 32;
/// No search has bits for more: two names of one session that restarted all the time are folded.
const MOST_SEARCHED: usize = Members::BITS as usize;

/// What leaves a session, and what it was worth.
struct Settled {
    segments: Members,
    moved: [u64; 2],
    /// When the next run began.
    next_began: u64,
}

impl Session {
    pub(crate) fn make_room(&mut self, now_ms: u64, skew_ms: u64) {
        if self.segments.len() > MOST_SEARCHED {
            return self.begin_anew(now_ms, skew_ms);
        }
        while self.path_count() > KEPT_PATHS && self.hand_over_a_path(now_ms, skew_ms) {}
        self.forget_between(skew_ms);
        if self.segments.len() > KEPT_SEGMENTS {
            self.forget_what_is_over(now_ms, skew_ms);
        }
        if self.segments.len() > MOST_SEGMENTS {
            self.begin_anew(now_ms, skew_ms);
        }
    }

    fn path_count(&self) -> usize {
        (0..self.segments.len()).filter(|place| self.is_first_of_its_path(*place)).count()
    }

    /// Lets the oldest path that the client has left give way to one with which its run went on, as if only
    /// the client's address had changed.
    fn hand_over_a_path(&mut self, now_ms: u64, skew_ms: u64) -> bool {
        let Some((left, taken)) = self.left_and_taken(now_ms, skew_ms) else { return false };
        let next = &self.segments[taken];
        let went_on = Segment { path: next.path, ..self.segments[left].with(next) };
        let began = next.start.at;
        self.segments.remove(taken);
        self.segments.remove(left);
        self.place(went_on);
        self.horizon = self.horizon.max(began.saturating_add(skew_ms));
        true
    }

    /// The places of a path's only segment and of another path's first that goes on from it, in the same run
    /// in every story of both counters.
    fn left_and_taken(&self, now_ms: u64, skew_ms: u64) -> Option<(usize, usize)> {
        let runs = [self.runs(0, now_ms, skew_ms)?, self.runs(1, now_ms, skew_ms)?];
        let of_one_run = |pair: Members| runs.iter().all(|runs| runs.iter().any(|run| run & pair == pair));
        let places = || 0..self.segments.len();
        let pairs = places().flat_map(|left| places().skip(left + 1).map(move |taken| (left, taken)));
        pairs
            .filter(|(left, taken)| self.goes_on_with(*left, *taken, now_ms, skew_ms))
            .find(|(left, taken)| of_one_run(1 << left | 1 << taken))
    }

    /// The segments of each run that is not over, when all stories agree. A counter that has stood at zero
    /// all the time has nothing to say.
    fn runs(&self, which: usize, now_ms: u64, skew_ms: u64) -> Option<Vec<Members>> {
        if self.segments.iter().all(|segment| segment.end.counters[which] == 0) {
            return Some(vec![Members::MAX]);
        }
        search::open_runs(self.scene(skew_ms), which, now_ms)
    }

    fn goes_on_with(&self, left: usize, taken: usize, now_ms: u64, skew_ms: u64) -> bool {
        let (before, next) = (&self.segments[left], &self.segments[taken]);
        let is_only_one = self.segments.iter().filter(|other| other.path == before.path).count() == 1;
        let goes_on = (0..2).all(|which| before.end.counters[which] <= next.start.counters[which]);
        is_only_one
            && goes_on
            && !next.started
            && self.is_first_of_its_path(taken)
            && before.end.at.saturating_add(skew_ms) < next.start.at
            && next.start.at.saturating_add(skew_ms) <= now_ms
    }

    fn is_first_of_its_path(&self, place: usize) -> bool {
        self.segments[..place].iter().all(|other| other.path != self.segments[place].path)
    }

    /// Settles the runs that are over in every story.
    fn forget_what_is_over(&mut self, now_ms: u64, skew_ms: u64) {
        let Some(over) = self.what_is_over(now_ms, skew_ms) else { return };
        for (settled, moved) in self.settled.iter_mut().zip(over.moved) {
            *settled = settled.saturating_add(moved);
        }
        self.knows_first_run = true;
        let mut place = 0..;
        self.segments.retain(|_| place.next().is_some_and(|place: usize| over.segments >> place & 1 == 0));
        self.horizon = self.horizon.max(over.next_began.min(now_ms).saturating_add(skew_ms));
    }

    /// What can be settled. The counters' stories need not agree on runs: a seeder's `downloaded` stands at
    /// zero through all restarts, and says nothing. But what is over by one counter must be over or silent by
    /// the other one, and so must all that began before it.
    fn what_is_over(&self, now_ms: u64, skew_ms: u64) -> Option<Settled> {
        let of = |which| search::over(self.scene(skew_ms), which, now_ms).filter(|over| over.segments != 0);
        let (over, silent) = ([of(0), of(1)], [0, 1].map(|which| search::silent(&self.segments, which)));
        let segments = |which: usize| over[which].map_or(0, |over| over.segments);
        let may_leave = (segments(0) | silent[0]) & (segments(1) | silent[1]);
        let next_began = over.iter().flatten().map(|over| over.next_began).max()?;
        let earlier = self.segments.iter().take_while(|segment| segment.start.at < next_began).count();
        let leaving = (1 << earlier.min(may_leave.trailing_ones() as usize)) - 1;
        let leave_together = (segments(0) | segments(1)) & !leaving == 0;
        let moved = over.map(|over| over.map_or(0, |over| over.moved));
        leave_together.then_some(Settled { segments: leaving, moved, next_began })
    }

    /// Forgets what nobody can follow any more: once everything that is under way has arrived, the session is
    /// as new, with a baseline of its own. What the client moves until then is not claimed.
    fn begin_anew(&mut self, now_ms: u64, skew_ms: u64) {
        let horizon = self.newest_at().max(now_ms).saturating_add(skew_ms);
        *self = Self { settled: self.claimed, claimed: self.claimed, horizon, ..Self::default() };
    }
}
