//! The operator's rules in force: hooks, recorder, forwarders, intervals. Plain data that announces pass;
//! `app/rulebook.rs` makes it from the configuration. A reload makes a new book and swaps it in; announces
//! under way finish by the one they began with.

use std::sync::Arc;

use crate::announce::{Admitted, Offers, Report};
use crate::forward::Forwarding;
use crate::hooks::Hook;
use crate::traffic::Recorder;

/// What a reload of the configuration replaces.
#[derive(Debug)]
pub struct Rulebook {
    /// The hooks, in the operator's order.
    pub hooks: Vec<Arc<dyn Hook>>,
    /// Where accepted announces are booked; `None` when traffic push is off.
    pub recorder: Option<Recorder>,
    /// Other trackers that are told of our clients; `None` when there are none.
    pub forwarding: Option<Forwarding>,
    /// What clients are told unless a hook changes it.
    pub intervals: Intervals,
}

/// Announce intervals in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Seconds after which clients are asked to announce again.
    pub interval: u32,
    /// Seconds before which they must not.
    pub min_interval: u32,
}

impl Rulebook {
    /// What stands between a new user and a recorded announce now; empty when nothing does.
    #[must_use]
    pub fn waits_for(&self) -> Vec<String> {
        let recorder = self.recorder.as_ref().and_then(Recorder::waits_for).map(str::to_owned);
        self.hooks.iter().filter_map(|hook| hook.waits_for()).chain(recorder).collect()
    }

    /// Offers the peers that forwarders named, and has them told of this announce later. Never waits for
    /// them.
    pub fn forward(&self, admitted: &Admitted, offers: &mut Offers) {
        if let Some(forwarding) = &self.forwarding {
            forwarding.consult(admitted, offers);
        }
    }

    /// What must be booked before the client is answered; `None` when nothing is: traffic push is off, or
    /// there is no account to book it on.
    #[must_use]
    pub fn report(&self, admitted: Admitted) -> Option<Report> {
        self.recorder.as_ref()?;
        let account = admitted.admission.account.clone()?;
        Some(Report { admitted, account })
    }
}
