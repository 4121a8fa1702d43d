//! Real things for tests: a Redis of the test's own, Seedbook's own binaries, BitTorrent clients in network
//! namespaces. Each starts on free ports in a temporary folder and stops when it is dropped.

// Test support: a panic with its message is the report.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

mod binaries;
mod certificate;
mod clients;
mod clock;
mod http;
mod network;
mod ports;
mod process;
mod redis_server;
mod relay;
mod seedbook;
mod torrent;
mod wait;

pub use binaries::{binary, binary_folder};
pub use certificate::Certificate;
pub use clients::{
    Aria2, Client, Counters, Deluge, Download, Gid, LibTorrent, QBittorrent, RTorrent, Transfer, Transmission,
};
pub use clock::Clock;
pub use http::page;
pub use network::{Host, Network};
pub use ports::free_port;
pub use process::{Process, processes_in};
pub use redis_server::{RedisFiles, RedisServer};
pub use relay::Relay;
pub use seedbook::{Answer, Service, TRUSTED, Trackerctl, repository};
pub use torrent::Torrent;
pub use wait::{DEADLINE, eventually, eventually_async};
