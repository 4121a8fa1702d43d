//! Reports go straight to Redis, until it does not take a batch.
//!
//! That batch may be booked nevertheless: an answer that is missing may have been a yes. In the spool it
//! keeps its numbers, by which Redis recognises it when it comes again.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::Attempt;
use super::catch_up::CatchUp;
use super::messages::{Notice, RecordError};
use super::{RecorderMachine, Stage};
use crate::traffic::booking::NumberedBooking;
use crate::traffic::failure::SendFailure;
use crate::traffic::reply::Outcome;
use crate::traffic::spool::DiskRequest;

/// How long clients wait for a disk that keeps the tail: Redis has their reports.
const TAIL_PATIENCE: Duration = Duration::from_secs(1);

/// The batch under way, and the clients that wait for it.
#[derive(Debug)]
pub(super) struct InFlight<T> {
    pub(super) attempt: Attempt,
    tokens: Vec<T>,
    began: Instant,
    /// When it is sent again; `None` while an answer is awaited.
    retry_at: Option<Instant>,
    /// What is sent differs from what the tail's file was given.
    is_unkept: bool,
    /// What became of it, and when that was known: the disk is still at work.
    ending: Option<(Ending, Instant)>,
}

#[derive(Debug)]
enum Ending {
    Booked,
    GivenUp(SendFailure),
}

impl<T> InFlight<T> {
    /// When something is to be done with it, whatever happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.ending {
            Some((Ending::Booked, at)) => Some(*at + TAIL_PATIENCE),
            Some((Ending::GivenUp(_), _)) => None,
            None => self.retry_at,
        }
    }
}

impl<T> RecorderMachine<T> {
    pub(super) fn deliver(&mut self, entries: Vec<NumberedBooking>, tokens: Vec<T>, now: Instant) {
        let attempt = Attempt::new(entries, &mut self.bookkeeper);
        self.send(attempt.batch(), None, now);
        let is_unkept = !self.write_tail(&attempt, now);
        let batch = InFlight { attempt, tokens, began: now, retry_at: None, is_unkept, ending: None };
        self.stage = Stage::Direct(Some(batch));
    }

    /// Has the disk keep what is under way, while Redis books it: the announce of a client that was answered
    /// outlives a kill, should Redis lose it. `false`: the disk is at work.
    fn write_tail(&mut self, attempt: &Attempt, now: Instant) -> bool {
        if !self.limits.has_spool || self.limits.tail.seconds == 0 {
            return true;
        }
        if self.tail_is_writing {
            return false;
        }
        self.tail_is_writing = true;
        let (tracker_id, entries) = (self.tracker_id.clone(), Arc::new(attempt.as_sent()));
        let at_ms = self.uptime_ms(now);
        self.ask_disk(DiskRequest::AppendTail { tracker_id, entries, at_ms });
        true
    }

    /// The disk has kept what it was given, or cannot.
    pub(super) fn tail_appended(&mut self, appended: io::Result<()>, now: Instant) {
        self.tail_is_writing = false;
        if let Err(error) = appended {
            if !self.tail_fails {
                self.tell(Notice::TailFails(error));
            }
            self.tail_fails = true;
        } else {
            self.tail_fails = false;
        }
        match std::mem::replace(&mut self.stage, Stage::Direct(None)) {
            Stage::Direct(Some(mut batch)) => {
                if batch.is_unkept {
                    batch.is_unkept = !self.write_tail(&batch.attempt, now);
                }
                self.go_on_with(batch, now);
            }
            other => {
                self.stage = other;
                self.kept_on_disk();
            }
        }
    }

    /// Sends a batch again whose time has come, or ends one whose end is known.
    pub(super) fn retry(&mut self, now: Instant) {
        let Stage::Direct(Some(batch)) = &mut self.stage else { return };
        if batch.retry_at.is_some_and(|at| at <= now) {
            batch.retry_at = None;
            let entries = batch.attempt.batch();
            self.send(entries, None, now);
        } else if batch.ending.is_some()
            && let Stage::Direct(Some(batch)) = std::mem::replace(&mut self.stage, Stage::Direct(None))
        {
            self.go_on_with(batch, now);
        }
    }

    pub(super) fn batch_answered(
        &mut self,
        mut batch: InFlight<T>,
        answer: Result<Vec<Outcome>, SendFailure>,
        now: Instant,
    ) {
        match answer {
            Ok(outcomes) => {
                if batch.attempt.answered(outcomes, &mut self.bookkeeper) {
                    batch.ending = Some((Ending::Booked, now));
                } else {
                    self.send(batch.attempt.batch(), None, now);
                    batch.is_unkept = !self.write_tail(&batch.attempt, now);
                }
            }
            Err(failure) => {
                let patience = self.limits.retry_interval * self.limits.retry_count;
                // With the retries' time gone a spool is the better answer: a slow Redis must not keep
                // clients waiting.
                if failure.kind.may_pass_soon() && now - batch.began < patience {
                    batch.retry_at = Some(now + self.limits.retry_interval);
                } else {
                    batch.ending = Some((Ending::GivenUp(failure), now));
                }
            }
        }
        self.go_on_with(batch, now);
    }

    /// Ends a batch when Redis and the disk have done their part.
    fn go_on_with(&mut self, mut batch: InFlight<T>, now: Instant) {
        match batch.ending.take() {
            Some((Ending::Booked, at)) if !self.tail_is_writing || at + TAIL_PATIENCE <= now => {
                self.tell(Notice::Committed(at - batch.began));
                self.stage = Stage::Direct(None);
                self.booked(batch.attempt, batch.tokens, now);
            }
            Some((Ending::GivenUp(failure), _)) if !self.tail_is_writing => {
                self.stage = Stage::CatchingUp(CatchUp::of_an_outage());
                self.redis_failed(failure, now);
                self.give_to_spool(batch, now);
            }
            ending => {
                batch.ending = ending;
                self.stage = Stage::Direct(Some(batch));
            }
        }
    }

    /// What Redis has booked of a batch is answered; the rest goes to the spool.
    fn give_to_spool(&mut self, batch: InFlight<T>, now: Instant) {
        let rest = batch.attempt.entries();
        let is_left = |number: &u64| rest.iter().any(|entry| entry.sequence == *number);
        let numbered = batch.tokens.into_iter().zip(batch.attempt.numbers());
        let (left, done): (Vec<_>, Vec<_>) = numbered.partition(|(_, number)| is_left(number));
        let tokens = |some: Vec<(T, &u64)>| some.into_iter().map(|(token, _)| token).collect();
        let (left, done) = (tokens(left), tokens(done));
        self.keep_tail(batch.attempt, None, now);
        self.answer(done, Ok(()));
        self.spool(Arc::new(rest), left);
    }

    fn booked(&mut self, attempt: Attempt, tokens: Vec<T>, now: Instant) {
        self.confirm(attempt.numbers());
        let outcomes = self.keep_tail(attempt, None, now);
        let mut accepted = Vec::new();
        let mut refused = Vec::new();
        if outcomes.iter().all(Outcome::is_recorded) {
            accepted = tokens;
        } else {
            for (token, outcome) in tokens.into_iter().zip(&outcomes) {
                if outcome.is_recorded() { accepted.push(token) } else { refused.push(token) }
            }
        }
        self.tell(Notice::Recorded(outcomes));
        self.answer(accepted, Ok(()));
        self.answer(refused, Err(RecordError::Unavailable));
    }
}
