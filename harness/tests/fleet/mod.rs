//! A tracker for users with passkeys, and a client of each kind on a host of its own, each with a user of its own.

use std::collections::BTreeMap;
use std::thread;

use contract::{AddressFamily, Event, Keys, TrafficEvent};
use harness::{
    Aria2, Client, Deluge, Host, Network, QBittorrent, RTorrent, RedisServer, Service, Torrent, Transmission,
    free_port,
};
use tempfile::TempDir;

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

    /// rTorrent 0.9.8 sends `completed` up to half an hour late; that nothing is left it says before that.
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
    announce: String,
    _network: Network,
}

impl Fleet {
    /// Starts everything. `address` gives the tracker's base URL.
    pub(crate) fn start(kinds: &[Kind], address: impl Fn(&Network, u16) -> String) -> Self {
        let (folder, redis) = (tempfile::tempdir().unwrap(), RedisServer::start());
        let (mut network, port) = (Network::start(), free_port());
        let announce = address(&network, port);
        let hosts: Vec<(Kind, Host)> =
            kinds.iter().map(|kind| (*kind, network.host(&format!("{kind:?}").to_lowercase()))).collect();
        for kind in kinds {
            let passkeys = redis::cmd("SADD").arg(Keys::default().passkeys()).arg(kind.passkey()).to_owned();
            passkeys.exec(&mut redis.connection()).unwrap();
        }
        let listen = announce.trim_start_matches("http://").to_owned();
        let tracker = Service::start("tracker", folder.path(), &tracker_config(&listen, &redis.url()));
        let clients = start_all(&hosts);
        Self { clients, tracker, redis, _folder: folder, announce, _network: network }
    }

    /// Lets one client seed, all others download, and holds the tracker's records against that.
    pub(crate) fn share(&self, torrent: &Torrent, seeder: Kind, family: AddressFamily) {
        torrent.write_content(&self.clients[&seeder].files());
        self.add(torrent, seeder);
        self.wait_for(seeder, "is recorded as a seeder", || {
            self.story(torrent, seeder).iter().any(|event| event.left == 0).then_some(())
        });
        let leechers = || self.clients.keys().copied().filter(|kind| *kind != seeder);
        leechers().for_each(|kind| self.add(torrent, kind));
        for kind in leechers() {
            let files = self.clients[&kind].files();
            self.wait_for(kind, "has the file", || torrent.is_complete_in(&files).then_some(()));
            self.clients[&kind].announce_completion(torrent);
        }
        for kind in leechers() {
            let story = self.wait_for(kind, "is recorded as complete", || {
                let story = self.story(torrent, kind);
                story.iter().any(|event| kind.is_completion(event)).then_some(story)
            });
            let downloaded: u64 = story.iter().map(|event| event.dd).sum();
            assert!(downloaded >= torrent.size(), "{kind:?} has the whole file: {story:?}");
            assert_eq!(story[0].event, Event::Started, "{kind:?}: {story:?}");
        }
        let log = self.tracker.log();
        for (kind, client) in &self.clients {
            assert!(!log.contains(&kind.passkey()), "a passkey is in the log");
            for event in self.story(torrent, *kind) {
                assert_eq!(event.af, family, "{kind:?}: {event:?}");
                let prefix = client.peer_id_prefix().as_bytes();
                assert!(event.peer_id.0.starts_with(prefix), "{kind:?}: {event:?}");
            }
        }
    }

    fn add(&self, torrent: &Torrent, kind: Kind) {
        self.clients[&kind].share(torrent, &format!("{}/announce/{}", self.announce, kind.passkey()));
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
        let pairs = |fields: &[(Vec<u8>, Vec<u8>)]| {
            TrafficEvent::from_fields(fields.iter().map(|(name, value)| (&name[..], &value[..]))).unwrap()
        };
        entries.iter().map(|(_, fields)| pairs(fields)).collect()
    }

    fn wait_for<T>(&self, kind: Kind, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        let client = &self.clients[&kind];
        client.process().borrow_mut().wait_until(&format!("{} {what}", client.name()), condition)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if thread::panicking() {
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

fn tracker_config(listen: &str, redis: &str) -> String {
    format!(
        "announce_interval: 5s
min_announce_interval: 2s
redis_broker: {redis}
http:
  addr: '{listen}'
hooks:
  prehooks:
    - name: passkey approval
  posthooks:
    - name: traffic push
"
    )
}
