//! A Redis that went back in time (its file lost the end, an older one was put back, a replica that lagged
//! took over) is given the tail again, with the numbers, arrivals and seconds of before. What was under way
//! waits for that, and is computed anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::attempt::Attempt;
use super::messages::Notice;
use super::{RecorderMachine, Stage};
use crate::traffic::booking::NumberedBooking;
use crate::traffic::bookkeeper::Computed;
use crate::traffic::reply::Outcome;

/// The way back to where Redis was.
#[derive(Debug)]
pub(super) struct Rewind {
    /// `None`: Redis has all of it again, and is told that it is up to date.
    part: Option<(Attempt, Option<Arc<str>>)>,
    rest: VecDeque<Part>,
    again: u64,
}

/// What Redis confirmed in one answer, and the other process that numbered it.
type Part = (Option<Arc<str>>, Vec<NumberedBooking>);

/// A batch that waits to be sent, and the other process that numbered it.
pub(super) type Waiting = (Arc<Vec<Computed>>, Option<Arc<str>>);

impl Rewind {
    /// Whether there is more to tell Redis.
    pub(super) fn goes_on(&self) -> bool {
        self.part.is_some()
    }
}

impl<T> RecorderMachine<T> {
    /// Redis knows no call after this one, although it answered some; and it has booked no number of this
    /// process above the other.
    pub(super) fn go_back(&mut self, call: u64, booked: u64, now: Instant) {
        let lost = self.tail.after(call, self.limits.replay_batch);
        self.bookkeeper.go_back(lost.iter().flat_map(|(_, batch)| batch.iter().copied()));
        let parts = lost.into_iter();
        let parts = parts.map(|(other, batch)| (other, batch.into_iter().map(Computed::as_booked).collect()));
        let rest: VecDeque<Part> = parts.collect();
        let again = rest.iter().map(|(_, entries)| entries.len() as u64).sum();
        if !self.takes_over {
            self.tell(Notice::WentBack { behind: self.confirmed.saturating_sub(booked), again });
        }
        self.rewind_on(rest, again, now);
    }

    pub(super) fn rewound(&mut self, outcomes: Vec<Outcome>, now: Instant) {
        let Some(Rewind { part, rest, again }) = self.rewind.take() else { return };
        let Some((mut attempt, other)) = part else {
            if !std::mem::take(&mut self.takes_over) {
                self.tell(Notice::Restored(again));
            }
            return self.send_what_waits(now);
        };
        if attempt.answered(outcomes, &mut self.bookkeeper) {
            self.keep_tail(attempt, other.as_ref(), now);
            self.rewind_on(rest, again, now);
        } else {
            let batch = attempt.batch();
            self.rewind = Some(Rewind { part: Some((attempt, other.clone())), rest, again });
            self.send(batch, other, now);
        }
    }

    fn rewind_on(&mut self, mut rest: VecDeque<Part>, again: u64, now: Instant) {
        let Some((other, entries)) = rest.pop_front() else {
            self.rewind = Some(Rewind { part: None, rest, again });
            return self.send(Arc::default(), None, now);
        };
        let attempt = Attempt::new(entries, &mut self.bookkeeper);
        let batch = attempt.batch();
        self.rewind = Some(Rewind { part: Some((attempt, other.clone())), rest, again });
        self.send(batch, other, now);
    }

    /// What Redis was called for when it turned out to have gone back.
    fn send_what_waits(&mut self, now: Instant) {
        let waits: Option<Waiting> = match &mut self.stage {
            Stage::Direct(Some(batch)) => {
                batch.attempt.compute_again(&mut self.bookkeeper);
                Some((batch.attempt.batch(), None))
            }
            Stage::CatchingUp(catch_up) => catch_up.compute_again(&mut self.bookkeeper),
            _ => None,
        };
        if let Some((batch, other)) = waits {
            self.send(batch, other, now);
        }
    }
}
