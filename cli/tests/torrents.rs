//! `trackerctl torrent` against a real Redis.

#![allow(clippy::unwrap_used)]

mod support;

use harness::RedisServer;
use redis::Commands;
use support::{run, run_with_input};

const SET: &str = "pt:torrents";

fn hash(byte: u8) -> String {
    format!("{byte:02x}").repeat(20)
}

#[test]
fn add_remove_check_and_list_speak_of_torrents() {
    let redis = RedisServer::start();
    let (a, b) = (hash(0xa1), hash(0xb2));
    let json = |args: &[&str]| run(&redis.url(), &[&["--json"], args].concat());
    let added = json(&["torrent", "add", &a.to_uppercase(), &b]).expect(0).json();
    assert_eq!((added["added"].as_u64(), added["already_there"].as_u64()), (Some(2), Some(0)));
    assert!(redis.connection().sismember::<_, _, bool>(SET, &a).unwrap(), "written in lowercase");
    assert_eq!(json(&["torrent", "check", &a]).expect(0).json()["known"], true);
    let text = run(&redis.url(), &["torrent", "check", &hash(0xc3)]).expect(1).stdout;
    assert_eq!(text, "unknown: may not be announced\n");
    assert_eq!(json(&["torrent", "remove", &a]).expect(0).json()["removed"], 1);
    assert_eq!(run(&redis.url(), &["torrent", "list"]).expect(0).stdout, format!("{b}\n"));
}

#[test]
fn what_the_tracker_would_not_find_is_not_listed() {
    let redis = RedisServer::start();
    let _: u64 = redis.connection().sadd(SET, &[hash(0xab).to_uppercase(), hash(0xcd)]).unwrap();
    let shown = run(&redis.url(), &["torrent", "list"]).expect(0);
    assert_eq!(shown.stdout, format!("{}\n", hash(0xcd)));
    assert!(shown.stderr.contains("1 member of the set"), "{}", shown.stderr);
}

#[test]
fn a_file_of_info_hashes_is_imported_whole_or_not_at_all() {
    let redis = RedisServer::start();
    let good = format!("# torrents\n{}\n{}\n", hash(1), hash(2).to_uppercase());
    let report = run_with_input(&redis.url(), &["--json", "torrent", "import", "-"], &good).expect(0).json();
    assert_eq!((report["read"].as_u64(), report["added"].as_u64()), (Some(2), Some(2)));
    let bad = format!("{}\nno hash\n", hash(3));
    let refused = run_with_input(&redis.url(), &["torrent", "import", "-"], &bad).expect(2);
    assert!(refused.stderr.contains("-:2: an info hash is 40 hex digits"), "{}", refused.stderr);
    assert_eq!(redis.connection().scard::<_, u64>(SET).unwrap(), 2);
}

#[test]
fn an_alias_is_one_step_and_can_be_taken_away() {
    let redis = RedisServer::start();
    let (v1, v2, other) = (hash(1), hash(2), hash(3));
    let alias = |args: &[&str]| run(&redis.url(), &[&["--json", "torrent", "alias"], args].concat());
    assert_eq!(alias(&[&v2, &v1]).expect(0).json()["changed"], true);
    assert_eq!(alias(&[&v2, &v1]).expect(0).json()["changed"], false);
    let booked: String = redis.connection().hget("pt:torrents:alias", &v2).unwrap();
    assert_eq!(booked, v1);
    alias(&[&v1, &other]).expect(2);
    alias(&[&other, &v2]).expect(2);
    alias(&[&v1, &v1]).expect(2);
    alias(&[&v2]).expect(2);
    assert_eq!(alias(&[&v2, "--remove"]).expect(0).json()["changed"], true);
    assert_eq!(redis.connection().hlen::<_, u64>("pt:torrents:alias").unwrap(), 0);
}
