//! Events to settle.

#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)] // Each test uses a part of it.

pub mod deliveries;
pub mod sessions;

use books::{Entry, EntryId};
use contract::{AddressFamily, Event, InfoHash, Passkey, PeerId, TrafficEvent};

/// 2023-11-14: where the tests' time begins.
pub const T0: u64 = 1_700_000_000;

pub fn passkey(name: &str) -> Passkey {
    name.parse().unwrap()
}

pub fn hash(n: u8) -> InfoHash {
    InfoHash([n; 20])
}

pub fn peer(n: u8) -> PeerId {
    PeerId([n; 20])
}

/// T0 and so many seconds, as the ledger has it.
pub fn ts(offset: u64) -> i64 {
    i64::try_from(T0 + offset).unwrap()
}

/// A seeder's heartbeat of alice, torrent 1, client 1 at `ts`, ten minutes after the one before.
pub fn event(ts: u64) -> TrafficEvent {
    TrafficEvent {
        passkey: passkey("alice"),
        info_hash: hash(1),
        peer_id: peer(1),
        port: 6881,
        ip: [192, 0, 2, 1].into(),
        af: AddressFamily::V4,
        du: 1000,
        dd: 0,
        left: 0,
        event: Event::None,
        ts,
        dt: 600,
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        claim: None,
        extras: contract::Extras::default(),
    }
}

/// An entry that Redis took at the second of its event.
pub fn entry(event: TrafficEvent) -> Entry {
    Entry { id: EntryId::at_ms(event.ts * 1000), event }
}
