//! The peers of one torrent in one address family, as two dense parallel arrays with the seeders in front.
//!
//! Dense, so that offering peers is a walk along memory instead of a hunt through a map; seeders in front, so that "leechers
//! only" is a slice; endpoints apart from the rest, because they are what a reply copies. Small swarms are searched
//! linearly and need no index: most torrents have a handful of peers.

use hashbrown::HashTable;
use rand::{Rng, RngExt};

use contract::PeerId;

use crate::announce::{Offer, Role, UserTag};

/// Above so many peers a search by peer id goes through an index. Below it, a scan of a few cache lines is as fast.
const INDEX_ABOVE: usize = 64;

/// Where a peer is reached.
#[derive(Debug, Clone, Copy)]
struct Endpoint<A> {
    ip: A,
    port: [u8; 2],
}

/// Who a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) peer_id: PeerId,
    pub(super) user: Option<UserTag>,
}

#[derive(Debug, Clone, Copy)]
#[repr(C, packed(4))]
struct Record {
    peer_id: [u8; 20],
    user: Option<UserTag>,
    seen: u32,
    /// The same session is also in the torrent's other family.
    dual: bool,
}

impl Record {
    fn session(&self) -> Session {
        Session { peer_id: PeerId(self.peer_id), user: self.user }
    }
}

/// What one session asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pick<'a> {
    pub(super) wanted: usize,
    pub(super) side: Side,
    pub(super) asking: &'a Session,
}

/// Whom a client can use: a seeder only leechers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Everybody,
    Leechers,
}

/// What a peer was before a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Was {
    pub(super) role: Role,
    pub(super) dual: bool,
}

#[derive(Debug)]
pub(super) struct Family<A> {
    endpoints: Vec<Endpoint<A>>,
    records: Vec<Record>,
    seeders: usize,
    index: Option<HashTable<u32>>,
}

impl<A> Default for Family<A> {
    fn default() -> Self {
        Self { endpoints: Vec::new(), records: Vec::new(), seeders: 0, index: None }
    }
}

impl<A: Copy> Family<A> {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn seeders(&self) -> usize {
        self.seeders
    }

    pub(super) fn leechers(&self) -> usize {
        self.len() - self.seeders
    }

    pub(super) fn role_of(&self, session: &Session) -> Option<Role> {
        self.find(session).map(|place| self.role_at(place))
    }

    /// When the session was last seen here.
    pub(super) fn seen(&self, session: &Session) -> Option<u32> {
        self.find(session).map(|place| self.records[place].seen)
    }

    /// Adds the peer or brings it up to date. Returns what it was before, if it was there.
    pub(super) fn upsert(
        &mut self,
        session: Session,
        ip: A,
        port: u16,
        role: Role,
        seen: u32,
    ) -> Option<Was> {
        let endpoint = Endpoint { ip, port: port.to_be_bytes() };
        let Some(place) = self.find(&session) else {
            self.insert(session, endpoint, role, seen);
            return None;
        };
        let was = Was { role: self.role_at(place), dual: self.records[place].dual };
        self.endpoints[place] = endpoint;
        self.records[place].seen = seen;
        self.move_to(place, role);
        Some(was)
    }

    pub(super) fn remove(&mut self, session: &Session) -> Option<Was> {
        self.find(session).map(|place| self.remove_at(place))
    }

    /// Marks whether the session is also in the other family; returns its role when it is here.
    pub(super) fn set_dual(&mut self, session: &Session, dual: bool) -> Option<Role> {
        let place = self.find(session)?;
        self.records[place].dual = dual;
        Some(self.role_at(place))
    }

    /// Puts a session that is here on the side it stands on now.
    pub(super) fn set_role(&mut self, session: &Session, role: Role) {
        if let Some(place) = self.find(session) {
            self.move_to(place, role);
        }
    }

