//! `trackerctl passkey` against a real Redis.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use std::collections::BTreeSet;

use harness::RedisServer;
use redis::Commands;
use support::{run, run_with_input};

const SET: &str = "pt:passkeys";

fn members(redis: &RedisServer) -> BTreeSet<String> {
    redis.connection().smembers(SET).unwrap()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn add_remove_check_and_count_say_what_changed() {
    let redis = RedisServer::start();
    let json = |args: &[&str]| run(&redis.url(), &[&["--json"], args].concat());
    let added = json(&["passkey", "add", "a1", "b2"]).expect(0).json();
    assert_eq!((added["added"].as_u64(), added["already_there"].as_u64()), (Some(2), Some(0)));
    let again = json(&["passkey", "add", "a1", "c3"]).expect(0).json();
    assert_eq!((again["added"].as_u64(), again["already_there"].as_u64()), (Some(1), Some(1)));
    assert_eq!(json(&["passkey", "count"]).expect(0).json()["passkeys"], 3);
    assert_eq!(json(&["passkey", "check", "a1"]).expect(0).json()["known"], true);
    let removed = json(&["passkey", "remove", "a1", "zz"]).expect(0).json();
    assert_eq!((removed["removed"].as_u64(), removed["not_there"].as_u64()), (Some(1), Some(1)));
    assert_eq!(json(&["passkey", "check", "a1"]).expect(1).json()["known"], false);
    assert_eq!(members(&redis), names(&["b2", "c3"]));
}

#[test]
fn a_malformed_passkey_is_a_usage_error_that_does_not_repeat_it() {
    let redis = RedisServer::start();
    for args in [&["passkey", "add", "fine", "not:fine"][..], &["passkey", "check", "not:fine"]] {
        let run = run(&redis.url(), args).expect(2);
        assert!(run.stdout.is_empty());
        assert!(!run.stderr.contains("not:fine"), "{}", run.stderr);
    }
    assert!(members(&redis).is_empty());
}

#[test]
fn a_key_prefix_keeps_two_sites_apart() {
    let redis = RedisServer::start();
    run(&redis.url(), &["--key-prefix", "site2:", "passkey", "add", "a1"]).expect(0);
    run(&redis.url(), &["passkey", "check", "a1"]).expect(1);
    assert!(redis.connection().sismember::<_, _, bool>("site2:pt:passkeys", "a1").unwrap());
}

#[test]
fn list_shows_every_passkey_or_as_many_as_asked() {
    let redis = RedisServer::start();
    let all: Vec<String> = (0..2500).map(|index| format!("key{index}")).collect();
    let _: u64 = redis.connection().sadd(SET, &all).unwrap();
    let _: u64 = redis.connection().sadd(SET, "not a passkey").unwrap();
    let text = run(&redis.url(), &["passkey", "list"]).expect(0);
    let shown: BTreeSet<String> = text.stdout.lines().map(ToString::to_string).collect();
    assert_eq!(shown, all.into_iter().collect());
    assert!(text.stderr.contains("1 member of the set"), "{}", text.stderr);
    let some = run(&redis.url(), &["--json", "passkey", "list", "--limit", "7"]).expect(0).json();
    assert_eq!(some.as_array().unwrap().len(), 7);
    redis.connection().del::<_, ()>(SET).unwrap();
    assert_eq!(run(&redis.url(), &["--json", "passkey", "list"]).expect(0).json(), serde_json::json!([]));
}

#[test]
fn import_adds_a_file_and_skips_blank_lines_and_comments() {
    let redis = RedisServer::start();
    run(&redis.url(), &["passkey", "add", "b2"]).expect(0);
    let users = file("# users\na1\n\n  b2\r\nc3\n");
    let run = run(&redis.url(), &["--json", "passkey", "import", users.path().to_str().unwrap()]).expect(0);
    let report = run.json();
    assert_eq!(report["read"], 3);
    assert_eq!((report["added"].as_u64(), report["already_there"].as_u64()), (Some(2), Some(1)));
    assert_eq!(members(&redis), names(&["a1", "b2", "c3"]));
    assert!(run.stderr.is_empty(), "no progress bar off a terminal: {}", run.stderr);
}

#[test]
fn one_bad_line_stops_an_import_unless_told_otherwise() {
    let redis = RedisServer::start();
    let text = "a1\nse cret\nc3\n";
    let refused = run_with_input(&redis.url(), &["passkey", "import", "-"], text).expect(2);
    assert!(refused.stderr.contains("-:2:") && !refused.stderr.contains("se cret"), "{}", refused.stderr);
    assert!(members(&redis).is_empty());
    let args = ["--json", "passkey", "import", "-", "--skip-invalid"];
    assert_eq!(run_with_input(&redis.url(), &args, text).expect(0).json()["skipped_invalid"], 1);
    assert_eq!(members(&redis), names(&["a1", "c3"]));
}

#[test]
fn a_file_that_is_not_there_is_a_usage_error() {
    let redis = RedisServer::start();
    let run = run(&redis.url(), &["passkey", "import", "/nonexistent/users.txt"]).expect(2);
    assert!(run.stderr.contains("cannot read /nonexistent/users.txt"), "{}", run.stderr);
}

#[test]
fn replace_swaps_the_whole_set_and_counts_what_changed() {
    let redis = RedisServer::start();
    run(&redis.url(), &["passkey", "add", "a1", "b2", "c3"]).expect(0);
    let many: Vec<String> = (0..2500).map(|index| format!("key{index}")).collect();
    let text = format!("b2\nc3\nb2\n{}\n", many.join("\n"));
    let report = run_with_input(&redis.url(), &["--json", "passkey", "replace", "-"], &text).expect(0).json();
    assert_eq!(report["passkeys"], 2502);
    assert_eq!((report["added"].as_u64(), report["removed"].as_u64()), (Some(2500), Some(1)));
    let now = members(&redis);
    assert!(now.len() == 2502 && now.contains("b2") && !now.contains("a1"));
    assert_eq!(redis.connection().ttl::<_, i64>(SET).unwrap(), -1, "the whitelist never expires");
    assert_eq!(redis.connection().keys::<_, Vec<String>>("*").unwrap(), [SET], "nothing is left over");
}

#[test]
fn an_empty_file_replaces_nothing_unless_that_is_wanted() {
    let redis = RedisServer::start();
    run(&redis.url(), &["passkey", "add", "a1"]).expect(0);
    run_with_input(&redis.url(), &["passkey", "replace", "-"], "# nobody\n").expect(2);
    assert_eq!(members(&redis), names(&["a1"]));
    let args = ["--json", "passkey", "replace", "-", "--allow-empty"];
    assert_eq!(run_with_input(&redis.url(), &args, "").expect(0).json()["removed"], 1);
    assert!(members(&redis).is_empty());
}

#[test]
fn generated_passkeys_are_printed_and_allowed_only_when_asked() {
    let redis = RedisServer::start();
    let shown = run(&redis.url(), &["passkey", "generate", "--count", "3"]).expect(0).stdout;
    assert_eq!(shown.lines().filter(|line| line.len() == 32).count(), 3);
    assert!(members(&redis).is_empty());
    let added = run(&redis.url(), &["--json", "passkey", "generate", "--add"]).expect(0).json();
    assert_eq!(members(&redis), names(&[added[0].as_str().unwrap()]));
}
