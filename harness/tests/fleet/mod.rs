//! A client of each kind on a host of its own, each with a user of its own, and the tracker between them.

mod tracker_kind;

use std::collections::BTreeMap;
use std::thread;

use contract::{AddressFamily, Event, Keys, TrafficEvent};
use harness::{
    Aria2, Client, Deluge, Host, Network, QBittorrent, RTorrent, RedisServer, Service, Torrent, Transmission,
};
use tempfile::TempDir;

use tracker_kind::TrackerAddress;
pub(crate) use tracker_kind::{Access, TrackerKind, Transport};

type AnyClient = Box<dyn Client + Send>;

/// The clients of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Aria2,
    Deluge,
    QBittorrent,
    RTorrent,
    Transmission,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Aria2, Self::Deluge, Self::QBittorrent, Self::RTorrent, Self::Transmission];

    fn start(self, host: &Host) -> AnyClient {
        match self {
            Self::Aria2 => Box::new(Aria2::start(host, 0)),
            Self::Deluge => Box::new(Deluge::start(host)),
            Self::QBittorrent => Box::new(QBittorrent::start(host)),
            Self::RTorrent => Box::new(RTorrent::start(host)),
            Self::Transmission => Box::new(Transmission::start(host)),
        }
    }

    /// rTorrent 0.9.8 keeps `completed` for later; that nothing is left it says before that.
    fn is_completion(self, event: &TrafficEvent) -> bool {
        event.left == 0 && (self == Self::RTorrent || event.event == Event::Completed)
    }

    fn passkey(self) -> String {
        format!("user-of-{self:?}-0123456789")
    }
}

/// Dropped from top to bottom.
pub(crate) struct Fleet {
    clients: BTreeMap<Kind, AnyClient>,
    tracker: Service,
    redis: RedisServer,
    _folder: TempDir,
    tracker_kind: TrackerKind,
    address: TrackerAddress,
    _network: Network,
}

impl Fleet {
    pub(crate) fn start(kinds: &[Kind], tracker_kind: TrackerKind) -> Self {
        let (folder, redis, mut network) =
            (tempfile::tempdir().unwrap(), RedisServer::start(), Network::start());
        let address = tracker_kind.address(&network);
        let mut host =
            |kind: Kind| network.host(&format!("{kind:?}").to_lowercase()).trusting(&address.certificate());
        let hosts: Vec<(Kind, Host)> = kinds.iter().map(|kind| (*kind, host(*kind))).collect();
        let passkeys: Vec<String> = kinds.iter().map(|kind| kind.passkey()).collect();
        let mut whitelist = redis::cmd("SADD");
        whitelist.arg(Keys::default().passkeys()).arg(passkeys).exec(&mut redis.connection()).unwrap();
        let tracker = Service::start("tracker", folder.path(), &address.tracker_config(&redis.url()));
        let clients = start_all(&hosts);
        Self { clients, tracker, redis, _folder: folder, tracker_kind, address, _network: network }
    }

    /// Lets one client seed and all others download, until each has the file; the tracker has to know each as
    /// a seeder then.
    pub(crate) fn share(&self, torrent: &Torrent, seeder: Kind) {
        torrent.write_content(&self.clients[&seeder].files());
        self.add(torrent, seeder);
        self.wait_for(seeder, "is known as a seeder", || self.is_seeding(torrent, seeder).then_some(()));
        let leechers = || self.clients.keys().copied().filter(|kind| *kind != seeder);
        leechers().for_each(|kind| self.add(torrent, kind));
        for kind in leechers() {
            let files = self.clients[&kind].files();
            self.wait_for(kind, "has the file", || torrent.is_complete_in(&files).then_some(()));
            self.clients[&kind].announce_completion(torrent);
        }
        match self.tracker_kind.access {
            Access::Passkeys => leechers().for_each(|kind| self.is_recorded_as_complete(torrent, kind)),
            Access::Open => {}
        }
        self.wait_for(seeder, "and all others seed", || self.all_seed().then_some(()));
        self.is_recorded_in_its_family(torrent);
    }

    fn add(&self, torrent: &Torrent, kind: Kind) {
        self.clients[&kind].share(torrent, &self.address.announce_url(&kind.passkey()));
    }

