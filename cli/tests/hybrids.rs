//! A hybrid torrent's two names, from the announces of a real tracker to the ledger of a real consumer,
//! however late somebody says that they are one; and a passkey that is rotated between two trackers.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use consumer::app::App;
use consumer::config::Config;
use harness::{RedisServer, eventually};
use redis::Commands;
use support::{Run, run_with};
use tempfile::TempDir;

const HOOKS: &str =
    "hooks: {prehooks: [{name: passkey approval}], posthooks: [{name: traffic push, options: {}}]}";
const MB: u64 = 1_000_000;
const V1: char = 'a';
const V2: char = 'b';

struct Site {
    redis: RedisServer,
    folder: TempDir,
    trackers: Vec<tracker::app::App>,
}

impl Site {
    async fn start(trackers: usize) -> Self {
        let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
        let mut site = Self { redis, folder, trackers: Vec::new() };
        for _ in 0..trackers {
            let text = format!(
                "http: {{addr: '127.0.0.1:0', workers: 1}}\nmetrics_addr: 127.0.0.1:0\nredis_broker: {}\n{HOOKS}\n",
                site.redis.url()
            );
            let plan = tracker::config::Plan::load(Some(&text), []).unwrap_or_else(|error| panic!("{error}"));
            site.trackers.push(tracker::app::App::start(plan).await.unwrap());
        }
        site.run(&["passkey", "add", "alice"]).expect(0);
        site.run(&["ledger", "migrate"]).expect(0);
        site
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    fn run(&self, args: &[&str]) -> Run {
        run_with(&self.redis.url(), &self.database(), args)
    }

    /// The client says at this tracker what it uploaded since it was started. A tracker hears of a new
    /// passkey within a second.
    fn announce(&self, tracker: usize, passkey: &str, torrent: char, uploaded: u64) {
        eventually("the announce is accepted", || {
            let mut stream = TcpStream::connect(self.trackers[tracker].http_address).unwrap();
            let torrent = torrent.to_string().repeat(20);
            write!(
                stream,
                "GET /announce?info_hash={torrent}&peer_id=cccccccccccccccccccc&port=6881&uploaded={}&downloaded=0&left=0\
                 &compact=1&passkey={passkey} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
                uploaded * MB
            )
            .unwrap();
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).unwrap();
            (!String::from_utf8_lossy(&reply).contains("failure")).then_some(())
        });
    }

