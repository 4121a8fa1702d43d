//! What `trackerctl` says of users, promotions and the ledger, over events settled by the consumer's own
//! code.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use std::path::{Path, PathBuf};

use books::ledger::{Access, open};
use books::settlement::Rules;
use books::{Entry, EntryId};
use contract::{Event, PeerId, TrafficEvent};
use harness::{RedisServer, free_port};
use redis::Commands;
use support::{announce, run_with};
use tempfile::TempDir;

const GIB: u64 = 1 << 30;

struct Site {
    folder: TempDir,
    redis: String,
}

impl Site {
    /// A ledger with tables, and no Redis.
    fn without_redis() -> Self {
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
            redis: format!("redis://127.0.0.1:{}/0", free_port()),
        };
        site.run(&["ledger", "migrate"]).expect(0);
        site
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    fn run(&self, args: &[&str]) -> support::Run {
        run_with(&self.redis, &self.database(), args)
    }

    fn json(&self, args: &[&str], code: i32) -> serde_json::Value {
        self.run(&[&["--json"], args].concat()).expect(code).json()
    }

    fn settle(&self, events: &[TrafficEvent]) {
        let url = format!("sqlite://{}", self.database().display());
        let mut ledger = open(&url.as_str().into(), Access::Write).unwrap();
        let entry =
            |event: &TrafficEvent| Entry { id: EntryId::at_ms(event.ts * 1000), event: event.clone() };
        let entries: Vec<Entry> = events.iter().map(entry).collect();
        ledger.settle(&entries, &Rules::default()).unwrap();
    }
}

/// A session of a seeder: started, one upload, a heartbeat, an impossible figure.
fn session() -> Vec<TrafficEvent> {
    vec![
        TrafficEvent { event: Event::Started, dt: 0, ..announce("alice", 1_000_000) },
        TrafficEvent { du: 3 * GIB, dd: GIB, left: 5, ..announce("alice", 1_001_800) },
        announce("alice", 1_003_600),
        TrafficEvent { du: 1 << 50, ..announce("alice", 1_005_400) },
    ]
}

#[test]
fn stats_are_the_ledgers_totals_with_or_without_redis() {
    let site = Site::without_redis();
    site.settle(&session());
    let run = site.run(&["--json", "user", "stats", "alice"]).expect(0);
    let stats = run.json();
    assert_eq!(
        (stats["raw_up"].as_u64(), stats["credited_up"].as_u64()),
        (Some(3 * GIB + (1 << 50)), Some(3 * GIB))
    );
    assert_eq!((stats["ratio"].as_f64(), stats["seeding_now"].as_u64()), (Some(3.0), None));
    assert_eq!((stats["seed_seconds"].as_u64(), stats["leech_seconds"].as_u64()), (Some(3600), Some(1800)));
    assert!(run.stderr.contains("is redis-server running?"), "{}", run.stderr);

    let redis = RedisServer::start();
    let _: u64 = redis.connection().sadd("tracker:passkey:seed:alice", "ab".repeat(20)).unwrap();
    let stats = run_with(&redis.url(), &site.database(), &["user", "stats", "alice"]).expect(0);
    assert!(stats.stdout.contains("3.000") && stats.stdout.contains("3.00 GiB"), "{}", stats.stdout);
    assert!(
        stats.stdout.contains("1 torrent") && stats.stderr.is_empty(),
        "{}{}",
        stats.stdout,
        stats.stderr
    );
    assert_eq!(site.json(&["user", "stats", "nobody"], 1)["known"], false);
}

#[test]
fn explain_tells_why_each_announce_was_worth_what_it_was() {
    let site = Site::without_redis();
    site.json(&["promotion", "add", "--global", "--down", "0", "--from", "1001000", "--for", "1h"], 0);
    site.settle(&session());
    let story = site.json(&["user", "explain", "alice"], 0);
    let why: Vec<&str> =
        story["events"].as_array().unwrap().iter().map(|e| e["why"].as_str().unwrap()).collect();
    assert_eq!(why[0], "first announce of this session: baseline only");
    assert_eq!(why[1], "promotion 1: download free");
    assert_eq!(why[2], "heartbeat: counters did not move");
    assert!(why[3].starts_with("flagged: up 1.00 PiB and down 0 B in 30m is faster than"), "{}", why[3]);
    assert_eq!(story["events"][1]["down_factor"], 0.0);
    assert_eq!(story["events"][3]["flag"], "speed");
    assert_eq!(story["shown"], story["ledger"], "the sums are the ledger's totals");

    let text = site.run(&["user", "explain", "alice"]).expect(0).stdout;
    assert!(text.contains("1.00 GiB ×0 → 0 B") && text.contains("Transmission 4.0.0"), "{text}");
    assert!(text.contains("ledger: up") && text.contains("1970-01-12T14:16:40Z"), "{text}");
}

