//! `trackerctl spool`: what a tracker left on disk is shown without a passkey, and booked once.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use contract::{Event, InfoHash, PeerId};
use harness::RedisServer;
use redis::Commands;
use support::{Run, run};
use tempfile::TempDir;
use tracker::traffic::{Booking, DiskRequest, DiskResult, NumberedBooking, Store};

const NOWHERE: &str = "redis://127.0.0.1:1/0";
const MIB: u64 = 1 << 20;
const T0: u64 = 1_700_000_000_000;

/// The n-th announce of a tracker: one of three users has uploaded so much.
fn entry(number: u64) -> NumberedBooking {
    let user = number % 3;
    let booking = Booking {
        passkey: format!("secret{user}").parse().unwrap(),
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId([u8::try_from(user).unwrap(); 20]),
        ip: [192, 0, 2, 1].into(),
        port: 6881,
        uploaded: number * 1000,
        downloaded: 0,
        left: 0,
        event: if number <= 3 { Event::Started } else { Event::None },
        at_ms: T0 + number * 10_000,
        path: claims::Path(1),
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        extras: contract::Extras::default(),
    };
    NumberedBooking::new(booking, number)
}

fn entries(numbers: std::ops::RangeInclusive<u64>) -> Vec<NumberedBooking> {
    numbers.map(entry).collect()
}

/// A folder whose tracker is gone: so many announces wait.
fn abandoned(count: u64) -> TempDir {
    let folder = TempDir::new().unwrap();
    Store::open(folder.path(), MIB).unwrap().append("aaaa", &entries(1..=count)).unwrap();
    folder
}

fn keep_in_tail(folder: &Path, numbers: std::ops::RangeInclusive<u64>) {
    let request =
        DiskRequest::AppendTail { tracker_id: "aaaa".into(), entries: Arc::new(entries(numbers)), at_ms: 0 };
    let kept = request.carry_out(&mut Store::open(folder, MIB).unwrap());
    assert!(matches!(kept, DiskResult::TailAppended(Ok(()))), "{kept:?}");
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

fn show(folder: &TempDir) -> serde_json::Value {
    let text = run(NOWHERE, &["spool", "show", path(folder)]).expect(0);
    let json = run(NOWHERE, &["--json", "spool", "show", path(folder)]).expect(0);
    for Run { stdout, stderr, .. } in [&text, &json] {
        assert!(!stdout.contains("secret") && stderr.is_empty(), "{stdout}{stderr}");
    }
    json.json()
}

/// Every file below, with its content.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        }
        all.insert(path.clone(), fs::read(&path).ok());
    }
    all
}

#[test]
fn show_says_what_waits_since_when_and_changes_nothing() {
    let folder = abandoned(40);
    keep_in_tail(folder.path(), 1..=5);
    let before = contents(folder.path());
    let shown = show(&folder);
    let waiting = &shown["waiting"];
    assert_eq!((&waiting["files"], &waiting["records"]), (&1.into(), &40.into()), "{shown}");
    assert_eq!(waiting["oldest"], "2023-11-14T22:13:30Z");
    assert_eq!(waiting["newest"], "2023-11-14T22:20:00Z");
    let size = before.values().flatten().map(|content| content.len() as u64).max().unwrap();
    assert_eq!(waiting["bytes"], size);
    assert_eq!((&shown["tail"]["files"], &shown["tail"]["records"]), (&1.into(), &5.into()));
    assert_eq!((&shown["in_use"], &shown["damaged_places"]), (&false.into(), &0.into()));
    assert_eq!(shown["files"][0]["tracker"], "aaaa");
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn show_counts_damage_and_what_was_kept_of_it() {
    let folder = abandoned(40);
    let (file, mut bytes) = waiting_file(folder.path());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    fs::write(folder.path().join("0000000000000009.damaged"), b"no header").unwrap();
    let shown = show(&folder);
    assert_eq!((&shown["waiting"]["records"], &shown["damaged_places"]), (&39.into(), &1.into()));
    assert_eq!((&shown["damaged"]["files"], &shown["damaged"]["bytes"]), (&1.into(), &9.into()));
}

fn waiting_file(folder: &Path) -> (PathBuf, Vec<u8>) {
    let mut files = contents(folder).into_iter();
    let file = files.find(|(path, _)| path.extension().is_some_and(|kind| kind == "spool"));
    file.map(|(path, content)| (path, content.unwrap())).unwrap()
}

#[test]
fn show_works_beside_a_tracker_and_says_so() {
    let folder = abandoned(4);
    let store = Store::open(folder.path(), MIB).unwrap();
    let shown = show(&folder);
    assert_eq!((&shown["in_use"], &shown["waiting"]["records"]), (&true.into(), &4.into()));
    drop(store);
    assert_eq!(show(&folder)["in_use"], false);
}

#[test]
fn a_folder_that_is_no_spool_is_wrong_usage_and_stays_as_it_is() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing");
    for directory in [folder.path(), &missing] {
        let refused = run(NOWHERE, &["spool", "show", directory.to_str().unwrap()]).expect(2);
        assert!(refused.stderr.contains(directory.to_str().unwrap()), "{}", refused.stderr);
    }
    assert!(contents(folder.path()).is_empty());
}

