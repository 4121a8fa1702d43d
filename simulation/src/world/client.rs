//! A client: who it is, how far its counters got, which trackers it announces to, and what it owes each.

use std::net::IpAddr;

use contract::{Event, PeerId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// Says `stopped` until it is heard.
    Stopping,
    Gone,
}

/// One address of a client at one tracker.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) tracker: usize,
    pub(crate) ip: IpAddr,
    /// The event that this tracker must hear.
    pub(crate) owes: Option<Event>,
    /// The announce that waits for its answer.
    pub(crate) asked: Option<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) user: usize,
    pub(crate) torrent: usize,
    pub(crate) session: usize,
    pub(crate) peer_id: PeerId,
    pub(crate) run: u32,
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) left: u64,
    /// How much too high `completed` is reported.
    pub(crate) wobble: u64,
    pub(crate) life: Life,
    pub(crate) introduced: bool,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) announced_ms: u64,
}

impl Client {
    /// Whether anything is still to be said or answered.
    pub(crate) fn is_busy(&self) -> bool {
        self.life != Life::Gone && self.endpoints.iter().any(|at| at.owes.is_some() || at.asked.is_some())
    }

    pub(crate) fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    pub(crate) fn hang_up(&mut self) {
        self.endpoints.iter_mut().for_each(|at| at.asked = None);
    }
}
