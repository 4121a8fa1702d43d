//! Where the programs of a run are.

use harness::Trackerctl;

use crate::exchange::Route;

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    pub(crate) redis: u16,
    /// All ways to the trackers.
    pub(crate) routes: Vec<Route>,
    /// The URLs of the trackers' metrics.
    pub(crate) metrics: Vec<String>,
    pub(crate) control: Trackerctl,
}

impl Endpoints {
    /// Redis itself, around every proxy.
    pub(crate) fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.redis)
    }
}
