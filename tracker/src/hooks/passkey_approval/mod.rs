//! `passkey approval`: who may announce, by the site's whitelist in Redis.
//!
//! The verdict comes from memory in the steady state. A passkey that is not known, or whose verdict is older than the last change of
//! the whitelist, is looked up once for all announces that wait for it.

mod link;
mod verdicts;

use std::sync::Arc;
use std::time::Instant;

use contract::Passkey;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

pub use link::{Options, spawn};
pub use verdicts::{Asked, Known, Verdicts};

use super::{Hook, LookUp, Verdict};
use crate::announce::{Account, Admission, Announce, Credential, Refusal, Scrape};

/// A passkey that somebody waits for.
pub(crate) struct Question {
    passkey: Passkey,
    answered: oneshot::Sender<Result<(), Refusal>>,
}

/// The hook. Make one with [`spawn`].
#[derive(Debug)]
pub struct PasskeyApproval {
    verdicts: Arc<Verdicts>,
    questions: mpsc::Sender<Question>,
    protect_scrape: bool,
}

impl Hook for PasskeyApproval {
    fn announce(&self, announce: &Announce, admission: &mut Admission) -> Verdict {
        let passkey = match passkey_of(announce.credential.as_ref()) {
            Ok(passkey) => passkey,
            Err(refusal) => return Verdict::Refuse(refusal),
        };
        match self.verdicts.look(&passkey, Instant::now()) {
            Known::Approved(canonical) => {
                let tag = self.verdicts.tag(&canonical);
                admission.account = Some(Account { passkey: canonical, tag, fd: None, pd: None });
                Verdict::Pass
            }
            Known::Unapproved => Verdict::Refuse(unapproved()),
            Known::Unknown => self.ask(passkey),
        }
    }

    fn scrape(&self, scrape: &Scrape) -> Verdict {
        if !self.protect_scrape {
            return Verdict::Pass;
        }
        match passkey_of(scrape.credential.as_ref()) {
            Err(refusal) => Verdict::Refuse(refusal),
            Ok(passkey) => match self.verdicts.look(&passkey, Instant::now()) {
                Known::Approved(_) => Verdict::Pass,
                Known::Unapproved => Verdict::Refuse(unapproved()),
                Known::Unknown => self.ask(passkey),
            },
        }
    }
}

impl PasskeyApproval {
    /// The cache, for whoever wants to know whether Redis is there.
    #[must_use]
    pub fn verdicts(&self) -> Arc<Verdicts> {
        self.verdicts.clone()
    }

    fn ask(&self, passkey: Passkey) -> Verdict {
        let (answered, answer) = oneshot::channel();
        match self.questions.try_send(Question { passkey, answered }) {
            Ok(()) => {
                let wait: LookUp =
                    Box::pin(async move { answer.await.unwrap_or_else(|_| Err(unavailable())) });
                Verdict::Wait(wait)
            }
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => Verdict::Refuse(unavailable()),
        }
    }
}

fn passkey_of(credential: Option<&Credential>) -> Result<Passkey, Refusal> {
    let text = credential.ok_or_else(|| Refusal::because("missing passkey"))?;
    Passkey::from_bytes(text.reveal()).map_err(|_| Refusal::because("invalid passkey"))
}

fn unapproved() -> Refusal {
    Refusal::because("unapproved passkey")
}

fn unavailable() -> Refusal {
    Refusal::for_now("passkeys cannot be checked right now; your client will try again")
}
