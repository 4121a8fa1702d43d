//! A real transfer: two users' real clients move a file, and what they report is what the ledger credits.
//!
//! Checks the whole line at each stage: who seeds and leeches what (Redis sets), and the sums (SQLite).

#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::net::Ipv4Addr;

use contract::{InfoHash, Keys, Passkey};
use harness::{
    Aria2, Network, RedisServer, Service, Torrent, Trackerctl, Transmission, eventually, free_port,
};
use serde_json::Value;
use tempfile::TempDir;

const MIB: usize = 1024 * 1024;
/// Slow enough that the leeching stage of a few MB cannot be missed, until the limit is lifted.
const SLOW: u64 = 64 * 1024;

/// A site in miniature, with the network that its users' clients are on. Dropped from top to bottom.
struct Site {
    tracker: Service,
    consumer: Service,
    redis: RedisServer,
    folder: TempDir,
    announce: String,
    network: Network,
}

impl Site {
    fn start() -> Self {
        let (folder, redis, network) = (tempfile::tempdir().unwrap(), RedisServer::start(), Network::start());
        let port = free_port();
        let tracker =
            Service::start("tracker", folder.path(), &tracker_config(network.ipv4(), port, &redis.url()));
        let database = format!("sqlite://{}", folder.path().join("ledger.db").display());
        let config = format!("redis_broker: {}\ndatabase: {database}\n", redis.url());
        let consumer = Service::start("consumer", folder.path(), &config);
        let announce = format!("http://{}:{port}", network.ipv4());
        Self { tracker, consumer, redis, folder, announce, network }
    }

    fn trackerctl(&self) -> Trackerctl {
        let database = format!("sqlite://{}", self.folder.path().join("ledger.db").display());
        Trackerctl::new(self.redis.url(), database)
    }

    /// Stops both services as an operator would, and looks once more at what they leave.
    fn stop_and_verify(mut self) {
        assert!(self.tracker.terminate().success());
        assert!(self.consumer.terminate().success());
        self.trackerctl().ok(&["ledger", "verify"]);
        let logs = self.tracker.log() + &self.consumer.log();
        for passkey in [ALICE, BOB] {
            assert!(!logs.contains(passkey), "a passkey is in the logs");
        }
    }
}

const ALICE: &str = "alice-0123456789abcdef";
const BOB: &str = "bob-0123456789abcdef";

/// Short intervals, so that a test sees several announces; everything else as an operator would write it.
fn tracker_config(address: Ipv4Addr, port: u16, redis: &str) -> String {
    format!(
        "announce_interval: 5s
min_announce_interval: 2s
redis_broker: {redis}
http:
  addr: {address}:{port}
hooks:
  prehooks:
    - name: passkey approval
  posthooks:
    - name: traffic push
"
    )
}

/// One user's view of one torrent in Redis: the clients that seed it and those that leech it, by the first
/// bytes of their ids.
#[derive(Debug, PartialEq, Eq)]
struct Presence {
    seeding: Vec<String>,
    leeching: Vec<String>,
}

/// A user with one torrent, as the test looks at them.
struct User<'site> {
    site: &'site Site,
    passkey: Passkey,
    torrent: InfoHash,
}

impl<'site> User<'site> {
    fn new(site: &'site Site, passkey: &str, torrent: &Torrent) -> Self {
        site.trackerctl().ok(&["passkey", "add", passkey]);
        Self { site, passkey: passkey.parse().unwrap(), torrent: torrent.info_hash() }
    }

    fn presence(&self) -> Presence {
        let (keys, torrent) = (Keys::default(), &self.torrent);
        let mut sets = redis::pipe();
        // In one transaction, so that no announce falls between a set and its members.
        sets.atomic().sismember(keys.seeding(&self.passkey), &*torrent.hex());
        sets.smembers(keys.seeding_members(&self.passkey, torrent));
        sets.sismember(keys.leeching(&self.passkey), &*torrent.hex());
        sets.smembers(keys.leeching_members(&self.passkey, torrent));
        let (seeds, seeding, leeches, leeching): (bool, Vec<String>, bool, Vec<String>) =
            sets.query(&mut self.site.redis.connection()).unwrap();
        assert_eq!(
            (seeds, leeches),
            (!seeding.is_empty(), !leeching.is_empty()),
            "listed while it has members"
        );
        let clients = |members: Vec<String>| members.iter().map(|hex| client_of(hex)).collect();
        Presence { seeding: clients(seeding), leeching: clients(leeching) }
    }

    fn seeds_with(&self, client: &str) {
        self.comes_to(&Presence { seeding: vec![client.to_owned()], leeching: vec![] });
    }

    fn leeches_with(&self, client: &str) {
        self.comes_to(&Presence { seeding: vec![], leeching: vec![client.to_owned()] });
    }

    fn is_absent(&self) {
        self.comes_to(&Presence { seeding: vec![], leeching: vec![] });
    }

    fn comes_to(&self, expected: &Presence) {
        eventually(&format!("presence is {expected:?}"), || (self.presence() == *expected).then_some(()));
    }

