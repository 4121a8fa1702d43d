//! The rules an announce must pass, one file each, in the order the operator configured.
//!
//! A hook answers from memory at once. When it does not know yet, it says what to wait for, and is asked again afterwards.

pub mod passkey_approval;

use std::fmt::Debug;
use std::pin::Pin;

use crate::announce::{Admission, Announce, Refusal, Scrape};

/// Something a hook has to find out first. Its error is the client's answer.
pub type LookUp = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// What a hook says.
pub enum Verdict {
    /// Go on to the next hook.
    Pass,
    /// Turn the client away.
    Refuse(Refusal),
    /// Wait for this, then ask again.
    Wait(LookUp),
}

/// One rule.
pub trait Hook: Send + Sync + Debug {
    /// Judges an announce; may change what is decided about it.
    fn announce(&self, announce: &Announce, admission: &mut Admission) -> Verdict;

    /// Judges a scrape. Most rules have nothing to say about one.
    fn scrape(&self, _scrape: &Scrape) -> Verdict {
        Verdict::Pass
    }
}
