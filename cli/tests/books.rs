//! `trackerctl ledger verify`, `ledger prune` and `presence`: whether the books balance, over what a real
//! consumer settled.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use consumer::app::App;
use consumer::config::{Config, Plan};
use contract::{PeerId, TrafficEvent};
use harness::{RedisServer, eventually, free_port};
use redis::Commands;
use serde_json::Value;
use support::{Run, announce, run_with};
use tempfile::TempDir;

const STREAM: &str = "tracker:traffic";

struct Site {
    redis: RedisServer,
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        Self { redis: RedisServer::start(), folder: tempfile::tempdir().unwrap() }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    fn run(&self, args: &[&str]) -> Run {
        run_with(&self.redis.url(), &self.database(), args)
    }

    fn json(&self, args: &[&str], code: i32) -> Value {
        self.run(&[&["--json"], args].concat()).expect(code).json()
    }

    fn sql(&self, statement: &str) {
        rusqlite::Connection::open(self.database()).unwrap().execute_batch(statement).unwrap();
    }

    fn redis(&self, words: &[&str]) {
        redis::cmd(words[0]).arg(&words[1..]).query::<redis::Value>(&mut self.redis.connection()).unwrap();
    }

    fn append(&self, id: &str, event: &TrafficEvent) {
        let _: String = self.redis.connection().xadd(STREAM, id, &event.to_fields()).unwrap();
    }

