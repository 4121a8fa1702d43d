//! All torrents, in shards that each have a lock of their own, so that cores rarely wait for one another.

use std::hash::BuildHasher;
use std::net::IpAddr;

use contract::{InfoHash, PeerId};
use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;
use rand::Rng;

use super::sighting::Sighting;
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
    /// Seeding clients.
    pub seeders: u64,
    /// Downloading clients.
    pub leechers: u64,
    /// IPv4 endpoints.
    pub endpoints_v4: u64,
    /// IPv6 endpoints.
    pub endpoints_v6: u64,
}

/// The swarm store. Times are seconds on any clock that does not run backwards.
#[derive(Debug)]
pub struct Swarms {
    shards: Box<[Mutex<HashMap<InfoHash, Torrent>>]>,
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
        let mut shard = self.shard(&visit.info_hash).lock();
        if visit.leaving {
            // A stranger's goodbye must not create a torrent.
            let Some(torrent) = shard.get_mut(&visit.info_hash) else { return Counts::default() };
            let counts = torrent.visit(visit, now, rng, offers);
            if torrent.is_empty() {
                shard.remove(&visit.info_hash);
            }
            return counts;
        }
        shard.entry(visit.info_hash).or_default().visit(visit, now, rng, offers)
    }

    /// Takes in what somebody else saw at the time `seen`. What is known from later stays. Returns whether anything changed.
    pub fn learn(&self, sighting: &Sighting, seen: u32) -> bool {
        let mut shard = self.shard(&sighting.info_hash).lock();
        if !sighting.leaving {
            return shard.entry(sighting.info_hash).or_default().learn(sighting, seen);
        }
        let Some(torrent) = shard.get_mut(&sighting.info_hash) else { return false };
        let changed = torrent.learn(sighting, seen);
        if torrent.is_empty() {
            shard.remove(&sighting.info_hash);
        }
        changed
    }

    /// Counts one swarm; zeros for one that nobody is in.
    #[must_use]
    pub fn counts(&self, info_hash: &InfoHash) -> Counts {
        self.shard(info_hash).lock().get(info_hash).map(Torrent::counts).unwrap_or_default()
    }

    /// Forgets the peers of one shard that were last seen before `oldest`, and the torrents that are empty then.
    /// Returns how many endpoints went. One shard at a time, so that no announce waits for the whole store.
    pub fn sweep(&self, shard: usize, oldest: u32) -> usize {
        let mut torrents = self.shards[shard].lock();
        let mut expired = 0;
        torrents.retain(|_, torrent| {
            expired += torrent.expire(oldest);
            !torrent.is_empty()
        });
        if torrents.len() * 4 < torrents.capacity() {
            torrents.shrink_to_fit();
        }
        expired
    }

    /// Counts everything, shard by shard: exact for each shard, a moment apart between them.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for shard in &self.shards {
            for torrent in shard.lock().values() {
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

    fn shard(&self, info_hash: &InfoHash) -> &Mutex<HashMap<InfoHash, Torrent>> {
        // Hashed with a key of its own: whoever makes torrents must not choose their shard.
        let hash = self.hasher.hash_one(info_hash);
        &self.shards[usize::try_from(hash >> 32).unwrap_or(0) % self.shards.len()]
    }
}