#[test]
fn explain_can_be_cut_to_one_torrent_and_to_the_newest() {
    let site = Site::without_redis();
    site.settle(&session());
    let other =
        TrafficEvent { info_hash: contract::InfoHash([1; 20]), du: 7, ..announce("alice", 1_002_000) };
    site.settle(&[other]);
    let one = site.json(&["user", "explain", "alice", &"01".repeat(20)], 0);
    assert_eq!((one["events"].as_array().unwrap().len(), one["ledger"]["raw_up"].as_u64()), (1, Some(7)));
    let run = site.run(&["--json", "user", "explain", "alice", "--limit", "2"]).expect(0);
    let cut = run.json();
    assert_eq!((cut["events"].as_array().unwrap().len(), cut["older_left_out"].as_bool()), (2, Some(true)));
    assert!(run.stderr.contains("older announces are left out"), "{}", run.stderr);
    let since = site.json(&["user", "explain", "alice", "--since", "1003600"], 0);
    assert_eq!(
        (since["events"].as_array().unwrap().len(), since["older_left_out"].as_bool()),
        (2, Some(true))
    );
    assert!(site.run(&["user", "explain", "nobody"]).expect(0).stdout.contains("no settled announce"));
}

#[test]
fn time_that_two_clients_claim_is_explained() {
    let site = Site::without_redis();
    let twin = |ts| TrafficEvent { peer_id: PeerId(*b"-qB4650-abcdefghijkl"), ..announce("alice", ts) };
    site.settle(&[announce("alice", 1_000_000), twin(1_000_001)]);
    let story = site.json(&["user", "explain", "alice"], 0);
    let seconds = |sums: &str| story[sums]["seed_seconds"].as_u64();
    assert_eq!((seconds("shown"), seconds("ledger")), (Some(3600), Some(1801)));
    let text = site.run(&["user", "explain", "alice"]).expect(0).stdout;
    assert!(text.contains("two clients on one torrent earn a second once"), "{text}");
}

#[test]
fn migrate_says_what_it_applied_and_verify_finds_a_drift() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site { folder, redis: "redis://127.0.0.1:1/0".into() };
    let not_yet = site.run(&["ledger", "verify", "--ledger-only"]).expect(3);
    assert!(
        not_yet.stderr.contains("ledger.db") && not_yet.stderr.contains("DATABASE_URL"),
        "{}",
        not_yet.stderr
    );
    assert_eq!(site.json(&["ledger", "migrate"], 0)["applied"][0], "V1__ledger");
    assert_eq!(site.json(&["ledger", "migrate"], 0)["applied"], serde_json::json!([]));
    site.settle(&session());
    assert_eq!(site.json(&["ledger", "verify", "--ledger-only"], 0)["agrees"], true);
    spoil(&site.database());
    let verified = site.json(&["ledger", "verify", "--ledger-only"], 1);
    assert_eq!(
        (verified["agrees"].as_bool(), verified["drifts"][0]["column"].as_str()),
        (Some(false), Some("raw_up"))
    );
    let text = site.run(&["ledger", "verify", "--ledger-only"]).expect(1).stdout;
    assert!(text.contains("user_traffic") && text.contains("al…") && !text.contains("alice"), "{text}");
    assert!(
        site.run(&["ledger", "verify", "--ledger-only", "--show-passkeys"])
            .expect(1)
            .stdout
            .contains("alice")
    );
}

fn spoil(database: &Path) {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.execute("UPDATE user_traffic SET raw_up = raw_up + 1", []).unwrap();
}

#[test]
fn promotions_are_added_listed_and_ended() {
    let site = Site::without_redis();
    let added =
        site.json(&["promotion", "add", "--film", "42", "--up", "2", "--down", "0.5", "--for", "2d"], 0);
    assert_eq!((added["id"].as_i64(), added["state"].as_str()), (Some(1), Some("in_force")));
    assert_eq!((added["up_factor"].as_f64(), added["down_factor"].as_f64()), (Some(2.0), Some(0.5)));
    assert_eq!(added["ends_at"].as_i64().unwrap() - added["starts_at"].as_i64().unwrap(), 172_800);
    assert_eq!(
        site.json(&["promotion", "add", "--global", "--down", "0", "--from", "1h"], 0)["state"],
        "to_come"
    );
    assert_eq!(site.json(&["promotion", "end", "1"], 0)["found"], true);
    assert_eq!(site.json(&["promotion", "list"], 0)[0]["state"], "ended");
    assert_eq!(site.json(&["promotion", "list", "--in-force"], 0), serde_json::json!([]));
    assert!(site.run(&["promotion", "list"]).expect(0).stdout.contains("further notice"));
    site.run(&["promotion", "end", "9"]).expect(1);
    site.run(&["promotion", "add", "--down", "0"]).expect(2);
    site.run(&["promotion", "add", "--global", "--down", "-1"]).expect(2);
}

#[test]
fn a_mistyped_database_is_never_created() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no.db");
    for args in [&["user", "stats", "a"][..], &["promotion", "add", "--global"], &["stream", "dead", "retry"]]
    {
        run_with("redis://127.0.0.1:1/0", &missing, args).expect(3);
    }
    assert!(!missing.exists());
}
