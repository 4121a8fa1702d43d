//! What the recorder knows of sessions: the snapshots that it booked or was shown last, as the bytes that
//! Redis holds. It need not be right, because Redis compares; it saves asking.
//!
//! Two generations bound it: sessions are looked up in both and kept in the younger, and when that is full
//! the older is forgotten. So a session stays known that announced since.

use arrayvec::ArrayVec;
use contract::{InfoHash, Passkey, PeerId};
use hashbrown::HashMap;
use siphasher::sip128::SipHasher13;

use super::booking::Booking;

/// A session's name: 128 bits of a keyed hash instead of 104 bytes. Nobody can aim at a collision, and one
/// would be found out by the comparison in Redis.
pub(super) type SessionKey = u128;

/// Two ids and the longest passkey.
const NAME_BYTES: usize = 20 + 20 + 64;

/// Snapshots of a bounded number of sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    hasher: SipHasher13,
    young: HashMap<SessionKey, Box<[u8]>>,
    old: HashMap<SessionKey, Box<[u8]>>,
    /// Sessions in one generation.
    most: usize,
}

impl Sessions {
    pub(super) fn new(most: usize) -> Self {
        let hasher = SipHasher13::new_with_keys(rand::random(), rand::random());
        Self { hasher, young: HashMap::new(), old: HashMap::new(), most }
    }

    pub(super) fn key_of(&self, booking: &Booking) -> SessionKey {
        self.key(&booking.passkey, &booking.info_hash, &booking.peer_id)
    }

    fn key(&self, passkey: &Passkey, info_hash: &InfoHash, peer_id: &PeerId) -> SessionKey {
        // The passkey comes last, because it alone has no fixed length.
        let mut name = ArrayVec::<u8, NAME_BYTES>::new();
        name.extend(info_hash.0);
        name.extend(peer_id.0);
        name.extend(passkey.reveal().bytes());
        self.hasher.hash(&name).as_u128()
    }

    pub(super) fn get(&self, key: SessionKey) -> Option<&[u8]> {
        self.young.get(&key).or_else(|| self.old.get(&key)).map(|bytes| &**bytes)
    }

    pub(super) fn keep(&mut self, key: SessionKey, snapshot: &[u8]) {
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, snapshot.into());
    }

    pub(super) fn forget(&mut self, key: SessionKey) {
        self.young.remove(&key);
        self.old.remove(&key);
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
