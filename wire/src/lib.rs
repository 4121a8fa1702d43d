//! The tracker protocols as bytes and types, in both directions: clients' requests and trackers' replies over
//! HTTP (BEP 3, 7, 23, 24, 31, 48) and UDP (BEP 15, 41). Tracker, `trackerctl`, load generator and fuzzing
//! share it, so that each format is read and written in one place.
//!
//! Pure: no socket, runtime or clock, and no policy. What is allowed, believed or preferred is the caller's
//! matter; errors say only what the bytes lack.

pub mod bencode;
pub mod http;
pub mod peers;
mod reply;
pub mod udp;
pub mod url;

pub use reply::{Counts, Reply};