    /// Runs a consumer until everything that is in the stream now is acknowledged.
    async fn settle(&self) {
        let config = Config {
            redis_broker: self.redis.url().as_str().into(),
            database: format!("sqlite://{}", self.database().display()).as_str().into(),
            metrics_addr: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        let app = App::start(Plan::of(config).unwrap()).await.unwrap();
        eventually("everything is acknowledged", || {
            let info = self.run(&["--json", "stream", "info"]).expect(0).json();
            let group = &info["groups"][0];
            (group["lag"] == 0 && group["pending"] == 0).then_some(())
        });
        app.stop().await.unwrap();
    }

    /// Three announces of alice with two clients, settled.
    async fn settled() -> Self {
        let site = Self::new();
        for (at, client) in [(20, 1), (10, 2), (5, 1)] {
            site.append("*", &seeding(now() - at, client));
        }
        site.settle().await;
        site
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn seeding(ts: u64, client: u8) -> TrafficEvent {
    TrafficEvent { du: 100, peer_id: PeerId([client; 20]), ..announce("alicealice", ts) }
}

#[tokio::test(flavor = "multi_thread")]
async fn books_that_balance_are_said_to_with_what_was_compared() {
    let site = Site::settled().await;
    site.append("*", &seeding(now(), 3));
    let verified = site.json(&["ledger", "verify"], 0);
    let stream = &verified["stream"];
    assert_eq!(
        (&stream["entries"], &stream["settled"], &stream["pending"], &stream["missing"]),
        (&4.into(), &3.into(), &1.into(), &0.into())
    );
    assert_eq!(
        (&verified["presence"]["seeding"], &verified["presence"]["differences"]),
        (&2.into(), &0.into())
    );
    let text = site.run(&["ledger", "verify"]).expect(0).stdout;
    for part in [
        "every total is what",
        "stream: 4 entries compared: 3 settled",
        "1 pending",
        "sets: 2 sessions seeding",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_entry_that_is_not_in_the_ledger_is_a_drift() {
    let site = Site::settled().await;
    // As a restored backup would leave it: rows and totals agree with each other.
    site.sql("DELETE FROM settled_events; DELETE FROM user_traffic; DELETE FROM torrent_traffic");
    let verified = site.json(&["ledger", "verify"], 1);
    assert_eq!((&verified["drifts"], &verified["stream"]["missing"]), (&serde_json::json!([]), &3.into()));
    let text = site.run(&["ledger", "verify"]).expect(1).stdout;
    assert!(text.contains("3 missing from the ledger") && !text.contains("alicealice"), "{text}");
    site.run(&["ledger", "verify", "--ledger-only"]).expect(0);

    site.redis(&["XGROUP", "SETID", STREAM, "site", "0"]);
    site.settle().await;
    site.run(&["ledger", "verify"]).expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_no_drift_and_neither_is_one_that_was_dropped() {
    let site = Site::settled().await;
    let _: String = site.redis.connection().xadd(STREAM, "*", &[("passkey", "alicealice")]).unwrap();
    site.settle().await;
    let stream = |key: &str| site.json(&["ledger", "verify"], 0)["stream"][key].clone();
    assert_eq!(stream("dead"), 1);
    site.run(&["stream", "dead", "drop", "--all"]).expect(0);
    assert_eq!(stream("dropped"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_that_do_not_follow_from_the_stream_are_a_drift_until_they_are_rebuilt() {
    let site = Site::settled().await;
    site.redis(&["SADD", "tracker:passkey:leech:alicealice", &"cd".repeat(20)]);
    site.redis(&["DEL", &format!("tracker:passkey:seed:members:alicealice:{}", "ab".repeat(20))]);
    assert_eq!(site.json(&["ledger", "verify"], 1)["presence"]["differences"], 3);
    let dry = site.json(&["presence", "rebuild", "--dry-run"], 0);
    assert_eq!((&dry["dry_run"], &dry["differences"], &dry["seeding"]), (&true.into(), &3.into(), &2.into()));
    let text = site.run(&["presence", "rebuild"]).expect(0).stdout;
    assert!(text.contains("3 differences mended") && text.contains("torrent_extra"), "{text}");
    assert!(text.contains("alic…") && !text.contains("alicealice"), "{text}");
    site.run(&["ledger", "verify"]).expect(0);
    assert_eq!(site.json(&["presence", "rebuild"], 0)["differences"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_any_settled_announce_is_a_drift_even_after_a_trim() {
    let site = Site::settled().await;
    site.redis(&["XTRIM", STREAM, "MAXLEN", "0"]);
    assert_eq!(site.json(&["ledger", "verify"], 0)["presence"]["unsettled"], 0);
    site.sql("DELETE FROM settled_events; DELETE FROM user_traffic; DELETE FROM torrent_traffic");
    assert_eq!(site.json(&["ledger", "verify"], 1)["presence"]["unsettled"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_by_hand_removes_the_silent_and_waits_for_what_is_unread() {
    let site = Site::new();
    let hours_ago = (now() - 7200) * 1000;
    site.append(&format!("{hours_ago}-0"), &seeding(now() - 7200, 1));
    site.settle().await;
    // Its lease was over when it was read; a longer one is not.
    let patient = site.folder.path().join("consumer.yaml");
    std::fs::write(&patient, "presence: {peer_timeout: 3h}\n").unwrap();
    let hash = "ab".repeat(20);
    let (guard, peer) = ("tracker:presence:guard:alicealice", "01".repeat(20));
    let value = format!("{hours_ago:020}{:020}s{}", 0, now() - 3600);
    let fall_silent = || {
        site.redis(&["HSET", guard, &format!("{hash}:{peer}"), &value]);
        site.redis(&["ZADD", "tracker:presence:lease", "1", &format!("alicealice:{hash}:{peer}")]);
    };
    fall_silent();
    site.append(&format!("{}-1", hours_ago + 60_000), &seeding(now() - 7100, 2));
    let waiting = site.json(&["presence", "sweep"], 0);
    assert_eq!(
        (&waiting["expired"], waiting["judged_at"].as_u64()),
        (&0.into(), Some(hours_ago / 1000 + 60))
    );
    site.settle().await;
    // That consumer may have swept as well, once nothing was unread.
    fall_silent();
    let text = site.run(&["presence", "sweep", "--config", patient.to_str().unwrap()]).expect(0).stdout;
    assert!(text.contains("1 silent peer removed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_takes_what_can_no_longer_be_delivered_and_the_books_still_balance() {
    let site = Site::new();
    let long_ago = now() - 90 * 86_400;
    for i in 0..3 {
        let ts = long_ago + i * 10;
        site.append(&format!("{}-0", ts * 1000), &seeding(ts, 1));
    }
    site.append("*", &seeding(now(), 1));
    site.settle().await;
    let prune = |more: &[&str]| site.json(&[&["ledger", "prune"], more].concat(), 0)["removed"].clone();
    assert_eq!(prune(&[]), 0, "the stream could still deliver them to a new group");
    site.redis(&["XTRIM", STREAM, "MAXLEN", "1"]);
    let stats = || site.json(&["user", "stats", "alicealice"], 0)["raw_up"].clone();
    let before = stats();

    let letter = [("_entry_id", format!("{}-0", (long_ago + 10) * 1000)), ("_error", "x".into())];
    let id: String = site.redis.connection().xadd("tracker:traffic:dlq", "*", &letter).unwrap();
    assert_eq!(prune(&["--dry-run"]), 1, "a dead letter may still be settled");
    site.run(&["stream", "dead", "drop", &id]).expect(0);
    assert_eq!(prune(&["--days", "365"]), 0);
    assert_eq!(prune(&["--dry-run"]), 3);
    let text = site.run(&["ledger", "prune"]).expect(0).stdout;
    assert!(text.contains("3 events from before") && text.contains("removed"), "{text}");
    assert_eq!(stats(), before);
    let verified = site.json(&["ledger", "verify"], 0);
    assert_eq!((&verified["agrees"], &verified["stream"]["settled"]), (&true.into(), &1.into()));
    assert_eq!(site.json(&["user", "explain", "alicealice"], 0)["older_left_out"], true);
}

#[test]
fn without_the_consumers_stream_nothing_is_pruned_and_without_redis_nothing_is_compared() {
    let site = Site::new();
    site.run(&["ledger", "migrate"]).expect(0);
    let refused = site.run(&["ledger", "prune"]).expect(2);
    assert!(refused.stderr.contains("no group `site`"), "{}", refused.stderr);
    let away = format!("redis://127.0.0.1:{}/0", free_port());
    run_with(&away, &site.database(), &["ledger", "verify"]).expect(3);
    run_with(&away, &site.database(), &["ledger", "verify", "--ledger-only"]).expect(0);
    run_with(&away, &site.database(), &["presence", "rebuild"]).expect(3);
}