fn replay(redis: &str, folder: &TempDir, more: &[&str]) -> Run {
    let run = run(redis, &[&["--json", "spool", "replay", path(folder)], more].concat());
    assert!(!run.stdout.contains("secret") && !run.stderr.contains("secret"), "{}{}", run.stdout, run.stderr);
    run
}

/// What became of each announce: (booked, known, refused).
fn outcome(replayed: &serde_json::Value) -> (u64, u64, u64) {
    let figure = |name: &str| replayed[name].as_u64().unwrap();
    (figure("booked"), figure("known"), figure("refused"))
}

/// Bytes per user in a stream.
fn uploads(redis: &RedisServer, stream: &str) -> Vec<u64> {
    let entries: redis::streams::StreamRangeReply = redis.connection().xrange_all(stream).unwrap();
    let mut sums = BTreeMap::<String, u64>::new();
    for entry in &entries.ids {
        *sums.entry(entry.get("passkey").unwrap()).or_default() += entry.get::<u64>("du").unwrap();
    }
    sums.into_values().collect()
}

/// Of forty announces: each user's last counter less the first.
const MOVED: [u64; 3] = [36_000, 39_000, 36_000];
const STREAM: &str = "tracker:traffic";

#[test]
fn replay_books_tail_and_spool_once_however_often_it_is_run() {
    let redis = RedisServer::start();
    let folder = abandoned(40);
    keep_in_tail(folder.path(), 1..=5);
    let first = replay(&redis.url(), &folder, &[]).expect(0).json();
    assert_eq!(outcome(&first), (40, 5, 0), "{first}");
    assert_eq!(uploads(&redis, STREAM), MOVED);
    let shown = show(&folder);
    assert_eq!((&shown["waiting"]["files"], &shown["tail"]["records"]), (&0.into(), &45.into()), "{shown}");
    let again = replay(&redis.url(), &folder, &[]).expect(0).json();
    assert_eq!(outcome(&again).0, 0, "{again}");
    assert_eq!(uploads(&redis, STREAM), MOVED);
}

#[test]
fn replay_leaves_a_running_trackers_folder_alone() {
    let redis = RedisServer::start();
    let folder = abandoned(40);
    let store = Store::open(folder.path(), MIB).unwrap();
    let refused = replay(&redis.url(), &folder, &[]).expect(2);
    assert!(refused.stderr.contains("in use by a running tracker"), "{}", refused.stderr);
    assert!(uploads(&redis, STREAM).is_empty());
    drop(store);
    replay(&redis.url(), &folder, &[]).expect(0);
    assert_eq!(uploads(&redis, STREAM), MOVED);
}

#[test]
fn replay_without_redis_loses_nothing_and_makes_no_folder() {
    let redis = RedisServer::start();
    let folder = abandoned(40);
    keep_in_tail(folder.path(), 1..=5);
    let away = replay(NOWHERE, &folder, &[]).expect(3);
    assert!(away.stderr.contains("0 announces are booked") && away.stdout.is_empty(), "{}", away.stderr);
    assert_eq!(
        (&show(&folder)["waiting"]["records"], &show(&folder)["tail"]["records"]),
        (&40.into(), &5.into())
    );
    replay(&redis.url(), &folder, &[]).expect(0);
    assert_eq!(uploads(&redis, STREAM), MOVED);
    let missing = folder.path().join("missing");
    run(&redis.url(), &["spool", "replay", missing.to_str().unwrap()]).expect(2);
    assert!(!missing.exists());
}

#[test]
fn what_redis_refuses_is_kept_until_it_takes_that_too() {
    let redis = RedisServer::start();
    let folder = abandoned(40);
    let peer = PeerId([1; 20]).to_string();
    let snapshot =
        format!("{}secret1:{}:{peer}", contract::Keys::default().snapshot_prefix(), InfoHash([7; 20]));
    redis.connection().set::<_, _, ()>(&snapshot, "foreign").unwrap();
    let some = replay(&redis.url(), &folder, &[]).expect(1).json();
    assert_eq!(outcome(&some), (26, 0, 14), "{some}");
    assert!(Path::new(some["aside"][0].as_str().unwrap()).is_file(), "{some}");
    assert_eq!(show(&folder)["aside"]["records"], 14);
    redis.connection().del::<_, ()>(&snapshot).unwrap();
    let rest = replay(&redis.url(), &folder, &[]).expect(0).json();
    assert_eq!(outcome(&rest).0, 14, "{rest}");
    assert_eq!(uploads(&redis, STREAM), MOVED);
    assert_eq!(show(&folder)["aside"]["files"], 0);
}

#[test]
fn replay_books_under_the_keys_of_the_trackers_configuration() {
    let redis = RedisServer::start();
    let (folder, etc) = (abandoned(40), TempDir::new().unwrap());
    let config = etc.path().join("tracker.yaml");
    let text = "key_prefix: 'site7:'\nhooks:\n  prehooks:\n  - name: passkey approval\n  posthooks:\n  - name: traffic push\n";
    fs::write(&config, text).unwrap();
    replay(&redis.url(), &folder, &["--config", config.to_str().unwrap()]).expect(0);
    assert_eq!(uploads(&redis, "site7:tracker:traffic"), MOVED);
    assert!(uploads(&redis, STREAM).is_empty());
}
