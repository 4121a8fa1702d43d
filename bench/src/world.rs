//! A site that is the same in every run: its users, torrents and sessions, and what they announce in which
//! order.
//!
//! Everything follows from a number, so that a hundred million events need no memory.

use std::net::{IpAddr, Ipv4Addr};

use books::{Entry, EntryId};
use contract::{AddressFamily, Claim, Event, InfoHash, Passkey, PeerId, TrafficEvent};

/// Unix seconds of the first event: 2023-11-14.
const BEGIN: u64 = 1_700_000_000;
/// Seconds between two announces of a session.
pub const INTERVAL: u32 = 1800;

/// How large the site is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct World {
    /// Users.
    pub users: u64,
    /// Torrents.
    pub torrents: u64,
    /// Sessions: a user's client on one torrent.
    pub sessions: u64,
}

impl World {
    /// 10^4 users who have 10^5 sessions on 10^4 torrents.
    pub const SITE: Self = Self { users: 10_000, torrents: 10_000, sessions: 100_000 };

    /// The user's passkey: 32 characters.
    #[must_use]
    pub fn passkey(&self, session: u64) -> Passkey {
        let user = scatter(session) % self.users;
        let text = format!("{:016x}{:016x}", scatter(user ^ 1 << 40), scatter(user ^ 1 << 41));
        text.parse().expect("hexadecimal digits make a passkey")
    }

    /// The torrent of a session. Sessions are dealt out in turn, so that every swarm has the same size.
    #[must_use]
    pub fn info_hash(&self, session: u64) -> InfoHash {
        InfoHash(twenty_bytes(session % self.torrents, 1 << 42))
    }

    /// The client.
    #[must_use]
    pub fn peer_id(&self, session: u64) -> PeerId {
        let mut id = twenty_bytes(session, 1 << 43);
        id[..8].copy_from_slice(b"-TR4060-");
        PeerId(id)
    }

    /// Where the client is reached: a public address of its own.
    #[must_use]
    pub fn address(&self, session: u64) -> (IpAddr, u16) {
        let number = u32::try_from(session & 0x03ff_ffff).unwrap_or_default();
        let port = u16::try_from(scatter(session) % 50_000).unwrap_or_default() + 10_000;
        (Ipv4Addr::from(0x5000_0000 + number).into(), port)
    }

    /// Whether the session seeds: two of three do.
    #[must_use]
    pub fn seeds(&self, session: u64) -> bool {
        !scatter(session ^ 1 << 44).is_multiple_of(3)
    }

    /// The event of this number: sessions announce one after the other, all of them once in an interval.
    #[must_use]
    pub fn event(&self, number: u64) -> TrafficEvent {
        let (turn, session) = (number / self.sessions, number % self.sessions);
        let (ip, port) = self.address(session);
        let seeds = self.seeds(session);
        let moved = scatter(session) % 500_000_000;
        let (du, dd) = (moved, if seeds { 0 } else { moved / 2 });
        let ts = BEGIN + turn * u64::from(INTERVAL) + session * u64::from(INTERVAL) / self.sessions;
        let (tu, td) = (du * (turn + 1), dd * (turn + 1));
        TrafficEvent {
            passkey: self.passkey(session),
            info_hash: self.info_hash(session),
            peer_id: self.peer_id(session),
            port,
            ip,
            af: AddressFamily::V4,
            du,
            dd,
            left: if seeds { 0 } else { 1_000_000_000 },
            event: if turn == 0 { Event::Started } else { Event::None },
            ts,
            dt: if turn == 0 { 0 } else { u64::from(INTERVAL) },
            interval: INTERVAL,
            min_interval: INTERVAL / 2,
            fd: None,
            pd: None,
            claim: Some(Claim {
                at_ms: ts * 1000,
                up: tu,
                down: td,
                born_ms: BEGIN * 1000 + session,
                tu,
                td,
                n: number + 1,
            }),
            extras: contract::Extras::default(),
        }
    }

    /// The event of this number with its place in the stream.
    #[must_use]
    pub fn entry(&self, number: u64) -> Entry {
        let event = self.event(number);
        Entry { id: EntryId { ms: event.ts * 1000, seq: number }, event }
    }
}

/// A number that looks random and follows from `number` (splitmix64).
#[must_use]
pub fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn twenty_bytes(number: u64, salt: u64) -> [u8; 20] {
    let mut bytes = [0; 20];
    for (place, chunk) in bytes.chunks_mut(8).enumerate() {
        let word = scatter(number ^ salt ^ (place as u64) << 45).to_be_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_events_have_the_same_key_and_time_rises() {
        let world = World { users: 10, torrents: 20, sessions: 100 };
        let events: Vec<_> = (0..1000).map(|number| world.event(number)).collect();
        assert!(events.is_sorted_by_key(|event| event.ts));
        let keys: HashSet<_> = events.iter().map(|e| (e.passkey, e.info_hash, e.peer_id, e.ts)).collect();
        assert_eq!(keys.len(), 1000);
    }

    #[test]
    fn swarms_are_of_one_size_and_users_are_as_many_as_asked_for() {
        let world = World { users: 10, torrents: 20, sessions: 1000 };
        let count = |wanted| (0..1000).filter(|session| world.info_hash(*session) == wanted).count();
        assert_eq!(count(world.info_hash(3)), 50);
        let users: HashSet<_> = (0..1000).map(|session| world.passkey(session)).collect();
        assert_eq!(users.len(), 10);
    }
}
