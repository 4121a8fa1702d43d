//! Forgetting silent peers, in steps so short that no announce waits for more than one: after each step the
//! sweep releases the shard's lock, and announces that wait for it go first.
//!
//! Only a swarm, or a table, that has become much too large for the peers that are left is copied in one go,
//! once.
//!
//! An announce between two steps may move a peer past the sweep's place. The next sweep meets that peer.

use std::ops::Range;

use parking_lot::{Mutex, MutexGuard};

use super::store::Shard;
use super::torrent::Torrent;

/// Peers, or places of the table, that one step looks at: some tens of microseconds when all of them go.
const STEP: usize = 256;

/// How far a sweep got in a torrent: places below these are still to be looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub(super) v4: usize,
    pub(super) v6: usize,
}

impl Walk {
    const BEGIN: Self = Self { v4: usize::MAX, v6: usize::MAX };

    pub(super) fn is_over(&self) -> bool {
        self.v4 == 0 && self.v6 == 0
    }

    /// The next places to look at of a family that has `len`.
    pub(super) fn next(below: &mut usize, len: usize) -> Range<usize> {
        let end = len.min(*below);
        *below = end.saturating_sub(STEP);
        *below..end
    }
}

/// Forgets the peers of a shard that were last seen before `oldest`. Returns how many.
pub(super) fn sweep(shard: &Mutex<Shard>, oldest: u32, hash: impl Fn(&Box<Torrent>) -> u64) -> usize {
    let mut torrents = shard.lock();
    let (mut bucket, mut walk, mut expired) = (0, Walk::BEGIN, 0);
    while bucket < torrents.num_buckets() {
        expired += step(&mut torrents, oldest, &mut bucket, &mut walk);
        MutexGuard::bump(&mut torrents);
    }
    if torrents.len() * 4 < torrents.capacity() {
        torrents.shrink_to_fit(hash);
    }
    expired
}

/// Looks at so many places of the table, or at so many peers.
fn step(torrents: &mut Shard, oldest: u32, bucket: &mut usize, walk: &mut Walk) -> usize {
    let (mut looked_at, mut expired) = (0, 0);
    while looked_at < STEP && *bucket < torrents.num_buckets() {
        looked_at += 1;
        if let Ok(mut torrent) = torrents.get_bucket_entry(*bucket) {
            looked_at += torrent.get().len().min(STEP);
            expired += torrent.get_mut().expire(oldest, walk);
            if torrent.get().is_empty() {
                torrent.remove();
            } else if !walk.is_over() {
                continue;
            }
        }
        (*bucket, *walk) = (*bucket + 1, Walk::BEGIN);
    }
    expired
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::Role;
    use crate::swarm::Sighting;
    use contract::{InfoHash, PeerId};
    use hashbrown::HashTable;

    /// Seen at the time of their number.
    fn swarm_of(peers: u16) -> Torrent {
        let mut torrent = Torrent::new(InfoHash([1; 20]));
        for number in 0..peers {
            let mut id = [0; 20];
            id[..2].copy_from_slice(&number.to_be_bytes());
            let sighting = Sighting {
                info_hash: torrent.info_hash,
                peer_id: PeerId(id),
                user: None,
                ip: [192, 0, 2, 1].into(),
                port: 6881,
                role: if number % 3 == 0 { Role::Leecher } else { Role::Seeder },
                leaving: false,
                completed: false,
            };
            torrent.learn(&sighting, number.into());
        }
        torrent
    }

    #[test]
    fn a_huge_swarm_is_swept_in_steps_and_nobody_is_passed_over() {
        let mut torrents = HashTable::new();
        torrents.insert_unique(0, Box::new(swarm_of(10_000)), |_| 0);
        let (mut bucket, mut walk, mut expired, mut steps) = (0, Walk::BEGIN, 0, 0);
        while bucket < torrents.num_buckets() {
            let gone = step(&mut torrents, 4000, &mut bucket, &mut walk);
            assert!(gone <= 2 * STEP, "{gone} in one step");
            (expired, steps) = (expired + gone, steps + 1);
        }
        assert_eq!(expired, 4000);
        assert!(steps >= 10_000 / STEP);
        assert_eq!(torrents.iter().map(|torrent| torrent.len()).sum::<usize>(), 6000);
    }

    #[test]
    fn a_torrent_that_nobody_is_in_any_more_is_gone() {
        let shard = Mutex::new(HashTable::new());
        for (hash, peers) in [(1, 3), (2, 700), (3, 100)] {
            shard.lock().insert_unique(hash, Box::new(swarm_of(peers)), |torrent| torrent.len() as u64);
        }
        assert_eq!(sweep(&shard, 100, |torrent| torrent.len() as u64), 203);
        assert_eq!(shard.lock().iter().map(|torrent| torrent.len()).collect::<Vec<_>>(), [600]);
        assert_eq!(sweep(&shard, 1000, |torrent| torrent.len() as u64), 600);
        assert!(shard.lock().is_empty());
    }
}
