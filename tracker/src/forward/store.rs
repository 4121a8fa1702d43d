//! Per torrent, the external peers that forwarders named, each with its expiry; per client of ours, which
//! forwarders know it and when each is told of it next. Pure; times are seconds since forwarding started.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use contract::{Event, InfoHash, PeerId};
use hashbrown::HashMap;
use parking_lot::Mutex;
use rand::{Rng, RngExt};

use super::answer::{Learned, Wait};
use super::queue::Job;
use crate::announce::{Admitted, Choice, Families, NAMELESS, Offers, Peers, PrivatePeers, Role};

/// Locks, each with a part of the torrents.
const SHARDS: usize = 16;
/// Torrents followed at most; others are not forwarded until some are forgotten.
const MAX_TORRENTS: usize = 4096;
/// Clients of one torrent that forwarders are told of at most.
const MAX_SESSIONS: usize = 64;
/// External peers kept per torrent at most: four full replies.
const MAX_EXTERNAL: usize = 200;
/// How soon a job that was dropped or failed may be made again.
const AGAIN_SECS: u32 = 60;
/// How long a refused torrent rests when the forwarder does not say, and how long when it says for ever.
const REST_SECS: u32 = 30 * 60;
const LONGEST_REST_SECS: u32 = 24 * 3600;
/// An external peer is offered for twice the forwarder's interval, within these bounds.
const PEER_LIFETIME_SECS: std::ops::RangeInclusive<u32> = 10 * 60..=2 * 3600;

/// Whole seconds from `zero` to `now`.
pub(super) fn seconds(zero: Instant, now: Instant) -> u32 {
    narrow(now.saturating_duration_since(zero))
}

fn narrow(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// A client's announce, as far as forwarding looks at it.
#[derive(Debug, Clone)]
pub(super) struct ClientAnnounce {
    pub(super) info_hash: InfoHash,
    pub(super) peer_id: PeerId,
    pub(super) endpoint: SocketAddr,
    pub(super) role: Role,
    pub(super) event: Event,
    /// How many peers the reply holds at most, local ones included.
    pub(super) num_want: usize,
    pub(super) families: Families,
    pub(super) private: PrivatePeers,
}

impl ClientAnnounce {
    pub(super) fn of(admitted: &Admitted) -> Self {
        let Admitted { announce, admission } = admitted;
        let (num_want, Choice { private, .. }) = match admission.peers {
            Peers::Offered(choice) => (announce.num_want, choice),
            Peers::Withheld => (0, Choice::default()),
        };
        Self {
            info_hash: announce.info_hash,
            peer_id: announce.peer_id,
            endpoint: SocketAddr::new(announce.ip, announce.port),
            role: announce.role(),
            event: announce.event,
            num_want,
            families: announce.families,
            private,
        }
    }

    fn can_use(&self, ip: IpAddr) -> bool {
        self.families == Families::Both || ip.is_ipv4() == self.endpoint.is_ipv4()
    }
}

/// An event that a forwarder is to be told of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) forwarder: usize,
    pub(super) event: Event,
}

/// External peers and our clients, per torrent.
#[derive(Debug)]
pub(super) struct Store {
    shards: [Mutex<HashMap<InfoHash, Torrent>>; SHARDS],
    /// Per forwarder, the address at which it lists our clients, if it is not their own.
    listed_as: Box<[Option<IpAddr>]>,
    session_lifetime: u32,
    shortest_interval: Duration,
}

#[derive(Debug)]
struct Torrent {
    sessions: HashMap<SocketAddr, Session>,
    peers: HashMap<SocketAddr, External>,
    /// Per forwarder that refused this torrent: when it may be told of it again.
    rests_until: Box<[u32]>,
}

/// One of our clients.
#[derive(Debug)]
struct Session {
    peer_id: PeerId,
    seen: u32,
    views: Box<[ForwarderView]>,
}

/// What one forwarder knows of a client.
#[derive(Debug, Clone, Copy, Default)]
struct ForwarderView {
    /// The forwarder was told of the client, and answered.
    known: bool,
    /// When the forwarder is to be told again.
    due: u32,
}