    fn is_seeding(&self, torrent: &Torrent, kind: Kind) -> bool {
        match self.tracker_kind.access {
            Access::Passkeys => self.story(torrent, kind).iter().any(|event| event.left == 0),
            Access::Open => self.figure("seedbook_tracker_seeders") == 1,
        }
    }

    fn is_recorded_as_complete(&self, torrent: &Torrent, kind: Kind) {
        let story = self.wait_for(kind, "is recorded as complete", || {
            let story = self.story(torrent, kind);
            story.iter().any(|event| kind.is_completion(event)).then_some(story)
        });
        let downloaded: u64 = story.iter().map(|event| event.dd).sum();
        assert!(downloaded >= torrent.size(), "{kind:?} has the whole file: {story:?}");
        assert_eq!(story[0].event, Event::Started, "{kind:?}: {story:?}");
    }

    /// By the swarm's own figures: every client once, with one endpoint, in the tracker's family.
    fn all_seed(&self) -> bool {
        let (own, other) = match self.tracker_kind.family {
            AddressFamily::V4 => ("v4", "v6"),
            AddressFamily::V6 => ("v6", "v4"),
        };
        let endpoints = |family: &str| self.figure(&format!("seedbook_tracker_endpoints_{family}"));
        let all = self.clients.len();
        (self.figure("seedbook_tracker_seeders"), self.figure("seedbook_tracker_leechers")) == (all, 0)
            && (endpoints(own), endpoints(other)) == (all, 0)
    }

    fn is_recorded_in_its_family(&self, torrent: &Torrent) {
        let log = self.tracker.log();
        for (kind, client) in &self.clients {
            assert!(!log.contains(&kind.passkey()), "a passkey is in the log");
            for event in self.story(torrent, *kind) {
                assert_eq!(event.af, self.tracker_kind.family, "{kind:?}: {event:?}");
                let prefix = client.peer_id_prefix().as_bytes();
                assert!(event.peer_id.0.starts_with(prefix), "{kind:?}: {event:?}");
            }
        }
    }

    /// One of the tracker's metrics; 0 while it is not there.
    fn figure(&self, name: &str) -> usize {
        let page = self.tracker.metrics();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |figure| figure.parse().expect("a gauge is a number"))
    }

    /// What the stream tells of a client, oldest first.
    fn story(&self, torrent: &Torrent, kind: Kind) -> Vec<TrafficEvent> {
        let (info_hash, passkey) = (torrent.info_hash(), kind.passkey());
        let own = |event: &TrafficEvent| event.info_hash == info_hash && event.passkey.reveal() == passkey;
        self.entries().into_iter().filter(own).collect()
    }

    fn entries(&self) -> Vec<TrafficEvent> {
        type Entry = (String, Vec<(Vec<u8>, Vec<u8>)>);
        let mut range = redis::cmd("XRANGE");
        range.arg(Keys::default().traffic()).arg("-").arg("+");
        let entries: Vec<Entry> = range.query(&mut self.redis.connection()).unwrap();
        let event = |fields: &[(Vec<u8>, Vec<u8>)]| {
            TrafficEvent::from_fields(fields.iter().map(|(name, value)| (&name[..], &value[..]))).unwrap()
        };
        entries.iter().map(|(_, fields)| event(fields)).collect()
    }

    fn wait_for<T>(&self, kind: Kind, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        let client = &self.clients[&kind];
        client.process().borrow_mut().wait_until(&format!("{} {what}", client.name()), condition)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- the tracker's figures ----");
            let page = self.tracker.metrics();
            page.lines()
                .filter(|line| line.starts_with("seedbook_tracker"))
                .for_each(|line| eprintln!("{line}"));
            eprintln!("---- what the stream tells, oldest first ----");
            self.entries().iter().for_each(|event| eprintln!("{event:?}"));
        }
    }
}

/// All at once: some of them take seconds to start.
fn start_all(hosts: &[(Kind, Host)]) -> BTreeMap<Kind, AnyClient> {
    thread::scope(|scope| {
        let starts = hosts.iter().map(|(kind, host)| (*kind, scope.spawn(move || kind.start(host))));
        let starts: Vec<_> = starts.collect();
        starts.into_iter().map(|(kind, start)| (kind, start.join().expect("the client starts"))).collect()
    })
}
