//! Reports go straight to Redis, until it does not take a batch.
//!
//! That batch may be booked nevertheless: an answer that is missing may have been a yes. In the spool it
//! keeps its numbers, by which Redis recognises it when it comes again.

use std::sync::Arc;
use std::time::Instant;

use super::attempt::Attempt;
use super::catch_up::CatchUp;
use super::messages::{Notice, RecordError};
use super::{RecorderMachine, Stage};
use crate::traffic::booking::NumberedBooking;
use crate::traffic::failure::SendFailure;
use crate::traffic::reply::Outcome;

/// The batch under way, and the clients that wait for it.
#[derive(Debug)]
pub(super) struct InFlight<T> {
    pub(super) attempt: Attempt,
    tokens: Vec<T>,
    began: Instant,
    /// When it is sent again; `None` while an answer is awaited.
    pub(super) retry_at: Option<Instant>,
}

impl<T> RecorderMachine<T> {
    pub(super) fn deliver(&mut self, entries: Vec<NumberedBooking>, tokens: Vec<T>, now: Instant) {
        let attempt = Attempt::new(entries, &mut self.bookkeeper);
        self.send(attempt.batch(), None, now);
        self.stage = Stage::Direct(Some(InFlight { attempt, tokens, began: now, retry_at: None }));
    }

    pub(super) fn retry(&mut self, now: Instant) {
        let Stage::Direct(Some(batch)) = &mut self.stage else { return };
        if batch.retry_at.is_some_and(|at| at <= now) {
            batch.retry_at = None;
            let entries = batch.attempt.batch();
            self.send(entries, None, now);
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
                    self.tell(Notice::Committed(now - batch.began));
                    self.stage = Stage::Direct(None);
                    self.booked(batch.attempt, batch.tokens, now);
                } else {
                    self.send(batch.attempt.batch(), None, now);
                    self.stage = Stage::Direct(Some(batch));
                }
            }
            Err(failure) => self.batch_failed(batch, failure, now),
        }
    }

    fn batch_failed(&mut self, mut batch: InFlight<T>, failure: SendFailure, now: Instant) {
        let patience = self.limits.retry_interval * self.limits.retry_count;
        // With the retries' time gone a spool is the better answer: a slow Redis must not keep clients
        // waiting.
        if failure.kind.may_pass_soon() && now - batch.began < patience {
            batch.retry_at = Some(now + self.limits.retry_interval);
            self.stage = Stage::Direct(Some(batch));
            return;
        }
        self.stage = Stage::CatchingUp(CatchUp::of_an_outage());
        self.redis_failed(failure, now);
        self.give_to_spool(batch, now);
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