#[derive(Debug, Clone, Copy)]
struct External {
    until: u32,
    forwarder: usize,
    /// The forwarder named the peer to a seeder: so the peer is a leecher as far as the forwarder knows.
    for_seeders: bool,
}

impl Store {
    pub(super) fn new(
        listed_as: &[Option<IpAddr>],
        session_lifetime: Duration,
        shortest_interval: Duration,
    ) -> Self {
        let (listed_as, session_lifetime) = (listed_as.into(), narrow(session_lifetime));
        Self { shards: Default::default(), listed_as, session_lifetime, shortest_interval }
    }

    /// Notes a client's announce, fills `offers` up with external peers, and says which forwarders are to be
    /// told.
    pub(super) fn visit(
        &self,
        announce: &ClientAnnounce,
        now: u32,
        rng: &mut impl Rng,
        offers: &mut Offers,
    ) -> Vec<Due> {
        let mut shard = self.shard(&announce.info_hash).lock();
        if announce.event == Event::Stopped {
            let torrent = shard.get_mut(&announce.info_hash);
            return torrent.map(|torrent| torrent.leave(announce)).unwrap_or_default();
        }
        if !shard.contains_key(&announce.info_hash) && shard.len() >= MAX_TORRENTS / SHARDS {
            return Vec::new();
        }
        let torrent = shard.entry(announce.info_hash).or_insert_with(|| Torrent::new(self.listed_as.len()));
        torrent.offer(announce, now, rng, offers);
        torrent.enter(announce, now)
    }

    /// A forwarder answered with peers: they are kept, and the client is due again after its interval.
    pub(super) fn learn(&self, forwarder: usize, job: &Job, learned: &Learned, now: u32) {
        let mut shard = self.shard(&job.info_hash).lock();
        let Some(torrent) = shard.get_mut(&job.info_hash) else { return };
        let interval = narrow(learned.interval.max(self.shortest_interval)).min(LONGEST_REST_SECS);
        if let Some(session) = torrent.sessions.get_mut(&job.endpoint)
            && session.peer_id == job.peer_id
            && job.event != Event::Stopped
        {
            session.views[forwarder] = ForwarderView { known: true, due: now.saturating_add(interval) };
        }
        let (shortest, longest) = (*PEER_LIFETIME_SECS.start(), *PEER_LIFETIME_SECS.end());
        let until = now.saturating_add(interval.saturating_mul(2).clamp(shortest, longest));
        let own = [self.listed_as[forwarder], learned.own_ip];
        torrent.keep(learned, job.role, &own, External { until, forwarder, for_seeders: false });
    }

    /// A forwarder refused a torrent, and is told nothing of it for `wait`.
    pub(super) fn rest(&self, forwarder: usize, info_hash: &InfoHash, wait: Wait, now: u32) {
        let rest = match wait {
            Wait::For(time) => narrow(time.max(self.shortest_interval)).min(LONGEST_REST_SECS),
            Wait::ForEver => LONGEST_REST_SECS,
            Wait::Unsaid => REST_SECS,
        };
        if let Some(torrent) = self.shard(info_hash).lock().get_mut(info_hash) {
            torrent.rests_until[forwarder] = now.saturating_add(rest);
        }
    }

    /// Forgets expired peers and clients. How many peers are left from each forwarder.
    pub(super) fn sweep(&self, now: u32) -> Vec<i64> {
        let oldest = now.saturating_sub(self.session_lifetime);
        let mut known = vec![0; self.listed_as.len()];
        for shard in &self.shards {
            shard.lock().retain(|_, torrent| {
                torrent.peers.retain(|_, peer| peer.until > now);
                torrent.sessions.retain(|_, session| session.seen >= oldest);
                torrent.peers.values().for_each(|peer| known[peer.forwarder] += 1);
                !(torrent.peers.is_empty() && torrent.sessions.is_empty())
            });
        }
        known
    }

    fn shard(&self, info_hash: &InfoHash) -> &Mutex<HashMap<InfoHash, Torrent>> {
        &self.shards[usize::from(info_hash.0[19]) % SHARDS]
    }
}

impl Torrent {
    fn new(forwarders: usize) -> Self {
        Self {
            sessions: HashMap::new(),
            peers: HashMap::new(),
            rests_until: vec![0; forwarders].into_boxed_slice(),
        }
    }

