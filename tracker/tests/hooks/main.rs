//! The rules, each in a whole tracker in this process, over real sockets and against a real Redis.

#![allow(clippy::unwrap_used)]

mod limits;
mod lists;
mod scene;
mod torrents;