    /// What `explain` tells once the last announce is settled: presence moves a little earlier than the
    /// ledger.
    fn story(&self) -> Story {
        let arguments = ["user", "explain", self.passkey.reveal(), &self.torrent.hex(), "--json"];
        eventually("`stopped` is settled", || {
            let answer = self.site.trackerctl().run(&arguments);
            let story = Story(serde_json::from_str(&answer.stdout).ok()?);
            (story.events().last() == Some(&"stopped")).then_some(story)
        })
    }

    /// Raw bytes up and down, by the ledger's totals of the user.
    fn totals(&self) -> (u64, u64) {
        bytes(&self.site.trackerctl().json(&["user", "stats", self.passkey.reveal()]))
    }
}

/// The answer of `trackerctl user explain`.
struct Story(Value);

impl Story {
    fn events(&self) -> Vec<&str> {
        let events = self.0["events"].as_array().unwrap();
        events.iter().map(|event| event["event"].as_str().unwrap()).collect()
    }

    /// Holds when the announces tell of the whole way, and their sum is what the ledger has and what the
    /// client says.
    fn accounts_for(&self, client: (u64, u64)) {
        assert_eq!(self.events()[0], "started", "{}", self.0);
        assert_eq!(bytes(&self.0["shown"]), client, "{}", self.0);
        assert_eq!(bytes(&self.0["ledger"]), client, "{}", self.0);
    }
}

fn bytes(sums: &Value) -> (u64, u64) {
    (figure(sums, "raw_up"), figure(sums, "raw_down"))
}

fn figure(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("`{name}` is not a number in {value}"))
}

/// The first four characters of a peer id: `-TR3` is transmission 3, `A2-1` is aria2 1.
fn client_of(peer_id_hex: &str) -> String {
    let peer_id: contract::PeerId = peer_id_hex.parse().unwrap();
    String::from_utf8_lossy(&peer_id.0[..4]).into_owned()
}

#[test]
fn a_file_that_moves_from_transmission_to_aria2_is_settled_byte_for_byte() {
    let mut site = Site::start();
    let (seeder, leecher) = (site.network.host("seeder"), site.network.host("leecher"));
    let torrent = Torrent::random("debian.iso", 8 * MIB);
    let (alice, bob) = (User::new(&site, ALICE, &torrent), User::new(&site, BOB, &torrent));
    let (transmission, aria2) = (Transmission::start(&seeder), Aria2::start(&leecher, SLOW));
    alice.is_absent();
    bob.is_absent();

    // The passkey in the path.
    torrent.write_content(&transmission.files());
    transmission.add(&torrent, &format!("{}/{ALICE}/announce", site.announce));
    alice.seeds_with("-TR3");
    bob.is_absent();

    // The passkey in the query.
    let download = aria2.add(&torrent, &format!("{}/announce?passkey={BOB}", site.announce));
    bob.leeches_with("A2-1");
    aria2.wait_until("some data arrived", || (aria2.download(&download).completed > 0).then_some(()));
    alice.seeds_with("-TR3");

    aria2.limit_download(0);
    aria2.wait_until("aria2 has the file", || torrent.is_complete_in(&aria2.files()).then_some(()));
    bob.seeds_with("A2-1");
    alice.seeds_with("-TR3");

    aria2.stop(&download);
    bob.is_absent();
    transmission.stop(&torrent);
    alice.is_absent();

    // aria2 announces data bytes and shows the same; what it completed is what it downloaded, as nothing
    // failed its hash.
    let shown = aria2.download(&download);
    assert_eq!((shown.uploaded, shown.completed), (0, torrent.size()));
    bob.story().accounts_for((0, torrent.size()));
    assert!(bob.story().events().contains(&"completed"));
    // transmission announces what it shows, except that it takes corrupt data off what it shows as
    // downloaded.
    let shown = transmission.transfer(&torrent);
    assert!(shown.uploaded >= torrent.size());
    alice.story().accounts_for((shown.uploaded, shown.downloaded + shown.corrupt));
    assert_eq!(alice.totals(), (shown.uploaded, 0));
    site.stop_and_verify();
}

#[test]
fn a_file_that_moves_from_aria2_to_transmission_is_settled_byte_for_byte() {
    let mut site = Site::start();
    let (seeder, leecher) = (site.network.host("seeder"), site.network.host("leecher"));
    let torrent = Torrent::random("debian.iso", 4 * MIB);
    let (alice, bob) = (User::new(&site, ALICE, &torrent), User::new(&site, BOB, &torrent));
    let (transmission, aria2) = (Transmission::start(&leecher), Aria2::start(&seeder, 0));

    torrent.write_content(&aria2.files());
    let seeding = aria2.add(&torrent, &format!("{}/{ALICE}/announce", site.announce));
    alice.seeds_with("A2-1");
    transmission.add(&torrent, &format!("{}/announce?passkey={BOB}", site.announce));
    transmission.wait_until("transmission has the file", || {
        torrent.is_complete_in(&transmission.files()).then_some(())
    });
    bob.seeds_with("-TR3");

    // The uploader first: its last announce has to tell of what it sent.
    aria2.stop(&seeding);
    alice.is_absent();
    transmission.stop(&torrent);
    bob.is_absent();

    let (sent, received) = (aria2.download(&seeding), transmission.transfer(&torrent));
    assert_eq!(sent.uploaded, torrent.size());
    alice.story().accounts_for((sent.uploaded, 0));
    bob.story().accounts_for((received.uploaded, received.downloaded + received.corrupt));
    site.stop_and_verify();
}
