//! A client's end of one path: over HTTP or over UDP.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::exchange::{AnnounceCopy, CopyOutcome, Protocol, Route, SendMode};
use crate::http::HttpConnections;
use crate::udp::Datagrams;

/// One client's way to one tracker.
#[derive(Debug)]
pub(crate) enum Transport {
    Http(HttpConnections),
    Udp(Datagrams),
}

impl Transport {
    pub(crate) fn new(route: Route) -> Self {
        match route.protocol {
            Protocol::Http => Self::Http(HttpConnections::new(route)),
            Protocol::Udp => Self::Udp(Datagrams::new(route)),
        }
    }

    /// Sends one copy over a path that takes `lag`, and waits so long, together. Then it is given up, and may
    /// be read nevertheless.
    pub(crate) async fn ask(
        &mut self,
        copy: &AnnounceCopy,
        mode: SendMode,
        lag: Duration,
        patience: Duration,
    ) -> CopyOutcome {
        let exchange = async {
            sleep(lag).await;
            match &mut *self {
                Self::Http(connections) => connections.ask(copy, mode).await,
                Self::Udp(datagrams) => datagrams.ask(copy).await,
            }
        };
        let heard = timeout(patience, exchange).await;
        let heard = heard.unwrap_or_else(|_| CopyOutcome::Nothing("no answer in time".to_owned()));
        if !matches!(heard, CopyOutcome::Answered) {
            self.hang_up();
        }
        match mode {
            SendMode::Deaf | SendMode::HangUp => CopyOutcome::Nothing("lost".to_owned()),
            SendMode::KeepAlive | SendMode::OneShot => heard,
        }
    }

    fn hang_up(&mut self) {
        match self {
            Self::Http(connections) => connections.hang_up(),
            Self::Udp(datagrams) => datagrams.forget(),
        }
    }
}
