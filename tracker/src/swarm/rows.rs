//! The bytes of a torrent's peers in one family: all fingerprints, then all endpoints, then all records, in
//! one allocation.
//!
//! One allocation, because most torrents are small and three headers would weigh as much as their peers;
//! apart, because a search reads fingerprints, a reply copies endpoints, and neither wants the rest in the
//! cache. Room is taken in the allocator's own sizes, four for each doubling, so that none of it is wasted
//! between a size asked for and the size given.

use super::prefetch::prefetch;
use super::session::{self, Record, Session};

const RECORD: usize = size_of::<Record>();
/// Fingerprints and endpoints of a swarm of 146 peers, or the fingerprints of the largest without an index.
const FETCHED: usize = 1024;
/// Below so many bytes nothing is given back.
const SMALL: usize = 512;

/// Peers by place: 0 to `len() - 1`. `N` is the length of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Rows<const N: usize> {
    bytes: Box<[u8]>,
    len: u32,
}

impl<const N: usize> Rows<N> {
    /// What one peer takes.
    const ROW: usize = 1 + N + RECORD;

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    fn capacity(&self) -> usize {
        self.bytes.len() / Self::ROW
    }

    pub(super) fn fingerprints(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    pub(super) fn endpoints(&self) -> &[[u8; N]] {
        let begin = self.capacity();
        self.bytes[begin..begin + self.len() * N].as_chunks().0
    }

    pub(super) fn records(&self) -> &[Record] {
        let begin = self.capacity() * (1 + N);
        self.bytes[begin..begin + self.len() * RECORD].as_chunks().0
    }

    pub(super) fn record(&self, place: usize) -> &Record {
        &self.records()[place]
    }

    pub(super) fn records_mut(&mut self) -> &mut [Record] {
        let begin = self.capacity() * (1 + N);
        let end = begin + self.len() * RECORD;
        self.bytes[begin..end].as_chunks_mut().0
    }

    pub(super) fn endpoints_mut(&mut self) -> &mut [[u8; N]] {
        let begin = self.capacity();
        let end = begin + self.len() * N;
        self.bytes[begin..end].as_chunks_mut().0
    }

    /// Adds a peer behind the last one.
    pub(super) fn push(&mut self, session: &Session, endpoint: [u8; N], seen: u32) {
        let place = self.len();
        if place == self.capacity() {
            self.resize(place + 1);
        }
        // Places fit 32 bits: a swarm of 2^32 peers would take 170 GB.
        self.len += 1;
        self.bytes[place] = session.fingerprint();
        self.endpoints_mut()[place] = endpoint;
        self.records_mut()[place] = session.record(seen, false);
    }

    /// Forgets the last peer.
    pub(super) fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
    }

    pub(super) fn swap(&mut self, a: usize, b: usize) {
        self.bytes.swap(a, b);
        self.endpoints_mut().swap(a, b);
        self.records_mut().swap(a, b);
    }

    /// Has the memory fetched that a search and a pick begin with.
    pub(super) fn prefetch(&self) {
        prefetch(&self.bytes[..self.capacity() * (1 + N)], FETCHED);
    }

    /// Gives memory back when less than half of it is in use.
    pub(super) fn shrink(&mut self) {
        let spacious = self.bytes.len() > SMALL && self.len() * 2 < self.capacity();
        if self.len == 0 {
            self.bytes = Box::default();
        } else if spacious {
            self.resize(self.len() * 5 / 4);
        }
    }

    fn resize(&mut self, peers: usize) {
        let capacity = allocated(peers * Self::ROW) / Self::ROW;
        let mut grown = Self { bytes: vec![0; capacity * Self::ROW].into_boxed_slice(), len: self.len };
        let len = self.len();
        grown.bytes[..len].copy_from_slice(self.fingerprints());
        grown.endpoints_mut().copy_from_slice(self.endpoints());
        grown.records_mut().copy_from_slice(self.records());
        *self = grown;
    }
}

/// The bytes that are taken when so many are asked for: jemalloc's size classes, and nearly those of others.
fn allocated(bytes: usize) -> usize {
    let step = match bytes {
        0..=128 => 16,
        _ => 1 << ((bytes - 1).ilog2() - 2),
    };
    bytes.next_multiple_of(step)
}

impl<const N: usize> Rows<N> {
    /// The session at a place.
    pub(super) fn session(&self, place: usize) -> Session {
        Session::of(self.record(place))
    }

    /// When the peer at a place was seen.
    pub(super) fn seen(&self, place: usize) -> u32 {
        session::seen(self.record(place))
    }

    /// Whether the peer at a place is also in the torrent's other family.
    pub(super) fn is_dual(&self, place: usize) -> bool {
        session::is_dual(self.record(place))
    }

    pub(super) fn stamp(&mut self, place: usize, seen: u32, dual: bool) {
        session::stamp(&mut self.records_mut()[place], seen, dual);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::PeerId;

    fn session(number: u16) -> Session {
        let mut id = [0; 20];
        id[..2].copy_from_slice(&number.to_be_bytes());
        Session::new(PeerId(id), None)
    }

    #[test]
    fn sizes_are_those_that_the_allocator_gives() {
        let sizes = [1, 16, 17, 128, 129, 160, 161, 256, 257, 3900, 4096, 4097, 14_337, 20_481];
        let given = [16, 16, 32, 128, 160, 160, 192, 256, 320, 4096, 4096, 5120, 16_384, 24_576];
        assert_eq!(sizes.map(allocated), given);
    }

    #[test]
    fn peers_keep_their_places_while_room_is_taken_and_given_back() {
        let mut rows = Rows::<6>::default();
        for number in 0..1000_u16 {
            let [a, b] = number.to_be_bytes();
            rows.push(&session(number), [a, b, 0, 0, 0, 1], number.into());
        }
        assert!(rows.bytes.len() < 1200 * Rows::<6>::ROW);
        while rows.len() > 100 {
            rows.pop();
            rows.shrink();
        }
        assert!(rows.bytes.len() < 250 * Rows::<6>::ROW, "{}", rows.bytes.len());
        rows.swap(3, 99);
        for (place, number) in [(3_usize, 99_u16), (99, 3), (50, 50)] {
            let [a, b] = number.to_be_bytes();
            assert_eq!(rows.endpoints()[place], [a, b, 0, 0, 0, 1]);
            assert!(session(number).is(rows.record(place)) && rows.seen(place) == u32::from(number));
            assert_eq!(rows.fingerprints()[place], session(number).fingerprint());
        }
        (0..100).for_each(|_| rows.pop());
        rows.shrink();
        assert!(rows.bytes.is_empty());
    }
}
