//! Makes the rulebook from the plan, at the start and at each reload.
//!
//! A reload takes over every part whose options did not change: hooks with the verdicts they remember, the
//! recorder with the reports that wait in it, forwarders with the peers they named. So a reload while Redis
//! or the site is away forgets no user.

use std::sync::Arc;

use anyhow::{Context, Result};
use service::redis::Broker;
use tokio::task::JoinHandle;

use super::metrics::Metrics;
use crate::config::{ForwardPlan, Rule, RulePlan};
use crate::forward::{Forwarding, Pace};
use crate::hooks::Hook;
use crate::hooks::client_approval::ClientApproval;
use crate::hooks::hybrid_alias::HybridAlias;
use crate::hooks::interval_variation::IntervalVariation;
use crate::hooks::jwt::Jwt;
use crate::hooks::passkey_approval::PasskeyApproval;
use crate::hooks::peer_limits::PeerLimits;
use crate::hooks::response::Response;
use crate::hooks::torrent_approval::TorrentApproval;
use crate::rulebook::Rulebook;
use crate::traffic::{self, Recorder};

/// A recorder's task: finished when every way to the recorder is dropped and what was queued is booked.
pub type Recording = JoinHandle<()>;

/// The book in force and the plan that it was made from: its hooks are those of the plan's rules, in order.
#[derive(Debug, Clone, Copy)]
pub struct Last<'a> {
    pub(crate) plan: &'a RulePlan,
    /// What was made from it.
    pub book: &'a Rulebook,
}

/// Makes the book. A recorder that is new has a task, which is returned.
///
/// # Errors
/// What the operator must change: a spool that another tracker uses.
pub fn build(
    plan: &RulePlan,
    metrics: &Metrics,
    last: Option<Last<'_>>,
) -> Result<(Rulebook, Option<Recording>)> {
    let forwarding = plan.forwarding.as_ref().map(|plan| forwarding(plan, metrics, last)).transpose()?;
    let hooks = plan.rules.iter().map(|rule| match last.and_then(|last| last.hook(rule, &plan.broker)) {
        Some(kept) => Ok(kept),
        None => start(rule, &plan.broker, metrics),
    });
    let hooks = hooks.collect::<Result<_>>()?;
    let (recorder, recording) = recorder(plan.recorder.as_ref(), metrics, last)?;
    Ok((Rulebook { hooks, recorder, forwarding, intervals: plan.intervals }, recording))
}

impl Last<'_> {
    fn hook(&self, rule: &Rule, broker: &Broker) -> Option<Arc<dyn Hook>> {
        let place = self.plan.rules.iter().position(|known| known == rule)?;
        self.book.hooks.get(place).filter(|_| self.plan.broker == *broker).cloned()
    }
}

fn recorder(
    setup: Option<&traffic::Setup>,
    metrics: &Metrics,
    last: Option<Last<'_>>,
) -> Result<(Option<Recorder>, Option<Recording>)> {
    let Some(setup) = setup else { return Ok((None, None)) };
    let last = last.and_then(|last| last.book.recorder.as_ref());
    if let Some(kept) = last.filter(|last| last.setup() == setup) {
        return Ok((Some(kept.clone()), None));
    }
    let (recorder, recording) =
        traffic::spawn(setup.clone(), metrics.recorder.clone(), last).context("traffic push")?;
    Ok((Some(recorder), Some(recording)))
}

/// The forwarders of the last book, if they are the same, else new ones.
fn forwarding(plan: &ForwardPlan, metrics: &Metrics, last: Option<Last<'_>>) -> Result<Forwarding> {
    let ForwardPlan { forwarders, scope, session_lifetime } = plan.clone();
    let last = last.and_then(|last| last.book.forwarding.as_ref());
    match last.and_then(|last| last.taken_over(&forwarders, scope.clone())) {
        Some(kept) => Ok(kept),
        None => Forwarding::start(forwarders, scope, session_lifetime, &Pace::default(), &metrics.forward),
    }
}

fn start(rule: &Rule, broker: &Broker, metrics: &Metrics) -> Result<Arc<dyn Hook>> {
    let metrics = &metrics.hooks;
    Ok(match rule {
        Rule::ClientApproval(options) => Arc::new(ClientApproval::new(options)),
        Rule::IntervalVariation(options) => Arc::new(IntervalVariation::new(options.clone())),
        Rule::PasskeyApproval(options) => {
            Arc::new(PasskeyApproval::start(options, broker, &metrics.site).context("passkey approval")?)
        }
        Rule::HybridAlias(options) => {
            Arc::new(HybridAlias::start(options, broker).context("passkey approval: redis_broker")?)
        }
        Rule::Jwt(options) => Arc::new(Jwt::start(options, &metrics.key_set).context("jwt")?),
        Rule::PeerLimits(options) => Arc::new(PeerLimits::new(options, metrics.peer_limits.clone())),
        Rule::Response(options) => Arc::new(Response::new(options)),
        Rule::TorrentApproval(options) => {
            Arc::new(TorrentApproval::start(options, broker).context("torrent approval: redis_broker")?)
        }
    })
}
