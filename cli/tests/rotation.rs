//! `trackerctl passkey rotate` while clients announce through a real tracker and real consumers settle.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use consumer::app::App;
use consumer::config::Config;
use harness::{RedisServer, eventually};
use redis::Commands;
use serde_json::Value;
use support::{Run, command, run_with};
use tempfile::TempDir;

const HOOKS: &str =
    "hooks: {prehooks: [{name: passkey approval}], posthooks: [{name: traffic push, options: {}}]}";

struct Site {
    redis: RedisServer,
    folder: TempDir,
    tracker: tracker::app::App,
}

impl Site {
    async fn start() -> Self {
        let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
        let text = format!(
            "http: {{addr: '127.0.0.1:0', workers: 1}}\nmetrics_addr: 127.0.0.1:0\nredis_broker: {}\n{HOOKS}\n",
            redis.url()
        );
        let plan = tracker::config::Plan::load(Some(&text), []).unwrap_or_else(|error| panic!("{error}"));
        let tracker = tracker::app::App::start(plan).await.unwrap();
        let site = Self { redis, folder, tracker };
        site.run(&["passkey", "add", "old"]).expect(0);
        site.run(&["ledger", "migrate"]).expect(0);
        site
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    fn run(&self, args: &[&str]) -> Run {
        run_with(&self.redis.url(), &self.database(), args)
    }

    fn json(&self, args: &[&str]) -> Value {
        self.run(&[&["--json"], args].concat()).expect(0).json()
    }

    /// A client says what it uploaded since it was started; the tracker's reply.
    fn announce(&self, passkey: &str, client: char, uploaded: u64) -> String {
        let peer_id = client.to_string().repeat(20);
        let mut stream = TcpStream::connect(self.tracker.http_address).unwrap();
        let query = format!("peer_id={peer_id}&port=6881&uploaded={uploaded}&downloaded=0&left=0&compact=1");
        write!(
            stream,
            "GET /announce?info_hash=iiiiiiiiiiiiiiiiiiii&{query}&passkey={passkey} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// A refused announce books nothing, so it may be repeated: a tracker hears of a new passkey within a
    /// second.
    fn accepted(&self, passkey: &str, client: char, uploaded: u64) {
        eventually("the announce is accepted", || {
            (!self.announce(passkey, client, uploaded).contains("failure")).then_some(())
        });
    }

    /// Runs a consumer of this group until everything that is in the stream now is acknowledged.
    async fn settle(&self, group: &str) {
        let config = Config {
            redis_broker: self.redis.url().as_str().into(),
            database: format!("sqlite://{}", self.database().display()).as_str().into(),
            metrics_addr: ([127, 0, 0, 1], 0).into(),
            group: group.into(),
            ..Config::default()
        };
        let app = App::start(consumer::config::Plan::of(config).unwrap()).await.unwrap();
        eventually("everything is acknowledged", || {
            let groups = self.json(&["stream", "info"])["groups"].as_array().unwrap().clone();
            let group = groups.into_iter().find(|entry| entry["name"] == group)?;
            (group["lag"] == 0 && group["pending"] == 0).then_some(())
        });
        app.stop().await.unwrap();
    }

    /// What is booked and who is there: everything that must not change by a repetition.
    fn books(&self) -> (Value, Value, String) {
        self.json(&["ledger", "verify"]);
        (
            self.json(&["user", "stats", "new"]),
            self.json(&["user", "seeding", "new", "--members"]),
            self.run(&["user", "stats", "old"]).stdout,
        )
    }

    fn uploaded(&self, passkey: &str) -> i64 {
        let sql = rusqlite::Connection::open(self.database()).unwrap();
        let sum = "SELECT coalesce(sum(raw_up), 0) FROM user_traffic WHERE passkey = ?1";
        sql.query_row(sum, [passkey], |row| row.get(0)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_go_on_with_the_old_passkey_and_every_byte_is_the_new_ones_once() {
    let site = Site::start().await;
    for (client, uploaded) in [('a', 100), ('b', 1000), ('a', 130), ('c', 5)] {
        site.accepted("old", client, uploaded);
    }
    site.settle("site").await;
    // Unread when the passkey is rotated.
    site.accepted("old", 'a', 170);
    let dry = site.json(&["passkey", "rotate", "old", "new", "--dry-run"]);
    assert_eq!((dry["snapshots"].as_u64(), dry["events"].as_u64()), (Some(3), Some(4)));
    assert!(site.announce("new", 'a', 170).contains("unapproved passkey"), "a dry run changes nothing");
    let moved = site.json(&["passkey", "rotate", "old", "new"]);
    assert_eq!((moved["snapshots"].as_u64(), moved["sessions"].as_u64()), (Some(3), Some(3)));
    site.accepted("old", 'a', 200);
    site.accepted("new", 'a', 260);
    site.accepted("old", 'b', 1700);
    site.accepted("new", 'c', 7);
    site.settle("site").await;
    assert_eq!((site.uploaded("new"), site.uploaded("old")), (160 + 700 + 2, 0));
    assert_eq!(site.json(&["passkey", "rotate", "old", "new"])["events"], 0);
    let books = site.books();
    site.settle("again-from-the-beginning").await;
    assert_eq!(site.books(), books);
    assert_eq!(site.uploaded("new"), 862);
    assert_eq!(site.json(&["presence", "rebuild", "--dry-run"])["differences"], 0);
    let removed = site.run(&["passkey", "remove", "old"]).expect(0);
    assert!(removed.stderr.contains("1 passkey was rotated"), "{}", removed.stderr);
    eventually("the old passkey is refused", || {
        site.announce("old", 'a', 261).contains("unapproved passkey").then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_was_killed_goes_on_where_it_stopped() {
    let site = Site::start().await;
    site.accepted("old", 'a', 100);
    site.accepted("old", 'b', 100);
    site.accepted("old", 'a', 150);
    site.settle("site").await;
    let lock = rusqlite::Connection::open(site.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut killed =
        command(&site.redis.url(), &site.database(), &["passkey", "rotate", "old", "new"]).spawn().unwrap();
    eventually("only the ledger is left to do", || {
        let left: u64 = site.redis.connection().hlen("tracker:presence:guard:old").unwrap();
        let alias: bool = site.redis.connection().hexists("pt:passkeys:alias", "old").unwrap();
        (alias && left == 0).then_some(())
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    lock.execute_batch("ROLLBACK").unwrap();
    site.accepted("old", 'a', 175);
    site.accepted("new", 'b', 130);
    site.settle("site").await;
    assert_eq!((site.uploaded("old"), site.uploaded("new")), (50, 55));
    let other = site.run(&["passkey", "rotate", "new", "newer"]).expect(2);
    assert!(other.stderr.contains("broken off"), "{}", other.stderr);
    site.run(&["passkey", "rotate", "old", "new"]).expect(0);
    assert_eq!((site.uploaded("old"), site.uploaded("new")), (0, 105));
    let books = site.books();
    site.settle("again-from-the-beginning").await;
    assert_eq!(site.books(), books);
    assert!(!site.redis.connection().exists::<_, bool>("tracker:rotating").unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_killed_after_its_first_step_costs_no_client_a_byte() {
    let site = Site::start().await;
    site.accepted("old", 'a', 100);
    site.accepted("old", 'b', 100);
    // What the first step writes.
    site.redis.connection().hset::<_, _, _, ()>("tracker:rotating", "new", "old").unwrap();
    site.redis.connection().hset::<_, _, _, ()>("pt:passkeys:alias", "old", "new").unwrap();
    site.accepted("old", 'a', 175);
    site.settle("site").await;
    site.run(&["passkey", "rotate", "old", "new"]).expect(0);
    site.accepted("new", 'b', 130);
    site.settle("site").await;
    assert_eq!((site.uploaded("old"), site.uploaded("new")), (0, 105));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rotated_is_refused_without_naming_it() {
    let site = Site::start().await;
    for pair in [["old", "old"], ["nobody", "new"]] {
        let run = site.run(&["passkey", "rotate", pair[0], pair[1]]).expect(2);
        assert!(!run.stderr.contains("nobody"), "{}", run.stderr);
    }
    site.run(&["passkey", "rotate", "old", "new"]).expect(0);
    assert!(site.run(&["passkey", "rotate", "new", "old"]).expect(2).stderr.contains("was itself rotated"));
    assert!(site.run(&["passkey", "rotate", "old", "other"]).expect(2).stderr.contains("already"));
    site.run(&["passkey", "rotate", "new", "newer"]).expect(0);
    let alias: String = site.redis.connection().hget("pt:passkeys:alias", "old").unwrap();
    assert_eq!(alias, "newer");
}
