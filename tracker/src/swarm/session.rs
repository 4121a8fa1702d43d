//! A peer's identity: 28 bytes by which sessions are told apart, and a fingerprint of one byte that rules
//! nearly all other sessions out at a glance.

use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::sync::LazyLock;

use contract::PeerId;
use hashbrown::DefaultHashBuilder;

use crate::announce::UserTag;

/// What a record begins with: the peer id, then the user's tag, 0 when there is none.
const NAME: usize = 28;
const ID: usize = 20;

/// Peer ids are chosen by clients, who must not choose collisions.
static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

/// One client of one user at one torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    name: [u8; NAME],
    /// All sessions of one user share it, so that it also finds those that are not offered to each other.
    fingerprint: u8,
    owner: Owner,
}

/// Whose sessions are not offered to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// All of its user.
    User,
    /// Only its own: the tracker does not know users.
    Nobody,
}

/// A session as a torrent keeps it: its name, and when it was seen, in seconds, with the lowest bit for
/// "dual".
pub(super) type Record = [u8; NAME + 4];

/// The latest time that a record holds: 68 years on the swarm's clock.
const LATEST: u32 = u32::MAX >> 1;

impl Session {
    pub(super) fn new(peer_id: PeerId, user: Option<UserTag>) -> Self {
        let mut name = [0; NAME];
        let (id, tag) = name.split_at_mut(ID);
        id.copy_from_slice(&peer_id.0);
        tag.copy_from_slice(&user.map_or(0, |user| user.0.get()).to_le_bytes());
        let (hash, owner) = match user {
            Some(user) => (HASHER.hash_one(user.0), Owner::User),
            None => (HASHER.hash_one(peer_id.0), Owner::Nobody),
        };
        // Not the bits that choose a place in an index.
        Self { name, fingerprint: hash.to_be_bytes()[3], owner }
    }

    pub(super) fn of(record: &Record) -> Self {
        Self::new(peer_id(record), user(record))
    }

    pub(super) fn fingerprint(&self) -> u8 {
        self.fingerprint
    }

    pub(super) fn record(&self, seen: u32, dual: bool) -> Record {
        let mut record = [0; NAME + 4];
        record[..NAME].copy_from_slice(&self.name);
        stamp(&mut record, seen, dual);
        record
    }

    /// Whether the record is of this session.
    pub(super) fn is(&self, record: &Record) -> bool {
        record[..NAME] == self.name
    }

    /// Whether the record is of this session or another one of its user.
    pub(super) fn owns(&self, record: &Record) -> bool {
        match self.owner {
            Owner::User => record[ID..NAME] == self.name[ID..],
            Owner::Nobody => self.is(record),
        }
    }

    /// For an index of peer ids.
    pub(super) fn hash(&self) -> u64 {
        HASHER.hash_one(&self.name[..ID])
    }
}

pub(super) fn hash(record: &Record) -> u64 {
    HASHER.hash_one(&record[..ID])
}

pub(super) fn peer_id(record: &Record) -> PeerId {
    let mut id = [0; ID];
    id.copy_from_slice(&record[..ID]);
    PeerId(id)
}

fn user(record: &Record) -> Option<UserTag> {
    let mut tag = [0; NAME - ID];
    tag.copy_from_slice(&record[ID..NAME]);
    NonZeroU64::new(u64::from_le_bytes(tag)).map(UserTag)
}

/// When it was seen.
pub(super) fn seen(record: &Record) -> u32 {
    stamp_of(record) >> 1
}

/// Whether the same session is also in the torrent's other family.
pub(super) fn is_dual(record: &Record) -> bool {
    stamp_of(record) & 1 == 1
}

pub(super) fn stamp(record: &mut Record, seen: u32, dual: bool) {
    let stamp = seen.min(LATEST) << 1 | u32::from(dual);
    record[NAME..].copy_from_slice(&stamp.to_le_bytes());
}

fn stamp_of(record: &Record) -> u32 {
    let mut stamp = [0; 4];
    stamp.copy_from_slice(&record[NAME..]);
    u32::from_le_bytes(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(tag: u64) -> Option<UserTag> {
        NonZeroU64::new(tag).map(UserTag)
    }

    #[test]
    fn a_record_keeps_all_of_a_session() {
        for session in [Session::new(PeerId([7; 20]), user(9)), Session::new(PeerId([0; 20]), None)] {
            let mut record = session.record(123, true);
            assert!(session.is(&record) && Session::of(&record) == session);
            assert_eq!((seen(&record), is_dual(&record), hash(&record)), (123, true, session.hash()));
            stamp(&mut record, u32::MAX, false);
            assert_eq!((seen(&record), is_dual(&record)), (LATEST, false));
            assert!(session.is(&record));
        }
    }

    #[test]
    fn a_user_owns_all_of_its_sessions_and_a_stranger_only_its_own() {
        let record = |id, tag| Session::new(PeerId([id; 20]), user(tag)).record(0, false);
        let (alice, stranger) = (Session::new(PeerId([1; 20]), user(9)), Session::new(PeerId([1; 20]), None));
        assert!(alice.owns(&record(2, 9)) && !alice.is(&record(2, 9)));
        assert!(!alice.owns(&record(1, 8)));
        assert!(stranger.owns(&record(1, 0)) && !stranger.owns(&record(2, 0)));
        let other = Session::new(PeerId([2; 20]), user(9));
        assert_eq!(alice.fingerprint(), other.fingerprint(), "it is the user's");
    }
}
