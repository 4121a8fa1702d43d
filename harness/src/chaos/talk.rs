//! Sends copies of an announce, and keeps those whose fate is open until it is known.

use std::fmt;
use std::io;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::wire::{Line, Reply};

/// How one copy of an announce is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    KeepAlive,
    OneShot,
    /// Hangs up after the request.
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

/// One client's connections.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    /// Kept alive for the next announce.
    line: Option<Line>,
    /// Copies that may still be read.
    open: JoinSet<Result<(), &'static str>>,
}

impl Talk {
    /// Closes the connection that is kept alive.
    pub(crate) fn hang_up(&mut self) {
        self.line = None;
    }

    /// Sends one copy to the tracker at `port`, and waits so long.
    pub(crate) async fn ask(&mut self, port: u16, path: &str, manner: Manner, patience: Duration) -> Heard {
        if manner != Manner::KeepAlive {
            self.line = None;
        }
        let Ok(reply) = timeout(patience, self.exchange(port, path, manner)).await else {
            // What was sent may still be read.
            if let Some(line) = self.line.take() {
                self.open.spawn(line.settled());
            }
            return Heard::Nothing("no answer in time".to_owned());
        };
        if manner != Manner::KeepAlive || reply.is_err() {
            self.line = None;
        }
        match reply {
            Err(error) => Heard::Nothing(error.to_string()),
            Ok(_) if manner == Manner::Deaf || manner == Manner::HangUp => Heard::Nothing("lost".to_owned()),
            Ok(Reply::Answered) => Heard::Answered,
            Ok(Reply::Refused(why)) => Heard::Refused(why),
        }
    }

    async fn exchange(&mut self, port: u16, path: &str, manner: Manner) -> io::Result<Reply> {
        let connection = if manner == Manner::KeepAlive { "keep-alive" } else { "close" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: tracker\r\nConnection: {connection}\r\n\r\n");
        let line = match &mut self.line {
            Some(line) => line,
            none => none.insert(Line::connect(port).await?),
        };
        line.send(&request).await?;
        if manner == Manner::HangUp {
            line.hang_up().await?;
        }
        line.reply().await
    }

    /// Waits until no copy can be read any more. What went wrong with that.
    pub(crate) async fn settle(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        while let Some(settled) = self.open.join_next().await {
            if let Ok(Err(complaint)) = settled {
                complaints.push(complaint.to_owned());
            }
        }
        complaints
    }
}
