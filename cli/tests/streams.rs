//! `trackerctl stream` and `trackerctl user` where they only need a real Redis.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use contract::{PeerId, TrafficEvent};
use harness::{RedisServer, eventually};
use redis::Commands;
use support::{announce, command, run};

const STREAM: &str = "tracker:traffic";

fn add(redis: &RedisServer, ts: u64) -> String {
    let event = TrafficEvent { du: 3 << 29, ..announce("hunter2hunter2", ts) };
    redis.connection().xadd(STREAM, "*", &event.to_fields()).unwrap()
}

#[test]
fn info_of_a_stream_that_is_not_there_yet_is_an_answer() {
    let redis = RedisServer::start();
    let info = run(&redis.url(), &["--json", "stream", "info"]).expect(0).json();
    assert_eq!((info["exists"].as_bool(), info["length"].as_u64()), (Some(false), Some(0)));
    assert!(run(&redis.url(), &["stream", "info"]).expect(0).stdout.contains("does not exist yet"));
}

#[test]
fn info_and_pending_show_how_far_the_group_is() {
    let redis = RedisServer::start();
    let first = add(&redis, 1);
    add(&redis, 2);
    add(&redis, 3);
    run(&redis.url(), &["--json", "stream", "pending"]).expect(1).json();
    redis.connection().xgroup_create::<_, _, _, ()>(STREAM, "site", "0").unwrap();
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg("site").arg("c1").arg("COUNT").arg(2).arg("STREAMS").arg(STREAM).arg(">");
    read.exec(&mut redis.connection()).unwrap();

    let _: () = redis.connection().hset("tracker:traffic:head", "n", 3).unwrap();

    let info = run(&redis.url(), &["--json", "stream", "info"]).expect(0).json();
    assert_eq!(info["numbered"], 3);
    assert_eq!((info["length"].as_u64(), info["first"]["id"].as_str()), (Some(3), Some(first.as_str())));
    assert_eq!(
        (info["groups"][0]["lag"].as_u64(), info["groups"][0]["pending"].as_u64()),
        (Some(1), Some(2))
    );
    assert!(run(&redis.url(), &["stream", "info"]).expect(0).stdout.contains("site"));

    let pending = run(&redis.url(), &["--json", "stream", "pending", "--limit", "1"]).expect(0).json();
    assert_eq!(
        (pending["pending"].as_u64(), pending["oldest"]["id"].as_str()),
        (Some(2), Some(first.as_str()))
    );
    assert_eq!(pending["entries"].as_array().unwrap().len(), 1);
    assert_eq!(pending["consumers"][0]["name"], "c1");
}

#[test]
fn info_shows_no_lag_of_a_group_that_has_read_everything_after_redis_read_its_file_again() {
    let mut redis = RedisServer::start();
    redis.connection().xgroup_create_mkstream::<_, _, _, ()>(STREAM, "site", "0").unwrap();
    let read = |redis: &RedisServer| {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg("site").arg("c1").arg("STREAMS").arg(STREAM).arg(">");
        read.exec(&mut redis.connection()).unwrap();
    };
    add(&redis, 1);
    read(&redis);
    // The rewritten file says how many entries the group has read, and what follows in it does not count on.
    redis::cmd("BGREWRITEAOF").exec(&mut redis.connection()).unwrap();
    eventually("the file is rewritten", || {
        let info: redis::InfoDict =
            redis::cmd("INFO").arg("persistence").query(&mut redis.connection()).unwrap();
        (info.get::<u8>("aof_rewrite_in_progress") == Some(0)
            && info.get::<u8>("aof_rewrite_scheduled") == Some(0))
        .then_some(())
    });
    (2..=4).for_each(|ts| drop(add(&redis, ts)));
    read(&redis);
    redis.kill();
    redis.restart();
    let info = run(&redis.url(), &["--json", "stream", "info"]).expect(0).json();
    assert_eq!(info["groups"][0]["lag"].as_u64(), Some(0), "{info}");
}

#[test]
fn pending_on_a_key_of_another_type_is_an_error_and_no_answer() {
    let redis = RedisServer::start();
    redis.connection().set::<_, _, ()>(STREAM, "x").unwrap();
    let run = run(&redis.url(), &["stream", "pending"]).expect(3);
    assert!(run.stderr.contains("WRONGTYPE"), "{}", run.stderr);
}

#[test]
fn tail_shows_the_newest_announces_and_hides_passkeys() {
    let redis = RedisServer::start();
    for ts in 1..=4 {
        add(&redis, ts);
    }
    redis.connection().xadd::<_, _, _, _, ()>(STREAM, "*", &[("passkey", "hunter2hunter2")]).unwrap();
    let text = run(&redis.url(), &["stream", "tail", "-n", "3"]).expect(0).stdout;
    assert!(text.contains("hunt…") && !text.contains("hunter2"), "{text}");
    assert!(text.contains("Transmission 4.0.0") && text.contains("1.50 GiB"), "{text}");
    assert!(text.contains("cannot be read: field `infohash` is missing"), "{text}");
    let json = run(&redis.url(), &["--json", "stream", "tail", "--show-passkeys"]).expect(0).json();
    assert_eq!(json.as_array().unwrap().len(), 5);
    assert_eq!(
        (json[0]["passkey"].as_str(), json[0]["du"].as_u64()),
        (Some("hunter2hunter2"), Some(3 << 29))
    );
}

#[test]
fn follow_prints_what_comes_and_ends_quietly_with_its_reader() {
    let redis = RedisServer::start();
    add(&redis, 1);
    let mut child =
        command(&redis.url(), Path::new("/nonexistent"), &["--json", "stream", "tail", "-f", "-n", "1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next_ts = || {
        let line = lines.next().unwrap().unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["ts"].as_u64().unwrap()
    };
    assert_eq!(next_ts(), 1);
    add(&redis, 2);
    assert_eq!(next_ts(), 2);
    drop(lines);
    add(&redis, 3);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn seeding_and_leeching_list_torrents_and_their_clients() {
    let redis = RedisServer::start();
    let (hash, peer) = ("ab".repeat(20), PeerId(*b"-TR4000-abcdefghijkl").to_string());
    let mut connection = redis.connection();
    let _: u64 = connection.sadd("tracker:passkey:seed:alice", &hash).unwrap();
    let _: u64 = connection.sadd(format!("tracker:passkey:seed:members:alice:{hash}"), &peer).unwrap();
    assert_eq!(run(&redis.url(), &["user", "seeding", "alice"]).expect(0).stdout.trim(), hash);
    let seeding = run(&redis.url(), &["--json", "user", "seeding", "alice", "--members"]).expect(0).json();
    assert_eq!(seeding["torrents"][0]["infohash"], hash.as_str());
    assert_eq!(seeding["torrents"][0]["members"][0]["client"], "Transmission 4.0.0");
    let leeching = run(&redis.url(), &["--json", "user", "leeching", "alice"]).expect(0).json();
    assert_eq!((leeching["count"].as_u64(), leeching["torrents"].as_array().unwrap().len()), (Some(0), 0));
    assert!(run(&redis.url(), &["user", "seeding", "alice", "--members"]).expect(0).stdout.contains(&peer));
}
