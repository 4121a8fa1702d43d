//! What paths show about the order of things, for those who say whether a peer is there. Bytes need no such
//! order; presence does: a late `stopped` of a run that is over must not end the one that goes on.

use crate::segment::{Path, Segment, fell};
use crate::session::Session;

impl Session {
    /// When the session was last heard on any path.
    #[must_use]
    pub fn newest_at(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end.at).max().unwrap_or(0)
    }

    /// When the session was last heard on another path than this.
    #[must_use]
    pub fn last_heard(&self, except: Path) -> Option<u64> {
        let others = self.segments.iter().filter(|segment| segment.path != except);
        others.map(|segment| segment.end.at).max()
    }

    /// Whether what this path said last is of an earlier run than what another has said: the other path began
    /// anew after the segment that began when this path's did.
    ///
    /// A path that still speaks a skew after the other began anew is not late: its own `started` was lost.
    #[must_use]
    pub fn is_of_an_earlier_run(&self, path: Path, skew_ms: u64) -> bool {
        let newest = self.segments.iter().rfind(|segment| segment.path == path);
        newest.is_some_and(|newest| {
            let mut others = self.segments.iter().filter(|segment| segment.path != path);
            others.any(|next| {
                let is_late =
                    next.start.at > newest.start.at && newest.end.at <= next.start.at.saturating_add(skew_ms);
                is_late && self.previous(next).is_some_and(|previous| is_between(previous, newest, next))
            })
        })
    }

    /// Whether this path's counters fell before what it says now: it began another run itself.
    pub(crate) fn has_begun_anew(&self, path: Path) -> bool {
        let newest = self.segments.iter().rfind(|segment| segment.path == path);
        let previous = newest.and_then(|newest| self.previous(newest));
        newest.zip(previous).is_some_and(|(newest, previous)| is_another_run(previous, newest))
    }

    /// What the segment's path said before.
    fn previous(&self, segment: &Segment) -> Option<&Segment> {
        let place = self.segments.iter().position(|other| std::ptr::eq(other, segment))?;
        self.segments[..place].iter().rfind(|other| other.path == segment.path)
    }
}

/// Whether `segment` began when `previous` did rather than when `next` did, which is another run.
fn is_between(previous: &Segment, segment: &Segment, next: &Segment) -> bool {
    let apart = |other: &Segment| other.start.at.abs_diff(segment.start.at);
    is_another_run(previous, next) && apart(previous) < apart(next)
}

fn is_another_run(previous: &Segment, next: &Segment) -> bool {
    (0..2).any(|which| fell(previous.end.counters[which], next.start.counters[which], next.started))
}
