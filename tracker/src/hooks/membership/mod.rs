//! Lists that the site keeps in Redis: which passkeys, which torrents, and which name stands for which.
//!
//! The answer comes from memory in the steady state. A member that is not known, or whose verdict is older
//! than the last change of the list, is looked up once for all requests that wait for it. While Redis is away
//! what it said last stays in force: users who were approved stay approved.
//!
//! Members on a list are bounded by the site's own set. Of those on none, up to 2^16 passkeys are
//! remembered, because only strangers and typing errors are there, and up to 2^20 torrents, because a site
//! that lists none has all of its torrents there.

mod link;
mod verdicts;

use std::fmt::Debug;
use std::hash::Hash;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayString;
use contract::{InfoHash, Passkey};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::announce::UserTag;

pub use link::{Options, spawn};
pub use verdicts::{Asked, Known, Verdicts};

/// Something that can be on a list.
pub trait Member: Copy + Eq + Hash + Debug + FromStr + Send + Sync + 'static {
    /// Names that are not on the list are remembered up to so many; more are forgotten and asked about again,
    /// because random names must not fill the memory. Those on it are bounded by the list.
    const MAX_UNLISTED: usize;

    /// What is worth working out once for a member, and remembered with its verdict.
    type Note: Copy + Debug + Send + Sync;

    /// The member as the site's set in Redis has it.
    fn name(&self) -> ArrayString<64>;

    /// Works it out.
    fn note(&self) -> Self::Note;
}

impl Member for Passkey {
    /// The user's tag is a SHA-256: a fifth of an announce's instructions on a processor that has none for
    /// it.
    type Note = UserTag;

    const MAX_UNLISTED: usize = 1 << 16;

    fn name(&self) -> ArrayString<64> {
        // A passkey has at most 64 characters, which its type guarantees.
        ArrayString::from(self.reveal()).unwrap_or_default()
    }

    fn note(&self) -> UserTag {
        UserTag::of(self)
    }
}

impl Member for InfoHash {
    type Note = ();

    /// Every active torrent of a site that does not list its torrents: some 60 bytes each, once it is
    /// announced.
    const MAX_UNLISTED: usize = 1 << 20;

    fn name(&self) -> ArrayString<64> {
        ArrayString::from(&self.hex()).unwrap_or_default()
    }

    fn note(&self) {}
}

/// Nobody can say now: Redis is away, or too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the list cannot be read right now")]
pub struct Unavailable;

/// A member that somebody waits for.
#[derive(Debug)]
struct Question<M> {
    member: M,
    answered: oneshot::Sender<Result<(), Unavailable>>,
}

/// A list, as hooks see it. Make one with [`spawn`]; clones share it.
#[derive(Debug)]
pub struct Membership<M: Member> {
    verdicts: Arc<Verdicts<M>>,
    questions: mpsc::Sender<Question<M>>,
}

impl<M: Member> Clone for Membership<M> {
    fn clone(&self) -> Self {
        Self { verdicts: self.verdicts.clone(), questions: self.questions.clone() }
    }
}

impl<M: Member> Membership<M> {
    /// The verdict in memory, if there is one that still counts.
    #[must_use]
    pub fn look(&self, member: &M) -> Known<M> {
        self.verdicts.look(member, Instant::now)
    }

    /// The same with the note on the name that traffic is booked on; `None` for a member that is
    /// [`Known::Unknown`].
    #[must_use]
    pub fn look_with_note(&self, member: &M) -> (Known<M>, Option<M::Note>) {
        self.verdicts.look_with_note(member, Instant::now)
    }

    /// Finds out about a member that is [`Known::Unknown`]. The question is sent at once; the future waits
    /// for the answer.
    pub fn ask(&self, member: M) -> impl Future<Output = Result<(), Unavailable>> + Send + 'static {
        let (answered, answer) = oneshot::channel();
        let sent = self.questions.try_send(Question { member, answered });
        async move {
            sent.map_err(|_| Unavailable)?;
            answer.await.unwrap_or(Err(Unavailable))
        }
    }

    /// Whether Redis never answered, so that nothing is known. When it goes away later, what is known stays
    /// in force, and only announces that need something new are told to come back.
    #[must_use]
    pub fn knows_nothing(&self) -> bool {
        self.verdicts.knows_nothing()
    }
}
