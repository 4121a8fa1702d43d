//! How clients talk to trackers: over HTTP or over UDP, in good manners and in bad.

use std::fmt;
use std::time::Duration;

use contract::Passkey;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use crate::http::Lines;
use crate::session::{Announce, Session};
use crate::udp::Datagrams;

/// How one copy of an announce is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    KeepAlive,
    OneShot,
    /// Hangs up after the request; over UDP there is nothing to hang up.
    HangUp,
    /// The answer is lost on its way.
    Deaf,
}

impl Manner {
    const WEIGHTS: [(Self, u32); 4] =
        [(Self::KeepAlive, 60), (Self::OneShot, 28), (Self::HangUp, 6), (Self::Deaf, 6)];

    pub(crate) fn draw(dice: &mut ChaCha8Rng) -> Self {
        let drawn = Self::WEIGHTS.choose_weighted(dice, |(_, weight)| *weight);
        drawn.map_or(Self::OneShot, |(manner, _)| *manner)
    }
}

/// What a client heard of one copy.
#[derive(Debug)]
pub(crate) enum Heard {
    Answered,
    Refused(String),
    /// And why not.
    Nothing(String),
}

impl fmt::Display for Heard {
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
pub(crate) struct Saying<'a> {
    /// The tracker's port, for both protocols.
    pub(crate) port: u16,
    pub(crate) passkey: &'a Passkey,
    pub(crate) session: &'a Session,
    pub(crate) announce: &'a Announce,
}

/// One client's way to its tracker.
#[derive(Debug)]
pub(crate) enum Talk {
    Http(Lines),
    Udp(Datagrams),
}

impl Talk {
    pub(crate) fn draw(dice: &mut ChaCha8Rng) -> Self {
        if dice.random_bool(0.25) { Self::Udp(Datagrams::default()) } else { Self::Http(Lines::default()) }
    }

    /// Leaves this tracker: what comes next is for another one, or from a client that was started again.
    pub(crate) fn hang_up(&mut self) {
        match self {
            Self::Http(lines) => lines.hang_up(),
            Self::Udp(datagrams) => *datagrams = Datagrams::default(),
        }
    }

    /// Sends one copy, and waits so long.
    pub(crate) async fn ask(&mut self, saying: Saying<'_>, manner: Manner, patience: Duration) -> Heard {
        let heard = match self {
            Self::Http(lines) => lines.ask(saying, manner, patience).await,
            Self::Udp(datagrams) => datagrams.ask(saying, patience).await,
        };
        match manner {
            Manner::Deaf | Manner::HangUp => Heard::Nothing("lost".to_owned()),
            Manner::KeepAlive | Manner::OneShot => heard,
        }
    }

    /// Waits until no copy can be read any more. What went wrong with that.
    pub(crate) async fn settle(&mut self) -> Vec<String> {
        match self {
            Self::Http(lines) => lines.settle().await,
            // An answered announce came behind an answered connect, and that behind all older copies.
            Self::Udp(_) => Vec::new(),
        }
    }
}
