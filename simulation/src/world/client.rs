//! A client: who it is, how far its counters got, by which paths it announces, and what it owes on each.

use std::net::IpAddr;

use contract::Event;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// Says `stopped` until it is heard.
    Stopping,
    Gone,
}

/// A path: one URL of a tracker and one address of the client. There a client has one announce under way.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) tracker: usize,
    pub(crate) ip: IpAddr,
    /// Which of the tracker's URLs it is: HTTP's or UDP's.
    pub(crate) url: u8,
    /// How long an announce travels, in milliseconds, at most.
    pub(crate) lag_ms: u64,
    /// The event that must be heard here.
    pub(crate) owes: Option<Event>,
    /// The announce that waits for its answer.
    pub(crate) asked: Option<usize>,
    /// When the last announce was sent, and when it reached the tracker or would have.
    pub(crate) sent_ms: u64,
    pub(crate) there_ms: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) user: usize,
    pub(crate) torrent: usize,
    pub(crate) session: usize,
    pub(crate) run: u32,
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) left: u64,
    /// How much too high `completed` is reported.
    pub(crate) wobble: u64,
    pub(crate) life: Life,
    pub(crate) introduced: bool,
    /// Its run began with a `started`: it was not running before it heard of the site.
    pub(crate) began: bool,
    pub(crate) endpoints: Vec<Endpoint>,
    /// When its present run began or ended.
    pub(crate) acted_ms: u64,
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
