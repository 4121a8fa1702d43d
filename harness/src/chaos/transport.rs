//! How clients talk to trackers: over HTTP or over UDP, in good manners and in bad.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::exchange::{Heard, Manner, Saying};
use crate::http::Lines;
use crate::udp::Datagrams;

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
