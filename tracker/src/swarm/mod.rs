//! Who shares which torrent now: in memory, sharded by info hash, forgotten peer by peer when announces stop coming.
//!
//! Pure data behind locks: the caller passes the time and the random numbers.

pub(crate) mod address;
mod choose;
mod family;
mod sighting;
mod store;
mod torrent;

pub use sighting::Sighting;
pub use store::{Census, Swarms, Visit};
