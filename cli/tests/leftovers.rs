//! `trackerctl stream trim` and `stream dead`: nothing that somebody still needs goes without being told to.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use std::path::Path;

use harness::RedisServer;
use redis::Commands;
use support::{announce, run, run_with};

const STREAM: &str = "tracker:traffic";
const DEAD: &str = "tracker:traffic:dlq";
const FAILED: &str = "tracker:traffic:failed";

fn add(redis: &RedisServer, count: u64) {
    for ts in 1..=count {
        let _: String = redis.connection().xadd(STREAM, "*", &announce("alice", ts).to_fields()).unwrap();
    }
}

fn read(redis: &RedisServer, count: u64) -> Vec<String> {
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg("site").arg("c1").arg("COUNT").arg(count).arg("STREAMS").arg(STREAM).arg(">");
    let reply: redis::streams::StreamReadReply = read.query(&mut redis.connection()).unwrap();
    reply.keys[0].ids.iter().map(|entry| entry.id.clone()).collect()
}

fn length(redis: &RedisServer, stream: &str) -> u64 {
    redis.connection().xlen(stream).unwrap()
}

#[test]
fn a_guarded_trim_stops_at_the_first_entry_that_somebody_needs() {
    let redis = RedisServer::start();
    add(&redis, 10);
    redis.connection().xgroup_create::<_, _, _, ()>(STREAM, "site", "0").unwrap();
    let ids = read(&redis, 6);
    // The fourth is read and not acknowledged; seven to ten are not read.
    for id in ids.iter().filter(|id| **id != ids[3]) {
        let _: u64 = redis.connection().xack(STREAM, "site", &[id]).unwrap();
    }
    let json =
        |args: &[&str]| run(&redis.url(), &[&["--json", "stream", "trim"], args].concat()).expect(0).json();
    let dry = json(&["--keep", "2", "--dry-run"]);
    assert_eq!(
        (dry["old"].as_u64(), dry["removed"].as_u64(), dry["unsettled"].as_u64()),
        (Some(8), Some(3), Some(3))
    );
    assert_eq!(length(&redis, STREAM), 10, "a dry run removes nothing");
    assert_eq!(json(&["--days", "1"])["removed"], 0);
    let text = run(&redis.url(), &["stream", "trim", "--keep", "2"]).expect(0).stdout;
    assert!(text.contains("3 of 8 old entries removed; 5 stay until"), "{text}");
    assert_eq!(length(&redis, STREAM), 7);
    let forced = json(&["--keep", "2", "--force"]);
    assert_eq!((forced["removed"].as_u64(), forced["destroyed"].as_u64()), (Some(5), Some(3)));
    assert_eq!(length(&redis, STREAM), 2);
}

#[test]
fn without_the_consumers_group_nothing_counts_as_settled() {
    let redis = RedisServer::start();
    add(&redis, 3);
    let trimmed = run(&redis.url(), &["--json", "stream", "trim", "--keep", "0"]).expect(0).json();
    assert_eq!((trimmed["old"].as_u64(), trimmed["removed"].as_u64()), (Some(3), Some(0)));
    run(&redis.url(), &["stream", "trim"]).expect(2);
    run(&redis.url(), &["stream", "trim", "--keep", "1", "--days", "1"]).expect(2);
}

/// A letter as the consumer writes it: the entry's own fields, then its notes.
fn bury(redis: &RedisServer, stream: &str, entry_id: &str, good: bool) -> String {
    let mut fields = announce("alicealice", 1_000_000).to_fields();
    if !good {
        fields.retain(|(name, _)| *name != "du");
    }
    let notes = [
        ("_entry_id", entry_id),
        ("_error", "field `du` is missing"),
        ("_count", "0"),
        ("_at", "1700000000"),
    ];
    fields.extend(notes.map(|(name, value)| (name, value.to_owned())));
    redis.connection().xadd(stream, "*", &fields).unwrap()
}

