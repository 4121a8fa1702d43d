//! The clients that people use, together in one swarm per transport: one seeds, every other one completes, and the tracker's
//! records tell of each client what it did, over which family.
//!
//! docs/clients.md says what each client can do.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod fleet;

use contract::AddressFamily;
use fleet::{Fleet, Kind};
use harness::Torrent;

const SIZE: usize = 1024 * 1024;

#[test]
fn all_clients_share_a_swarm_over_http_and_ipv4() {
    let fleet = Fleet::start(&Kind::ALL, |network, port| format!("http://{}:{port}", network.ipv4()));
    fleet.share(&Torrent::random("http4.bin", SIZE), Kind::Transmission, AddressFamily::V4);
}

#[test]
fn all_clients_share_a_swarm_over_http_and_ipv6() {
    let fleet = Fleet::start(&Kind::ALL, |network, port| format!("http://[{}]:{port}", network.ipv6()));
    fleet.share(&Torrent::random("http6.bin", SIZE), Kind::QBittorrent, AddressFamily::V6);
}
