//! Where in a large swarm a session stands. A smaller one is searched by its fingerprints instead, which are
//! a few cache lines.

use hashbrown::HashTable;

use super::session::{Record, Session, hash};

/// Above so many peers there is an index, and below half as many none.
pub(super) const ABOVE: usize = 1000;

/// Places by peer id. A place fits 32 bits: a swarm of 2^32 peers would take 170 GB.
#[derive(Debug)]
pub(super) struct Index(HashTable<u32>);

impl Index {
    /// An index of all there are.
    pub(super) fn of(records: &[Record]) -> Self {
        let mut index = Self(HashTable::with_capacity(records.len()));
        (0..records.len()).for_each(|place| index.add(place, records));
        index
    }

    pub(super) fn find(&self, session: &Session, records: &[Record]) -> Option<usize> {
        let found = self.0.find(session.hash(), |place| session.is(&records[*place as usize]));
        found.map(|place| *place as usize)
    }

    /// The peer at `place` came.
    pub(super) fn add(&mut self, place: usize, records: &[Record]) {
        let rehash = |place: &u32| hash(&records[*place as usize]);
        self.0.insert_unique(hash(&records[place]), narrow(place), rehash);
    }

    /// The peer at `place` is about to go.
    pub(super) fn forget(&mut self, place: usize, records: &[Record]) {
        if let Ok(entry) = self.0.find_entry(hash(&records[place]), |entry| *entry as usize == place) {
            entry.remove();
        }
    }

    /// The peers at two places are about to change them.
    pub(super) fn swap(&mut self, a: usize, b: usize, records: &[Record]) {
        let find = |place: usize| self.0.find_bucket_index(hash(&records[place]), |p| *p as usize == place);
        // Both are found before either changes: otherwise the second search could meet the first one's new
        // place.
        for (slot, place) in [(find(a), b), (find(b), a)] {
            if let Some(entry) = slot.and_then(|slot| self.0.get_bucket_mut(slot)) {
                *entry = narrow(place);
            }
        }
    }

    /// Gives memory back when less than a quarter of it is in use.
    pub(super) fn shrink(&mut self, records: &[Record]) {
        if self.0.len() * 4 < self.0.capacity() {
            self.0.shrink_to(self.0.len() * 2, |place| hash(&records[*place as usize]));
        }
    }
}

fn narrow(place: usize) -> u32 {
    u32::try_from(place).expect("a swarm has fewer than 2^32 peers")
}