    /// Forgets a client that stopped; the forwarders that know it are to be told.
    fn leave(&mut self, announce: &ClientAnnounce) -> Vec<Due> {
        let Some(session) = self.sessions.remove(&announce.endpoint) else { return Vec::new() };
        let knows = |(forwarder, view): (usize, &ForwarderView)| view.known.then_some(forwarder);
        let knowing = session.views.iter().enumerate().filter_map(knows);
        knowing.map(|forwarder| Due { forwarder, event: Event::Stopped }).collect()
    }

    /// Notes a client that is there, and which forwarders are due to be told of it.
    fn enter(&mut self, announce: &ClientAnnounce, now: u32) -> Vec<Due> {
        // Nobody can be sent to port 0.
        let room = self.sessions.len() < MAX_SESSIONS || self.sessions.contains_key(&announce.endpoint);
        if announce.endpoint.port() == 0 || !room {
            return Vec::new();
        }
        let fresh = || Session {
            peer_id: announce.peer_id,
            seen: now,
            views: vec![ForwarderView::default(); self.rests_until.len()].into_boxed_slice(),
        };
        let session = self.sessions.entry(announce.endpoint).or_insert_with(fresh);
        if session.peer_id != announce.peer_id {
            // Another run of the client: forwarders know nothing of it yet.
            *session = fresh();
        }
        session.seen = now;
        // One of ours is offered by the swarm and its rules, not as somebody from outside.
        self.peers.remove(&announce.endpoint);
        let views = session.views.iter_mut().zip(&self.rests_until).enumerate();
        views
            .filter_map(|(forwarder, (view, rests_until))| {
                let event = view.event(announce.event, now).filter(|_| *rests_until <= now)?;
                view.due = now.saturating_add(AGAIN_SECS);
                Some(Due { forwarder, event })
            })
            .collect()
    }

    /// Fills up to what the client wants, beginning anywhere, so that each peer gets its turn.
    fn offer(&self, announce: &ClientAnnounce, now: u32, rng: &mut impl Rng, offers: &mut Offers) {
        let room = announce.num_want.saturating_sub(offers.len());
        if room == 0 || self.peers.is_empty() {
            return;
        }
        let usable = |(address, peer): &(&SocketAddr, &External)| {
            peer.until > now
                && (peer.for_seeders || announce.role == Role::Leecher)
                && **address != announce.endpoint
                && announce.can_use(address.ip())
                && (announce.private == PrivatePeers::Offered || super::reach::is_public(address.ip()))
                && !offers.contains(address)
        };
        let peers: Vec<SocketAddr> = self.peers.iter().filter(usable).map(|(address, _)| *address).collect();
        if peers.is_empty() {
            return;
        }
        let first = rng.random_range(0..peers.len());
        for address in peers.iter().cycle().skip(first).take(room.min(peers.len())) {
            offers.push(*address, NAMELESS);
        }
    }

    /// Takes peers over from an answer to a client of this role, except our own clients under whatever
    /// address.
    fn keep(&mut self, learned: &Learned, asked_by: Role, own: &[Option<IpAddr>], from: External) {
        for address in &learned.peers {
            let as_own = own.contains(&Some(address.ip()));
            let ours = self
                .sessions
                .keys()
                .any(|session| session == address || as_own && session.port() == address.port());
            if ours || self.peers.len() >= MAX_EXTERNAL && !self.peers.contains_key(address) {
                continue;
            }
            let peer = self.peers.entry(*address).or_insert(from);
            peer.until = peer.until.max(from.until);
            // To a leecher seeders and leechers are named alike: what was known before stays.
            peer.for_seeders |= asked_by == Role::Seeder;
        }
    }
}

impl ForwarderView {
    /// What to tell a forwarder now. The first thing it hears of a client is always `started`.
    fn event(&self, event: Event, now: u32) -> Option<Event> {
        match (self.known, event) {
            (true, Event::Completed) => Some(Event::Completed),
            (true, _) if now >= self.due => Some(Event::None),
            (false, _) if now >= self.due => Some(Event::Started),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
