//! The rules an announce must pass, one file each with its options, in the order the operator configured.
//!
//! Hooks change what is decided, and each sees what those before it did; `config/hooks.rs` says where that
//! matters. A hook answers from memory at once. When it does not know yet, it says what to wait for, and is
//! asked again afterwards.

pub mod callback;
pub mod client_approval;
pub mod hybrid_alias;
pub mod interval_variation;
pub mod jwt;
pub mod membership;
pub mod metrics;
pub mod passkey_approval;
pub mod peer_limits;
pub mod response;
#[cfg(test)]
mod scene;
pub mod torrent_approval;

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::announce::{Admission, Announce, Refusal, Scrape};
use crate::swarm::Sighting;

/// Something a hook has to find out first. Its error is the client's answer.
pub type LookUp = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// A hook's verdict on one announce.
pub enum Verdict {
    /// Go on to the next hook.
    Pass,
    /// Turn the client away.
    Refuse(Refusal),
    /// Wait for this, then ask again.
    Wait(LookUp),
}

/// One rule of the site, in its place in the configured order.
pub trait Hook: Send + Sync + Debug {
    /// Judges an announce; may change what is decided about it.
    fn announce(&self, announce: &Announce, admission: &mut Admission) -> Verdict;

    /// Judges a scrape. Most rules have nothing to say about one.
    fn scrape(&self, _scrape: &Scrape) -> Verdict {
        Verdict::Pass
    }

    /// Hears of a client that another tracker let in or out, so long ago. `interval`: seconds between
    /// announces. Most rules do not care.
    fn elsewhere(&self, _sighting: &Sighting, _age: Duration, _interval: u32) {}

    /// What this hook cannot do without and does not have now, for the readiness page.
    fn waits_for(&self) -> Option<String> {
        None
    }
}

/// Reads a list that may be written as nothing at all (`whitelist:`).
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Option::<Vec<String>>::deserialize(deserializer).map(Option::unwrap_or_default)
}
