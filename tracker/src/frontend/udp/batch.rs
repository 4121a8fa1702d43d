//! One turn of a worker: what all packets of a batch share, so that it is fetched once and not for each of
//! them.

use std::sync::Arc;
use std::time::Instant;

use contract::AddressFamily;
use rand::rngs::SmallRng;

use super::reading::Policy;
use super::socket::{BATCH, Outbox};
use super::unanswered::Call;
use crate::frontend::metrics::{Action, LocalLatency, Verdict};
use crate::rulebook::Rulebook;

/// What a worker keeps from turn to turn.
pub(super) struct Tools {
    pub(super) replies: Outbox,
    /// Chooses peers. Need not be secret, only fair.
    pub(super) rng: SmallRng,
    latency: LocalLatency,
    answered: Vec<(Action, AddressFamily, Verdict)>,
}

/// What holds during one turn.
pub(super) struct Turn<'a> {
    pub(super) policy: &'a Policy,
    pub(super) rules: &'a Arc<Rulebook>,
    pub(super) tools: &'a mut Tools,
}

impl Tools {
    pub(super) fn new(latency: LocalLatency) -> Self {
        let rng = rand::make_rng();
        Self { replies: Outbox::new(), rng, latency, answered: Vec::with_capacity(BATCH) }
    }

    /// Notes how long the turn's replies took, now that they are on their way: all came, and all leave, with
    /// one system call.
    pub(super) fn note_replies(&mut self, received: Instant) {
        let took = received.elapsed();
        for (action, family, verdict) in self.answered.drain(..) {
            self.latency.observe(action, family, verdict, took);
        }
        self.latency.flush();
    }
}

impl Turn<'_> {
    /// Answers a request in this turn, by what `write` appends.
    pub(super) fn answer(&mut self, call: &Call, write: impl FnOnce(&mut Vec<u8>) -> Verdict) {
        let verdict = self.tools.replies.add(call.caller.from, write);
        self.tools.answered.push((call.action, AddressFamily::of(call.caller.ip), verdict));
    }
}
