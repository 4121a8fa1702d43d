//! Reports go straight to Redis, until it does not take a batch.
//!
//! That batch may be booked nevertheless: an answer that is missing may have been a yes. In the spool it
//! keeps its numbers, by which Redis recognises it when it comes again.

use std::sync::Arc;
use std::time::Instant;

use super::catch_up::CatchUp;
use super::messages::{Call, Content, Notice, RecordError};
use super::{RecorderMachine, Stage};
use crate::traffic::booking::NumberedBooking;
use crate::traffic::failure::SendFailure;
use crate::traffic::reply::{Outcome, Receipt};

/// The batch under way, and the clients that wait for it.
#[derive(Debug)]
pub(super) struct InFlight<T> {
    entries: Arc<Vec<NumberedBooking>>,
    tokens: Vec<T>,
    began: Instant,
    /// When it is sent again; `None` while an answer is awaited.
    pub(super) retry_at: Option<Instant>,
}

impl<T> RecorderMachine<T> {
    pub(super) fn deliver(&mut self, entries: Vec<NumberedBooking>, tokens: Vec<T>, now: Instant) {
        let entries = Arc::new(entries);
        self.send_reports(entries.clone());
        self.stage = Stage::Direct(Some(InFlight { entries, tokens, began: now, retry_at: None }));
    }

    fn send_reports(&mut self, entries: Arc<Vec<NumberedBooking>>) {
        self.send(|number, confirmed| Call { number, content: Content::Reports(entries), confirmed });
    }

    pub(super) fn retry(&mut self, now: Instant) {
        let Stage::Direct(Some(batch)) = &mut self.stage else { return };
        if batch.retry_at.is_some_and(|at| at <= now) {
            batch.retry_at = None;
            let entries = batch.entries.clone();
            self.send_reports(entries);
        }
    }

    pub(super) fn batch_answered(
        &mut self,
        batch: InFlight<T>,
        answer: Result<Receipt, SendFailure>,
        now: Instant,
    ) {
        match answer {
            Ok(receipt) => {
                self.confirm(&batch.entries);
                self.tell(Notice::Committed(now - batch.began));
                self.stage = Stage::Direct(None);
                self.booked(batch.tokens, receipt.outcomes);
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
        self.spool(batch.entries, batch.tokens);
    }

    fn booked(&mut self, tokens: Vec<T>, outcomes: Vec<Outcome>) {
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