    /// Removes one peer that was last seen before `oldest`, looking from place `from` downwards. Returns what it was and
    /// the place to go on from; `None` when there is no more.
    pub(super) fn expire_one(&mut self, oldest: u32, from: usize) -> Option<(Session, Was, usize)> {
        let place = (0..from.min(self.len())).rev().find(|place| self.records[*place].seen < oldest)?;
        let session = self.records[place].session();
        let was = self.remove_at(place);
        // Removing fills the hole with places that were looked at already, except across the seeders' border: there the
        // last seeder moves down into the hole, and it too was looked at, since the walk goes downwards.
        Some((session, was, place))
    }

    /// Gives memory back after a swarm shrank.
    pub(super) fn shrink(&mut self) {
        if self.records.capacity() > 8 && self.records.len() * 2 < self.records.capacity() {
            self.endpoints.shrink_to(self.records.len() * 5 / 4);
            self.records.shrink_to(self.records.len() * 5 / 4);
        }
        if self.len() <= INDEX_ABOVE / 2 {
            self.index = None;
        }
    }

    /// Where the peers of a side begin; they go on to the end.
    pub(super) fn first(&self, side: Side) -> usize {
        match side {
            Side::Everybody => 0,
            Side::Leechers => self.seeders,
        }
    }

    /// Offers up to `wanted` peers, leaving out the session itself, its user's other sessions and peers that listen
    /// nowhere.
    ///
    /// Two half-windows, each at a random place of its own half: as cheap as one window, but two peers that are neighbours
    /// in memory are not always offered together.
    pub(super) fn pick(
        &self,
        Pick { wanted, side, asking }: Pick<'_>,
        rng: &mut impl Rng,
        offers: &mut Vec<Offer<A>>,
    ) {
        let first = self.first(side);
        let count = self.len() - first;
        if count <= wanted {
            self.offer_window(first..self.len(), wanted, asking, offers);
            return;
        }
        if wanted == 0 {
            return;
        }
        let half = count / 2;
        for (start, length, share) in
            [(first, half, wanted / 2), (first + half, count - half, wanted - wanted / 2)]
        {
            let turn = start + rng.random_range(0..length);
            let before = offers.len();
            self.offer_window(turn..start + length, share, asking, offers);
            let missing = share - (offers.len() - before);
            self.offer_window(start..turn, missing, asking, offers);
        }
    }

    /// The peer at one place, if the session may have it.
    pub(super) fn offer_at(&self, place: usize, asking: &Session) -> Option<Offer<A>> {
        offer(&self.endpoints[place], &self.records[place], asking)
    }

    fn offer_window(
        &self,
        places: std::ops::Range<usize>,
        wanted: usize,
        asking: &Session,
        offers: &mut Vec<Offer<A>>,
    ) {
        let end = offers.len() + wanted;
        for (endpoint, record) in self.endpoints[places.clone()].iter().zip(&self.records[places]) {
            if offers.len() == end {
                return;
            }
            offers.extend(offer(endpoint, record, asking));
        }
    }

    fn role_at(&self, place: usize) -> Role {
        if place < self.seeders { Role::Seeder } else { Role::Leecher }
    }

    fn find(&self, session: &Session) -> Option<usize> {
        match &self.index {
            Some(index) => index
                .find(hash(&session.peer_id.0), |place| self.records[*place as usize].session() == *session)
                .map(|place| *place as usize),
            None => self.records.iter().position(|record| record.session() == *session),
        }
    }

    fn insert(&mut self, session: Session, endpoint: Endpoint<A>, role: Role, seen: u32) {
        grow_gently(&mut self.endpoints);
        grow_gently(&mut self.records);
        let place = self.len();
        self.endpoints.push(endpoint);
        self.records.push(Record { peer_id: session.peer_id.0, user: session.user, seen, dual: false });
        self.index_added(place);
        self.move_to(place, role);
    }

