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
    attempt: Attempt,
    /// The other process that numbered its entries.
    other: Option<Arc<str>>,
    rest: VecDeque<Part>,
    /// The highest of this process' numbers that Redis has again.
    booked: u64,
    again: u64,
}

/// What Redis confirmed in one answer, and the other process that numbered it.
type Part = (Option<Arc<str>>, Vec<NumberedBooking>);

/// A batch that waits to be sent, and the other process that numbered it.
pub(super) type Waiting = (Arc<Vec<Computed>>, Option<Arc<str>>);

impl Rewind {
    pub(super) fn booked(&self) -> u64 {
        self.booked
    }
}

impl<T> RecorderMachine<T> {
    /// Redis has booked no number above this one, although it confirmed some.
    pub(super) fn go_back(&mut self, booked: u64, now: Instant) {
        let lost = self.tail.after(booked);
        self.bookkeeper.go_back(lost.iter().flat_map(|(_, batch)| batch.iter().copied()));
        let parts = lost.into_iter();
        let parts = parts.map(|(other, batch)| (other, batch.into_iter().map(Computed::as_booked).collect()));
        let rest: VecDeque<Part> = parts.collect();
        let again = rest.iter().map(|(_, entries)| entries.len() as u64).sum();
        self.tell(Notice::WentBack { behind: self.confirmed.saturating_sub(booked), again });
        self.rewind_on(rest, booked, again, now);
    }

    pub(super) fn rewound(&mut self, outcomes: Vec<Outcome>, now: Instant) {
        let Some(mut rewind) = self.rewind.take() else { return };
        if rewind.attempt.answered(outcomes, &mut self.bookkeeper) {
            let own = if rewind.other.is_none() { rewind.attempt.numbers() } else { &[] };
            let booked = own.iter().copied().fold(rewind.booked, u64::max);
            self.keep_tail(rewind.attempt, rewind.other.as_ref(), now);
            self.rewind_on(rewind.rest, booked, rewind.again, now);
        } else {
            let (batch, other) = (rewind.attempt.batch(), rewind.other.clone());
            self.rewind = Some(rewind);
            self.send(batch, other, now);
        }
    }

    fn rewind_on(&mut self, mut rest: VecDeque<Part>, booked: u64, again: u64, now: Instant) {
        let Some((other, entries)) = rest.pop_front() else {
            self.rewind = None;
            self.confirmed = booked;
            self.tell(Notice::Restored(again));
            return self.send_what_waits(now);
        };
        let attempt = Attempt::new(entries, &mut self.bookkeeper);
        let batch = attempt.batch();
        self.rewind = Some(Rewind { attempt, other: other.clone(), rest, booked, again });
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