#[test]
fn dead_letters_are_listed_with_their_error_and_without_their_passkey() {
    let redis = RedisServer::start();
    bury(&redis, DEAD, "1700000000000-0", false);
    let text = run(&redis.url(), &["stream", "dead", "list"]).expect(0).stdout;
    assert!(text.contains("1700000000000-0") && text.contains("field `du` is missing"), "{text}");
    let list = run(&redis.url(), &["--json", "stream", "dead", "list"]).expect(0).json();
    assert_eq!(
        (list["total"].as_u64(), list["letters"][0]["fields"]["passkey"].as_str()),
        (Some(1), Some("alic…"))
    );
    let failed = run(&redis.url(), &["--json", "stream", "dead", "list", "--failed"]).expect(0).json();
    assert_eq!(failed["letters"], serde_json::json!([]));
}

#[test]
fn a_retry_settles_what_can_be_settled_and_says_what_cannot() {
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("ledger.db");
    let go = |args: &[&str]| run_with(&redis.url(), &database, &[&["--json"], args].concat());
    go(&["ledger", "migrate"]).expect(0);
    bury(&redis, DEAD, "1700000000000-0", true);
    bury(&redis, DEAD, "1700000000001-0", false);
    let tried = go(&["stream", "dead", "retry"]).expect(1).json();
    assert_eq!(
        (tried["tried"].as_u64(), tried["settled"].as_u64(), tried["still_dead"].as_u64()),
        (Some(2), Some(1), Some(1))
    );
    assert_eq!(length(&redis, DEAD), 1);
    let story = go(&["user", "explain", "alicealice"]).expect(0).json();
    assert_eq!(story["events"][0]["entry_id"], "1700000000000-0");
    go(&["stream", "dead", "retry"]).expect(1);
    assert_eq!(go(&["stream", "dead", "retry"]).expect(1).json()["given_up"], 1);
    assert_eq!((length(&redis, DEAD), length(&redis, FAILED)), (0, 1));
    bury(&redis, FAILED, "1700000000002-0", true);
    let id = go(&["stream", "dead", "list", "--failed"]).expect(0).json()["letters"][1]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(go(&["stream", "dead", "retry", "--failed", &id]).expect(0).json()["settled"], 1);
    assert_eq!(length(&redis, FAILED), 1);
}

#[test]
fn letters_are_dropped_one_by_one_or_all_at_once_and_never_by_accident() {
    let redis = RedisServer::start();
    let first = bury(&redis, DEAD, "1700000000000-0", false);
    for _ in 0..1200 {
        bury(&redis, DEAD, "1700000000000-0", false);
    }
    let go = |args: &[&str]| run(&redis.url(), &[&["--json", "stream", "dead", "drop"], args].concat());
    go(&[]).expect(2);
    let one = go(&[&first, "1-1"]).expect(0).json();
    assert_eq!((one["dropped"].as_u64(), one["not_there"].as_u64()), (Some(1), Some(1)));
    assert_eq!(length(&redis, DEAD), 1200);
    assert_eq!(go(&["--all"]).expect(0).json()["dropped"], 1200);
    assert_eq!(length(&redis, DEAD), 0);
}

#[test]
fn a_retry_takes_the_consumers_limits_from_its_configuration() {
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let (database, config) = (folder.path().join("ledger.db"), folder.path().join("consumer.yaml"));
    std::fs::write(&config, "retry_max: 1\n").unwrap();
    run_with(&redis.url(), &database, &["ledger", "migrate"]).expect(0);
    bury(&redis, DEAD, "1700000000000-0", false);
    let args = ["--json", "stream", "dead", "retry", "--config", config.to_str().unwrap()];
    assert_eq!(run_with(&redis.url(), &database, &args).expect(1).json()["given_up"], 1);
    run_with(
        &redis.url(),
        Path::new("/nonexistent"),
        &["stream", "dead", "retry", "--config", "/nonexistent"],
    )
    .expect(2);
}