    async fn consume(&self) -> App {
        let config = Config {
            redis_broker: self.redis.url().as_str().into(),
            database: format!("sqlite://{}", self.database().display()).as_str().into(),
            metrics_addr: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        App::start(consumer::config::Plan::of(config).unwrap()).await.unwrap()
    }

    fn alias(&self) {
        self.run(&["torrent", "alias", &hex(V2), &hex(V1)]).expect(0);
    }

    /// Megabytes of each torrent, v1 first, and those of the user, when they are these.
    fn settles(&self, what: &str, v1: u64, v2: u64) {
        let sql = rusqlite::Connection::open(self.database()).unwrap();
        let sum = |of: &str| -> u64 {
            let sum = format!("SELECT coalesce(sum(raw_up), 0) FROM {of}");
            sql.query_row(&sum, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs() / MB
        };
        let of = |torrent: char| sum(&format!("torrent_traffic WHERE infohash = x'{}'", hex(torrent)));
        let mut seen = (0, 0, 0);
        eventually(&format!("{what}: {v1} and {v2} MB"), || {
            let now = (of(V1), of(V2), sum("user_traffic"));
            if now != seen {
                println!("{what}: v1 {}, v2 {}, user {} MB", now.0, now.1, now.2);
                seen = now;
            }
            (now == (v1, v2, v1 + v2)).then_some(())
        });
        self.run(&["ledger", "verify"]).expect(0);
    }

    fn snapshots(&self) -> Vec<String> {
        self.redis.connection().keys("tracker:last:*").unwrap()
    }
}

fn hex(torrent: char) -> String {
    format!("{:02x}", torrent as u32).repeat(20)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_under_the_first_name_where_the_second_stopped() {
    let site = Site::start(1).await;
    site.announce(0, "alice", V2, 0);
    site.announce(0, "alice", V2, 50);
    site.alias();
    site.announce(0, "alice", V1, 60);
    let consumer = site.consume().await;
    site.settles("after the alias", 60, 0);
    eventually("nothing is left under the second name", || {
        let notes: u64 = site.redis.connection().hlen("tracker:folding").unwrap();
        let seeds: Vec<String> = site.redis.connection().smembers("tracker:passkey:seed:alice").unwrap();
        (notes == 0 && site.snapshots().len() == 1 && seeds == [hex(V1)]).then_some(())
    });
    consumer.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_of_the_second_name_is_moved_too_when_the_site_names_the_alias() {
    let site = Site::start(1).await;
    let consumer = site.consume().await;
    site.announce(0, "alice", V2, 0);
    site.announce(0, "alice", V2, 50);
    site.settles("under the second name", 0, 50);
    site.redis.connection().hset::<_, _, _, ()>("pt:torrents:alias", hex(V2), hex(V1)).unwrap();
    site.settles("under the first name", 50, 0);
    eventually("its snapshot is moved", || (site.snapshots()[0].contains(&hex(V1))).then_some(()));
    site.announce(0, "alice", V1, 60);
    site.settles("and on", 60, 0);
    consumer.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_announced_under_both_names_counts_once_however_late_the_alias_comes() {
    for settled_first in [true, false] {
        let site = Site::start(1).await;
        for uploaded in [0, 40, 100] {
            site.announce(0, "alice", V1, uploaded);
            site.announce(0, "alice", V2, uploaded);
        }
        let mut consumer = None;
        if settled_first {
            consumer = Some(site.consume().await);
            site.settles("under both names", 100, 100);
        }
        site.alias();
        if consumer.is_none() {
            consumer = Some(site.consume().await);
        }
        site.settles("as one", 100, 0);
        site.announce(0, "alice", V2, 150);
        site.announce(0, "alice", V1, 150);
        site.settles("while the recorder works it off", 150, 0);
        site.announce(0, "alice", V1, 250);
        site.settles("beyond what both had claimed", 250, 0);
        consumer.unwrap().stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_ledger_hears_of_its_aliases_again() {
    let site = Site::start(1).await;
    let consumer = site.consume().await;
    for uploaded in [0, 100] {
        site.announce(0, "alice", V1, uploaded);
        site.announce(0, "alice", V2, uploaded);
    }
    site.settles("under both names", 100, 100);
    site.alias();
    site.settles("as one", 100, 0);
    // As a copy from before the alias has it.
    let sql = rusqlite::Connection::open(site.database()).unwrap();
    sql.execute("DELETE FROM torrent_aliases", []).unwrap();
    eventually("it is told again", || {
        let known = sql.query_row("SELECT count(*) FROM torrent_aliases", [], |row| row.get::<_, i64>(0));
        (known.unwrap() == 1).then_some(())
    });
    consumer.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_rotated_in_the_middle_of_a_session_that_announces_to_two_trackers() {
    let site = Site::start(2).await;
    for uploaded in [10, 30] {
        site.announce(0, "alice", V1, uploaded);
        site.announce(1, "alice", V1, uploaded);
    }
    site.run(&["passkey", "rotate", "alice", "bob"]).expect(0);
    site.announce(0, "alice", V1, 40);
    site.announce(1, "bob", V1, 50);
    site.announce(0, "bob", V1, 55);
    site.announce(1, "alice", V1, 55);
    let consumer = site.consume().await;
    site.settles("under the new passkey", 45, 0);
    assert_eq!(site.snapshots().len(), 1);
    consumer.stop().await.unwrap();
}
