//! All torrents, in shards that each have a lock of their own, so that cores rarely wait for one another.

use std::hash::BuildHasher;
use std::net::IpAddr;

use contract::{InfoHash, PeerId};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::Mutex;
use rand::Rng;

use super::prefetch::prefetch;
use super::sighting::Sighting;
use super::sweep::sweep;
use super::torrent::Torrent;
use crate::announce::{Choice, Counts, Families, Offers, Role, UserTag};

/// One client's call at one torrent.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The client.
    pub peer_id: PeerId,
    /// Its user, when the tracker knows users: sessions of one user are not offered to each other.
    pub user: Option<UserTag>,
    /// Where it is reached.
    pub ip: IpAddr,
    /// Its port; 0 is counted but not offered.
    pub port: u16,
    /// Its side.
    pub role: Role,
    /// `stopped`: it goes, and wants no peers.
    pub leaving: bool,
    /// `completed`: counted for scrapes.
    pub completed: bool,
    /// How many peers it wants.
    pub num_want: usize,
    /// Which families the reply can carry.
    pub families: Families,
    /// Which peers it gets, as far as there is a choice.
    pub choice: Choice,
}

impl Visit {
    /// What others need to know of it.
    #[must_use]
    pub fn sighting(&self) -> Sighting {
        let &Self { info_hash, peer_id, user, ip, port, role, leaving, completed, .. } = self;
        Sighting { info_hash, peer_id, user, ip, port, role, leaving, completed }
    }
}

/// What the store holds, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Torrents with at least one peer.
    pub torrents: u64,
    /// Clients that seed, each once although it may have two endpoints.
    pub seeders: u64,
    /// Clients that leech, likewise.
    pub leechers: u64,
    /// IPv4 endpoints.
    pub endpoints_v4: u64,
    /// IPv6 endpoints.
    pub endpoints_v6: u64,
}

/// Torrents boxed: the table alone is then small enough to stay in the processor's cache.
pub(super) type Shard = HashTable<Box<Torrent>>;

/// The swarm store. Times are seconds on any clock that does not run backwards and began less than 68 years
/// ago.
#[derive(Debug)]
pub struct Swarms {
    shards: Box<[Mutex<Shard>]>,
    hasher: DefaultHashBuilder,
}

impl Swarms {
    /// An empty store with so many shards (at least one).
    #[must_use]
    pub fn new(shard_count: usize) -> Self {
        let shards = (0..shard_count.max(1)).map(|_| Mutex::default()).collect();
        Self { shards, hasher: DefaultHashBuilder::default() }
    }

    /// How many shards there are: [`Swarms::sweep`] goes through them one by one.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Lets a client in, or out, adds the peers it is offered to `offers`, and counts the swarm.
    pub fn visit(&self, visit: &Visit, now: u32, rng: &mut impl Rng, offers: &mut Offers) -> Counts {
        let counts =
            self.at(&visit.info_hash, visit.leaving, |torrent| torrent.visit(visit, now, rng, offers));
        counts.unwrap_or_default()
    }

    /// Has the memory fetched that visits to these torrents will need, for all of them at the same time. Only
    /// worth it right before them, and for more than one.
    pub fn prefetch(&self, info_hashes: impl Iterator<Item = InfoHash>) {
        let hashes: Vec<u64> = info_hashes.map(|info_hash| self.hash(&info_hash)).collect();
        // The first of its hash is nearly always the one. Whether it is would be known only once it has been
        // fetched.
        for hash in &hashes {
            if let Some(torrent) = self.shard(*hash).lock().iter_hash(*hash).next() {
                prefetch(&**torrent, size_of::<Torrent>());
            }
        }
        for hash in &hashes {
            if let Some(torrent) = self.shard(*hash).lock().iter_hash(*hash).next() {
                torrent.prefetch();
            }
        }
    }

    /// Takes in what somebody else saw at the time `seen`. What is known from later stays. Returns whether
    /// anything changed.
    pub fn learn(&self, sighting: &Sighting, seen: u32) -> bool {
        let changed = self.at(&sighting.info_hash, sighting.leaving, |torrent| torrent.learn(sighting, seen));
        changed.unwrap_or(false)
    }

    /// Changes a torrent, which begins with the first who comes and ends with the last who goes. A stranger's
    /// goodbye must not create one.
    fn at<R>(
        &self,
        info_hash: &InfoHash,
        leaving: bool,
        change: impl FnOnce(&mut Torrent) -> R,
    ) -> Option<R> {
        let hash = self.hash(info_hash);
        let mut shard = self.shard(hash).lock();
        let found = shard.entry(
            hash,
            |torrent| torrent.info_hash == *info_hash,
            |torrent| self.hash(&torrent.info_hash),
        );
        match found {
            Entry::Occupied(mut torrent) => {
                let changed = change(torrent.get_mut());
                if leaving && torrent.get().is_empty() {
                    torrent.remove();
                }
                Some(changed)
            }
            Entry::Vacant(_) if leaving => None,
            Entry::Vacant(place) => Some(change(place.insert(Box::new(Torrent::new(*info_hash))).get_mut())),
        }
    }

    /// Counts one swarm; zeros for one that nobody is in.
    #[must_use]
    pub fn counts(&self, info_hash: &InfoHash) -> Counts {
        let hash = self.hash(info_hash);
        let shard = self.shard(hash).lock();
        shard
            .find(hash, |torrent| torrent.info_hash == *info_hash)
            .map(|torrent| torrent.counts())
            .unwrap_or_default()
    }

    /// Forgets the peers of one shard that were last seen before `oldest`, and the torrents that are empty
    /// then. Returns how many endpoints went. Announces meanwhile wait for a step of it at most.
    pub fn sweep(&self, shard: usize, oldest: u32) -> usize {
        sweep(&self.shards[shard], oldest, |torrent| self.hash(&torrent.info_hash))
    }

    /// Counts everything, shard by shard: exact for each shard, a moment apart between them.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for shard in &self.shards {
            for torrent in shard.lock().iter() {
                let (counts, (v4, v6)) = (torrent.counts(), torrent.endpoints());
                census.torrents += 1;
                census.seeders += u64::from(counts.complete);
                census.leechers += u64::from(counts.incomplete);
                census.endpoints_v4 += v4 as u64;
                census.endpoints_v6 += v6 as u64;
            }
        }
        census
    }

    /// Hashed with a key of its own: whoever makes torrents must not choose their shard.
    fn hash(&self, info_hash: &InfoHash) -> u64 {
        self.hasher.hash_one(info_hash.0)
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        // Tables look at the highest and the lowest bits.
        &self.shards[usize::try_from(hash >> 32).unwrap_or(0) % self.shards.len()]
    }
}
