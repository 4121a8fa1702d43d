//! A map with room for so many entries, which makes room by forgetting those that are over.

use std::hash::Hash;

use hashbrown::HashMap;

/// A map this small is not worth sweeping.
const MIN_SWEEP: usize = 1024;
/// A full map in which nothing is over is not searched again at every announce.
const SWEEP_PAUSE_SECS: u32 = 10;

#[derive(Debug)]
pub(super) struct Room<K, V> {
    entries: HashMap<K, V>,
    most: usize,
    /// Twice the size that the last sweep left: then sweeping costs each new entry little.
    sweep_at: usize,
    swept: u32,
}

impl<K: Eq + Hash, V> Room<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), most, sweep_at: MIN_SWEEP, swept: 0 }
    }

    /// The entry, a new one if there is none; `None` when there is no room for it. `is_over` says what may be
    /// forgotten.
    pub(super) fn entry(
        &mut self,
        key: K,
        now: u32,
        is_over: impl Fn(&V) -> bool,
        new: impl FnOnce() -> V,
    ) -> Option<&mut V> {
        if self.entries.len() >= self.sweep_at && !self.entries.contains_key(&key) {
            self.sweep(now, is_over);
            if self.entries.len() >= self.most {
                return None;
            }
        }
        Some(self.entries.entry(key).or_insert_with(new))
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }

    fn sweep(&mut self, now: u32, is_over: impl Fn(&V) -> bool) {
        if self.entries.len() >= self.most && now.saturating_sub(self.swept) < SWEEP_PAUSE_SECS {
            return;
        }
        self.entries.retain(|_, entry| !is_over(entry));
        self.sweep_at = (self.entries.len() * 2).clamp(MIN_SWEEP.min(self.most), self.most);
        self.swept = now;
    }

    #[cfg(test)]
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_room_forgets_what_is_over_before_it_turns_anybody_away() {
        let mut room = Room::new(5000);
        let mut enter =
            |key: u32, now: u32| room.entry(key, now, |until| *until <= now, || now + 100).is_some();
        assert!((0..5000).all(|key| enter(key, 0)));
        assert!((5000..6000).all(|key| !enter(key, 50)));
        assert!(enter(17, 50), "who is in stays in");
        assert!((5000..10_000).all(|key| enter(key, 100)));
        assert!(!enter(10_000, 100));
        assert!(room.values().count() <= 5000);
    }
}
