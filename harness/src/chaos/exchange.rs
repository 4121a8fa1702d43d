//! One copy of an announce, over HTTP or UDP: its content, how a client sends it, and the outcome it hears
//! of.

use std::fmt;

use contract::Passkey;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use crate::session::{Announce, Session};

/// How one copy of an announce is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendMode {
    KeepAlive,
    OneShot,
    /// Hangs up after the request; over UDP there is nothing to hang up.
    HangUp,
    /// The answer is lost on its way.
    Deaf,
}

impl SendMode {
    const WEIGHTS: [(Self, u32); 4] =
        [(Self::KeepAlive, 60), (Self::OneShot, 28), (Self::HangUp, 6), (Self::Deaf, 6)];

    pub(crate) fn draw(dice: &mut ChaCha8Rng) -> Self {
        let drawn = Self::WEIGHTS.choose_weighted(dice, |(_, weight)| *weight);
        drawn.map_or(Self::OneShot, |(mode, _)| *mode)
    }
}

/// What a client heard of one copy.
#[derive(Debug)]
pub(crate) enum CopyOutcome {
    Answered,
    Refused(String),
    /// And why not.
    Nothing(String),
}

impl fmt::Display for CopyOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered => f.write_str("answered"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Nothing(why) => write!(f, "no answer: {why}"),
        }
    }
}

/// One copy of an announce.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnnounceCopy<'a> {
    /// The tracker's port, for both protocols.
    pub(crate) port: u16,
    pub(crate) passkey: &'a Passkey,
    pub(crate) session: &'a Session,
    pub(crate) announce: &'a Announce,
}
