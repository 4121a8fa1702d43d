//! A batch of visits as bytes, in one entry of the stream.
//!
//! ```text
//! version u8 | writer u64 | visits, each:
//!     flags u8 | age u32 | info hash [20] | peer id [20] | port u16 | address [4] or [16] | user u64, if any
//! ```
//!
//! Numbers are little-endian. The age is in milliseconds when the entry was appended, whose id tells that
//! time: no tracker's clock comes into it. A visit takes 51 to 71 bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;

use contract::{InfoHash, PeerId};
use thiserror::Error;

use crate::announce::{Role, UserTag};
use crate::swarm::Sighting;

/// What this program writes, and the only one it reads.
const VERSION: u8 = 1;

const IPV6: u8 = 1;
const SEEDER: u8 = 1 << 1;
const LEAVING: u8 = 1 << 2;
const COMPLETED: u8 = 1 << 3;
const USER: u8 = 1 << 4;
const KNOWN: u8 = IPV6 | SEEDER | LEAVING | COMPLETED | USER;

/// The tracker process that wrote a batch, as a number drawn at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterId(pub u64);

/// A visit, and how old it was when it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgedVisit {
    /// Which client was where, on which torrent.
    pub sighting: Sighting,
    /// How long before the batch was appended, in milliseconds.
    pub age_ms: u32,
}

/// The visits in one entry of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitBatch {
    /// The tracker process that wrote it.
    pub writer: WriterId,
    /// Visits in the order in which they happened.
    pub visits: Vec<AgedVisit>,
}

/// Why an entry cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// Another release wrote it.
    #[error("its form {0} is not known to this version of the tracker")]
    Version(u8),
    /// No tracker wrote it.
    #[error("it is not a batch of visits")]
    Malformed,
}

impl VisitBatch {
    /// The batch as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + self.visits.len() * 71);
        out.push(VERSION);
        out.extend(self.writer.0.to_le_bytes());
        for visit in &self.visits {
            write(visit, &mut out);
        }
        out
    }

    /// Reads what [`VisitBatch::encode`] wrote.
    ///
    /// # Errors
    /// [`Unreadable`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut rest = ByteReader(bytes);
        let [version] = rest.take().ok_or(Unreadable::Malformed)?;
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        let writer = WriterId(u64::from_le_bytes(rest.take().ok_or(Unreadable::Malformed)?));
        let mut visits = Vec::new();
        while !rest.0.is_empty() {
            visits.push(read(&mut rest).ok_or(Unreadable::Malformed)?);
        }
        Ok(Self { writer, visits })
    }
}

fn write(AgedVisit { sighting, age_ms }: &AgedVisit, out: &mut Vec<u8>) {
    out.push(flags(sighting));
    out.extend(age_ms.to_le_bytes());
    out.extend(sighting.info_hash.0);
    out.extend(sighting.peer_id.0);
    out.extend(sighting.port.to_le_bytes());
    match sighting.ip {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
    out.extend(sighting.user.iter().flat_map(|user| user.0.get().to_le_bytes()));
}

fn flags(sighting: &Sighting) -> u8 {
    let flag = |holds: bool, flag: u8| if holds { flag } else { 0 };
    flag(sighting.ip.is_ipv6(), IPV6)
        | flag(sighting.role == Role::Seeder, SEEDER)
        | flag(sighting.leaving, LEAVING)
        | flag(sighting.completed, COMPLETED)
        | flag(sighting.user.is_some(), USER)
}

fn read(rest: &mut ByteReader<'_>) -> Option<AgedVisit> {
    let [flags] = rest.take()?;
    if flags & !KNOWN != 0 {
        return None;
    }
    let age_ms = u32::from_le_bytes(rest.take()?);
    let (info_hash, peer_id) = (InfoHash(rest.take()?), PeerId(rest.take()?));
    let port = u16::from_le_bytes(rest.take()?);
    let ip = match flags & IPV6 {
        0 => IpAddr::V4(Ipv4Addr::from(rest.take::<4>()?)),
        _ => IpAddr::V6(Ipv6Addr::from(rest.take::<16>()?)),
    };
    let user = match flags & USER {
        0 => None,
        _ => Some(UserTag(NonZeroU64::new(u64::from_le_bytes(rest.take()?))?)),
    };
    let role = if flags & SEEDER == 0 { Role::Leecher } else { Role::Seeder };
    let (leaving, completed) = (flags & LEAVING != 0, flags & COMPLETED != 0);
    let sighting = Sighting { info_hash, peer_id, user, ip, port, role, leaving, completed };
    Some(AgedVisit { sighting, age_ms })
}

struct ByteReader<'a>(&'a [u8]);

impl ByteReader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sighting() -> impl Strategy<Value = Sighting> {
        let ids = (any::<[u8; 20]>(), any::<[u8; 20]>(), any::<Option<NonZeroU64>>());
        let place = (any::<IpAddr>(), any::<u16>());
        (ids, place, any::<[bool; 3]>()).prop_map(
            |((info_hash, peer_id, user), (ip, port), [seeder, leaving, completed])| Sighting {
                info_hash: InfoHash(info_hash),
                peer_id: PeerId(peer_id),
                user: user.map(UserTag),
                ip,
                port,
                role: if seeder { Role::Seeder } else { Role::Leecher },
                leaving,
                completed,
            },
        )
    }

    fn batch() -> impl Strategy<Value = VisitBatch> {
        let visit = (sighting(), any::<u32>()).prop_map(|(sighting, age_ms)| AgedVisit { sighting, age_ms });
        (any::<u64>(), prop::collection::vec(visit, 0..20))
            .prop_map(|(writer, visits)| VisitBatch { writer: WriterId(writer), visits })
    }

    proptest! {
        #[test]
        fn a_batch_is_read_as_it_was_written(batch in batch()) {
            prop_assert_eq!(VisitBatch::decode(&batch.encode()), Ok(batch));
        }

        #[test]
        fn a_batch_that_was_cut_short_loses_whole_visits_or_is_refused(batch in batch(), cut in any::<prop::sample::Index>()) {
            let bytes = batch.encode();
            let cut = cut.index(bytes.len());
            if let Ok(read) = VisitBatch::decode(&bytes[..cut]) {
                prop_assert_eq!(&read.visits[..], &batch.visits[..read.visits.len()]);
                prop_assert_eq!(read.encode().len(), cut);
            }
        }

        #[test]
        fn what_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [vec![VERSION], bytes].concat();
            if let Ok(batch) = VisitBatch::decode(&bytes) {
                prop_assert_eq!(batch.encode(), bytes);
            }
        }
    }

    #[test]
    fn other_forms_are_told_from_nonsense() {
        assert_eq!(VisitBatch::decode(b""), Err(Unreadable::Malformed));
        assert_eq!(VisitBatch::decode(b"\x02whatever"), Err(Unreadable::Version(2)));
        assert_eq!(VisitBatch::decode(b"\x01short"), Err(Unreadable::Malformed));
    }
}
