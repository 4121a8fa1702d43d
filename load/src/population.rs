//! The torrents, sessions, addresses and passkeys of a load. All of them follow from the options and the
//! seed, so that a session costs a few bytes and two runs are about the same clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use contract::{InfoHash, Passkey, PeerId};

use crate::draw::{belongs, mix};
use crate::settings::Swarms;

/// Made-up IPv4 addresses: a public network, because trackers may hide private ones. Nothing is ever sent
/// there.
const MADE_UP_V4: u32 = 0x0b00_0000;
/// Made-up IPv6 addresses: the network for documentation (RFC 3849).
const MADE_UP_V6: u128 = 0x2001_0db8 << 96;
/// Ports below are not offered by some trackers.
const FIRST_PORT: u32 = 1024;
const PORTS: u32 = 65_536 - FIRST_PORT;

/// Torrents, sessions, users.
#[derive(Debug)]
pub(crate) struct Population {
    hashes: Vec<InfoHash>,
    sessions: u32,
    passkeys: Vec<Passkey>,
    zipf: f64,
    seeders: f64,
    ipv6: f64,
    seed: u64,
}

impl Population {
    pub(crate) fn new(swarms: &Swarms, passkeys: Vec<Passkey>) -> Self {
        let seed = mix(swarms.seed);
        Self {
            hashes: (0..swarms.torrents).map(|torrent| info_hash(seed, torrent)).collect(),
            sessions: swarms.peers,
            passkeys,
            zipf: swarms.zipf,
            seeders: swarms.seeders,
            ipv6: swarms.ipv6,
            seed,
        }
    }

    /// The torrent of each session, in order: those of one torrent are neighbours. Where there are enough
    /// sessions, no torrent is without one.
    pub(crate) fn torrents_of_sessions(&self) -> impl Iterator<Item = u32> {
        let torrents = u32::try_from(self.hashes.len()).unwrap_or(u32::MAX);
        let weights = move |torrent: u32| f64::from(torrent + 1).powf(-self.zipf);
        let total: f64 = (0..torrents).map(weights).sum();
        let reserved = if self.sessions >= torrents { 1.0 } else { 0.0 };
        let shared = f64::from(self.sessions) - reserved * f64::from(torrents);
        let (mut weight, mut session) = (0.0, 0);
        (0..torrents).flat_map(move |torrent| {
            weight += weights(torrent);
            let last = torrent + 1 == torrents;
            let end = shared * weight / total + reserved * f64::from(torrent + 1);
            let first = session;
            // The last torrent takes what rounding left over.
            while session < self.sessions && (last || f64::from(session) + 0.5 < end) {
                session += 1;
            }
            (first..session).map(move |_| torrent)
        })
    }

    /// All torrents, the largest first.
    pub(crate) fn into_hashes(self) -> impl Iterator<Item = InfoHash> {
        self.hashes.into_iter()
    }

    pub(crate) fn hash(&self, torrent: u32) -> &InfoHash {
        &self.hashes[torrent as usize]
    }

    /// Letters and digits only, as most clients' ids: nothing in it needs escaping.
    pub(crate) fn peer_id(&self, session: u32) -> PeerId {
        let mut id = *b"-SB0001-000000000000";
        let number = (self.seed & 0xffff) << 32 | u64::from(session);
        for (place, digit) in id[8..].iter_mut().enumerate() {
            *digit = hex_digit(number >> (44 - 4 * place));
        }
        PeerId(id)
    }

    /// Neighbours have ports of their own, so that trackers which know clients by address and port tell them
    /// apart.
    pub(crate) fn port(&self, session: u32) -> u16 {
        u16::try_from(FIRST_PORT + session % PORTS).unwrap_or(u16::MAX)
    }

    /// An address of the session's own, for trackers that can be told one, of either family.
    pub(crate) fn address(&self, session: u32) -> IpAddr {
        if belongs(self.seed ^ u64::from(session) ^ (6 << 40), self.ipv6) {
            return self.v6(session).into();
        }
        self.v4(session).into()
    }

    /// As [`Population::address`], IPv4.
    pub(crate) fn v4(&self, session: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(MADE_UP_V4 | ((session + 1) & 0x00ff_ffff))
    }

    /// As [`Population::address`], IPv6.
    pub(crate) fn v6(&self, session: u32) -> Ipv6Addr {
        Ipv6Addr::from_bits(MADE_UP_V6 | u128::from(session + 1))
    }

    /// Whether a session begins as a seeder.
    pub(crate) fn seeds(&self, session: u32) -> bool {
        belongs(self.seed ^ u64::from(session) ^ (1 << 40), self.seeders)
    }

    /// Neighbours in a swarm are different users, as far as there are enough of them.
    pub(crate) fn passkey(&self, session: u32) -> Option<&str> {
        let user = (session as usize).checked_rem(self.passkeys.len())?;
        Some(self.passkeys[user].reveal())
    }
}

fn info_hash(seed: u64, torrent: u32) -> InfoHash {
    let mut hash = [0; 20];
    for (part, bytes) in (1u64..).zip(hash.chunks_mut(8)) {
        let drawn = mix(seed ^ (part << 32 | u64::from(torrent))).to_be_bytes();
        bytes.copy_from_slice(&drawn[..bytes.len()]);
    }
    InfoHash(hash)
}

/// The digit of the lowest four bits.
pub(crate) fn hex_digit(number: u64) -> u8 {
    b"0123456789abcdef"[(number & 0xf) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn population(torrents: u32, peers: u32, zipf: f64) -> Population {
        Population {
            hashes: (0..torrents).map(|torrent| info_hash(1, torrent)).collect(),
            sessions: peers,
            passkeys: Vec::new(),
            zipf,
            seeders: 0.5,
            ipv6: 0.5,
            seed: 1,
        }
    }

    fn sizes(population: &Population) -> Vec<usize> {
        let mut sizes = vec![0; population.hashes.len()];
        population.torrents_of_sessions().for_each(|torrent| sizes[torrent as usize] += 1);
        sizes
    }

    #[test]
    fn every_session_has_a_torrent_and_sizes_follow_the_exponent() {
        assert_eq!(sizes(&population(4, 12, 0.0)), [3, 3, 3, 3]);
        let zipf = sizes(&population(100, 100_000, 1.0));
        assert_eq!(zipf.iter().sum::<usize>(), 100_000);
        assert!((1.9..2.1).contains(&(zipf[0] as f64 / zipf[1] as f64)), "{zipf:?}");
        assert!(*zipf.last().unwrap() > 100);
        assert!(sizes(&population(1000, 1001, 2.0)).iter().all(|size| *size > 0));
        assert_eq!(sizes(&population(1000, 10, 1.0)).iter().sum::<usize>(), 10);
    }

    #[test]
    fn sessions_differ_in_id_and_address_and_torrents_in_hash() {
        let population = population(500, 20_000, 1.0);
        let sessions = 0..20_000;
        assert_eq!(sessions.clone().map(|one| population.peer_id(one)).collect::<HashSet<_>>().len(), 20_000);
        assert_eq!(sessions.clone().map(|one| population.address(one)).collect::<HashSet<_>>().len(), 20_000);
        let v6 = sessions.filter(|one| population.address(*one).is_ipv6()).count();
        assert!((9500..10_500).contains(&v6), "{v6}");
        assert_eq!(population.hashes.iter().collect::<HashSet<_>>().len(), 500);
    }
}
