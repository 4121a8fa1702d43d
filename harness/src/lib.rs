//! Real things for tests: a Redis of the test's own, Seedbook's own binaries, BitTorrent clients in network
//! namespaces. Each starts on free ports in a temporary folder and stops when it is dropped.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // Test support: a panic with its message is the report.

mod certificate;
mod clients;
mod http;
mod network;
mod process;
mod redis_server;
mod seedbook;
mod torrent;
mod wait;

pub use certificate::Certificate;
pub use clients::{Aria2, Client, Deluge, Download, Gid, QBittorrent, RTorrent, Transfer, Transmission};
pub use http::page;
pub use network::{Host, Network};
pub use process::{Process, processes_in};
pub use redis_server::RedisServer;
pub use seedbook::{Answer, Service, TRUSTED, Trackerctl, binary, binary_folder, repository};
pub use torrent::Torrent;
pub use wait::{DEADLINE, eventually, eventually_async};

/// A TCP port on loopback that was free a moment ago.
#[must_use]
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}
