//! The packets that one system call brings: rules and clock are read once for all of them, the swarms' memory
//! is fetched ahead, and their replies leave together.

use std::sync::Arc;
use std::time::Instant;

use contract::AddressFamily;
use rand::rngs::SmallRng;

use super::reading::Policy;
use super::socket::{BATCH, SendBuffer};
use super::unanswered::Unanswered;
use crate::frontend::metrics::{Action, LocalLatency, RequestOutcome};
use crate::rulebook::Rulebook;

/// What a worker keeps from batch to batch.
pub(super) struct Workspace {
    pub(super) replies: SendBuffer,
    /// Chooses peers. Need not be secret, only fair.
    pub(super) rng: SmallRng,
    latency: LocalLatency,
    answered: Vec<(Action, AddressFamily, RequestOutcome)>,
}

/// What holds for one batch.
pub(super) struct Batch<'a> {
    pub(super) policy: &'a Policy,
    pub(super) rules: &'a Arc<Rulebook>,
    pub(super) workspace: &'a mut Workspace,
}

impl Workspace {
    pub(super) fn new(latency: LocalLatency) -> Self {
        let rng = rand::make_rng();
        Self { replies: SendBuffer::new(), rng, latency, answered: Vec::with_capacity(BATCH) }
    }

    /// Notes how long the batch's replies took, now that they are on their way: all came, and all leave, with
    /// one system call.
    pub(super) fn note_replies(&mut self, received: Instant) {
        let took = received.elapsed();
        for (action, family, verdict) in self.answered.drain(..) {
            self.latency.observe(action, family, verdict, took);
        }
        self.latency.flush();
    }
}

impl Batch<'_> {
    /// Answers a request with this batch, by what `write` appends.
    pub(super) fn answer(
        &mut self,
        request: &Unanswered,
        write: impl FnOnce(&mut Vec<u8>) -> RequestOutcome,
    ) {
        let verdict = self.workspace.replies.add(request.sender.path, write);
        self.workspace.answered.push((request.action, request.family(), verdict));
    }
}