    /// Moves a peer to its side of the border by swapping it with the peer at the border.
    fn move_to(&mut self, place: usize, role: Role) {
        match (self.role_at(place), role) {
            (Role::Leecher, Role::Seeder) => {
                self.swap(place, self.seeders);
                self.seeders += 1;
            }
            (Role::Seeder, Role::Leecher) => {
                self.seeders -= 1;
                self.swap(place, self.seeders);
            }
            _ => {}
        }
    }

    fn remove_at(&mut self, place: usize) -> Was {
        let was = Was { role: self.role_at(place), dual: self.records[place].dual };
        let mut hole = place;
        if was.role == Role::Seeder {
            self.seeders -= 1;
            self.swap(hole, self.seeders);
            hole = self.seeders;
        }
        self.swap(hole, self.len() - 1);
        self.index_forget(self.len() - 1);
        self.endpoints.pop();
        self.records.pop();
        was
    }

    fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        if let Some(index) = &mut self.index {
            let records = &self.records;
            let (hash_a, hash_b) = (hash(&records[a].peer_id), hash(&records[b].peer_id));
            // Both are found before either changes: otherwise the second search could meet the first one's new place.
            let slot_a = index.find_bucket_index(hash_a, |place| *place as usize == a);
            let slot_b = index.find_bucket_index(hash_b, |place| *place as usize == b);
            for (slot, place) in [(slot_a, b), (slot_b, a)] {
                if let Some(entry) = slot.and_then(|slot| index.get_bucket_mut(slot)) {
                    *entry = as_index(place);
                }
            }
        }
        self.endpoints.swap(a, b);
        self.records.swap(a, b);
    }

    fn index_added(&mut self, place: usize) {
        let records = &self.records;
        let rehash = |place: &u32| hash(&records[*place as usize].peer_id);
        match &mut self.index {
            Some(index) => {
                index.insert_unique(hash(&records[place].peer_id), as_index(place), rehash);
            }
            None if records.len() > INDEX_ABOVE => {
                let mut index = HashTable::with_capacity(records.len());
                for (place, record) in records.iter().enumerate() {
                    index.insert_unique(hash(&record.peer_id), as_index(place), rehash);
                }
                self.index = Some(index);
            }
            None => {}
        }
    }

    fn index_forget(&mut self, place: usize) {
        let hash = hash(&self.records[place].peer_id);
        if let Some(index) = &mut self.index
            && let Ok(entry) = index.find_entry(hash, |entry| *entry as usize == place)
        {
            entry.remove();
        }
    }
}

/// A peer as it is offered to a session that may have it: not to itself or its user, and only if it listens.
fn offer<A: Copy>(endpoint: &Endpoint<A>, record: &Record, asking: &Session) -> Option<Offer<A>> {
    let session = record.session();
    let own = match asking.user {
        Some(_) => session.user == asking.user,
        None => session.peer_id == asking.peer_id,
    };
    let offered = !own && endpoint.port != [0, 0];
    offered.then(|| Offer {
        peer_id: session.peer_id,
        ip: endpoint.ip,
        port: u16::from_be_bytes(endpoint.port),
    })
}

/// Places fit 32 bits: a swarm of 2^32 peers would take 200 GB.
fn as_index(place: usize) -> u32 {
    u32::try_from(place).expect("a swarm has fewer than 2^32 peers")
}

/// Growth by a quarter instead of doubling: half the slack, for a copy more now and then.
fn grow_gently<T>(items: &mut Vec<T>) {
    if items.len() == items.capacity() {
        items.reserve_exact((items.len() / 4).max(2));
    }
}

/// Hashes a peer id with a key drawn at start: peer ids are chosen by clients, who must not choose collisions.
fn hash(peer_id: &[u8; 20]) -> u64 {
    use std::hash::BuildHasher;
    static STATE: std::sync::LazyLock<hashbrown::DefaultHashBuilder> =
        std::sync::LazyLock::new(Default::default);
    STATE.hash_one(peer_id)
}
