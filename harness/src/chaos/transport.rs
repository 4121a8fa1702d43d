//! A client's connections to its tracker: over HTTP or over UDP, which some clients leave without waiting for
//! the answer.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::exchange::{AnnounceCopy, CopyOutcome, SendMode};
use crate::http::HttpConnections;
use crate::udp::Datagrams;

/// One client's way to its tracker.
#[derive(Debug)]
pub(crate) enum Transport {
    Http(HttpConnections),
    Udp(Datagrams),
}

impl Transport {
    pub(crate) fn draw(dice: &mut ChaCha8Rng) -> Self {
        if dice.random_bool(0.25) {
            Self::Udp(Datagrams::default())
        } else {
            Self::Http(HttpConnections::default())
        }
    }

    /// Leaves this tracker: what comes next is for another one, or from a client that was started again.
    pub(crate) fn hang_up(&mut self) {
        match self {
            Self::Http(connections) => connections.hang_up(),
            Self::Udp(datagrams) => *datagrams = Datagrams::default(),
        }
    }

    /// Sends one copy, and waits so long.
    pub(crate) async fn ask(
        &mut self,
        copy: AnnounceCopy<'_>,
        mode: SendMode,
        patience: Duration,
    ) -> CopyOutcome {
        let heard = match self {
            Self::Http(connections) => connections.ask(copy, mode, patience).await,
            Self::Udp(datagrams) => datagrams.ask(copy, patience).await,
        };
        match mode {
            SendMode::Deaf | SendMode::HangUp => CopyOutcome::Nothing("lost".to_owned()),
            SendMode::KeepAlive | SendMode::OneShot => heard,
        }
    }

    /// Waits until no copy can be read any more. What went wrong with that.
    pub(crate) async fn settle(&mut self) -> Vec<String> {
        match self {
            Self::Http(connections) => connections.settle().await,
            // An answered announce came behind an answered connect, and that behind all older copies.
            Self::Udp(_) => Vec::new(),
        }
    }
}
