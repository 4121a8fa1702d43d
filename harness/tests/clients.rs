//! The clients that people use, together in one swarm per transport: one seeds, every other one completes,
//! and the tracker's records tell of each client what it did, over which family.
//!
//! docs/clients.md says what each client can do, and so why some are missing from some swarms.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod fleet;

use contract::AddressFamily::{self, V4, V6};
use fleet::{Access, Fleet, Kind, TrackerKind, Transport};
use harness::Torrent;

const SIZE: usize = 1024 * 1024;

fn shared_by(kinds: &[Kind], transport: Transport, family: AddressFamily, access: Access, seeder: Kind) {
    let fleet = Fleet::start(kinds, TrackerKind { transport, family, access });
    fleet.share(&Torrent::random("archive.bin", SIZE), seeder);
}

/// Those that send the URL's path over UDP (BEP 41). No other speaks UDP over IPv6 to an address.
const WITH_URL_DATA: [Kind; 2] = [Kind::Deluge, Kind::QBittorrent];

#[test]
fn all_clients_share_a_swarm_over_http_and_ipv4() {
    shared_by(&Kind::ALL, Transport::Http, V4, Access::Passkeys, Kind::Transmission);
}

#[test]
fn all_clients_share_a_swarm_over_http_and_ipv6() {
    shared_by(&Kind::ALL, Transport::Http, V6, Access::Passkeys, Kind::QBittorrent);
}

#[test]
fn all_clients_share_a_swarm_over_https_and_ipv4() {
    shared_by(&Kind::ALL, Transport::Https, V4, Access::Passkeys, Kind::Deluge);
}

#[test]
fn all_clients_share_a_swarm_over_https_and_ipv6() {
    shared_by(&Kind::ALL, Transport::Https, V6, Access::Passkeys, Kind::Aria2);
}

#[test]
fn clients_with_url_data_show_their_passkey_over_udp_and_ipv4() {
    shared_by(&WITH_URL_DATA, Transport::Udp, V4, Access::Passkeys, Kind::Deluge);
}

#[test]
fn clients_with_url_data_show_their_passkey_over_udp_and_ipv6() {
    shared_by(&WITH_URL_DATA, Transport::Udp, V6, Access::Passkeys, Kind::QBittorrent);
}

#[test]
fn all_clients_share_an_open_swarm_over_udp_and_ipv4() {
    shared_by(&Kind::ALL, Transport::Udp, V4, Access::Open, Kind::RTorrent);
}
