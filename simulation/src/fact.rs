//! An announce as its client knows it, and what became of it.

use claims::Path;
use contract::Event;

/// One announce that a client sent, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Fact {
    pub(crate) client: usize,
    pub(crate) endpoint: usize,
    pub(crate) session: usize,
    pub(crate) run: u32,
    /// Its run began with a `started`.
    pub(crate) began: bool,
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) left: u64,
    pub(crate) event: Event,
    /// It reached a tracker.
    pub(crate) arrival: Option<Arrival>,
    /// The client was told that it counts.
    pub(crate) answered: bool,
    /// The tracker has told, or would have told, the client to come back: it is in no spool.
    pub(crate) refused: bool,
    /// Redis booked it.
    pub(crate) heard: bool,
    /// A newer announce of the same run took its place in a spool.
    pub(crate) replaced_by: Option<usize>,
}

/// When an announce reached a tracker, by true time, and how it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) at_ms: u64,
    pub(crate) path: Path,
}
