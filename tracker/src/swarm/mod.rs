//! Who shares which torrent now: in memory, sharded by info hash, forgotten peer by peer when announces stop
//! coming.
//!
//! Pure data behind locks: the caller passes the time and the random numbers. From the outside in: `store`
//! holds torrents, `torrent` a `family` for each kind of address, `family` its peers as `rows` of bytes, with
//! an `index` when they are many.

pub(crate) mod address;
mod choose;
mod family;
mod index;
mod metrics;
mod offer;
mod pick;
mod prefetch;
mod rows;
mod session;
mod sighting;
mod store;
mod sweep;
mod torrent;

pub use metrics::SwarmMetrics;
pub use sighting::Sighting;
pub use store::{Census, Swarms, Visit};
