//! Asking the site about a passkey that its whitelist does not hold.
//!
//! The site's answers are remembered here, in this tracker's memory, each for its own time; the whitelist in
//! Redis belongs to the site and is never expired. (Only the compatibility option `compat_set_expiry` writes
//! to it.)
//!
//! A task asks, not the hook: the hook only says what it waits for. So the number of calls is bounded, and
//! many announces that wait for one passkey make one call.

mod answers;
mod caller;
mod page;

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::Passkey;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

pub use answers::{Answers, Extras, Lifetimes, Opinion};
pub use caller::{Options, Whitelist, spawn};
pub use page::{ApprovalPage, Credentials};

/// What counts while the site cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Nobody new and nobody whose approval ran out.
    Deny,
    /// Those the site approved before, as far as this process remembers.
    AllowKnown,
}

/// The site cannot be asked now: it does not answer, or too many wait for it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the site cannot be asked right now")]
pub struct Unavailable;

#[derive(Debug)]
struct Question {
    passkey: Passkey,
    answered: oneshot::Sender<Result<(), Unavailable>>,
}

/// The way to the site, as the hook sees it. Make one with [`spawn`].
#[derive(Debug)]
pub struct Callback {
    answers: Arc<Answers>,
    questions: mpsc::Sender<Question>,
}

impl Callback {
    /// What the site said lately; `None` when it has to be asked.
    #[must_use]
    pub fn look(&self, passkey: &Passkey) -> Option<Opinion> {
        self.answers.look(passkey, Instant::now())
    }

    /// Asks the site. The question is sent at once; the future waits until [`Callback::look`] knows.
    pub fn ask(&self, passkey: Passkey) -> impl Future<Output = Result<(), Unavailable>> + Send + 'static {
        let (answered, answer) = oneshot::channel();
        let sent = self.questions.try_send(Question { passkey, answered });
        async move {
            sent.map_err(|_| Unavailable)?;
            answer.await.unwrap_or(Err(Unavailable))
        }
    }
}

/// How long an answer counts that is not to be remembered (`cache_ttl_seconds: 0`): long enough for the
/// announces that waited for it, which look it up once they are woken, and short enough for a revocation to
/// be obeyed within the second.
pub(crate) const MOMENT: Duration = Duration::from_millis(800);
