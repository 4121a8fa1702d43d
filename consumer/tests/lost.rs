//! A stream trimmed, deleted, evicted or set back under its consumers: what is gone is counted once, by the
//! numbers of entries, and said aloud; what was settled is never taken for lost.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use books::entry::EntryId;
use consumer::app::App;
use consumer::config::Config;
use contract::{Claim, TrafficEvent};
use harness::{RedisServer, eventually};
use scene::{LedgerFile, T0, append, append_malformed, config, count, event};
use scene::{all_acknowledged, get, settled, start};

const STREAM: &str = "tracker:traffic";

fn run(redis: &RedisServer, words: &[&str]) {
    redis::cmd(words[0]).arg(&words[1..]).query::<redis::Value>(&mut redis.connection()).unwrap();
}

fn metric(app: &App, name: &str) -> u64 {
    let page = get(app.metrics_addr, "/metrics");
    let line = page.lines().find(|line| line.starts_with(&format!("seedbook_consumer_{name} ")));
    line.and_then(|line| line.split(' ').nth(1)).and_then(|figure| figure.parse().ok()).unwrap()
}

fn becomes(app: &App, name: &str, figure: u64) {
    eventually(&format!("{name} is {figure}"), || (metric(app, name) == figure).then_some(()));
}

/// Appends so many entries as a tracker does: each with the next number.
fn numbered(redis: &RedisServer, entries: u64) -> Vec<EntryId> {
    let mut connection = redis.connection();
    let mut next = || {
        let n: u64 =
            redis::cmd("HINCRBY").arg(&["tracker:traffic:head", "n", "1"]).query(&mut connection).unwrap();
        let at_ms = (T0 + n) * 1000;
        let claim = Claim { at_ms, up: 0, down: 0, born_ms: T0 * 1000, tu: 1000 * n, td: 0, n };
        append(&mut connection, &TrafficEvent { claim: Some(claim), ..event(T0 + n) })
    };
    (0..entries).map(|_| next()).collect()
}

/// One entry settled, the consumer stopped, ten more appended.
async fn a_backlog(redis: &RedisServer, file: &LedgerFile) -> Vec<EntryId> {
    numbered(redis, 1);
    let app = start(&config(redis, &file.url(), "one")).await;
    settled(file, 1, 1000).await;
    all_acknowledged(redis).await;
    app.stop().await.unwrap();
    numbered(redis, 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_trimmed_before_anybody_read_them_are_counted_once() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    a_backlog(&redis, &file).await;
    run(&redis, &["XTRIM", STREAM, "MAXLEN", "4"]);
    let app = start(&config(&redis, &file.url(), "one")).await;
    settled(&file, 5, 5000).await;
    becomes(&app, "lost_entries_total", 6);
    numbered(&redis, 1);
    settled(&file, 6, 6000).await;
    app.stop().await.unwrap();

    let again = start(&config(&redis, &file.url(), "two")).await;
    numbered(&redis, 2);
    settled(&file, 8, 8000).await;
    all_acknowledged(&redis).await;
    run(&redis, &["XTRIM", STREAM, "MAXLEN", "0"]);
    numbered(&redis, 1);
    settled(&file, 9, 9000).await;
    assert_eq!(metric(&again, "lost_entries_total"), 0, "the ledger knows that they were counted");
    let (lost, seen): (i64, String) = file
        .sql()
        .query_row("SELECT lost, seen FROM stream_numbers", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((lost, seen.as_str()), (6, "1-15"));
    again.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_deleted_one_by_one_are_counted_once_the_last_of_them_too() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let ids = a_backlog(&redis, &file).await;
    run(&redis, &["XDEL", STREAM, &ids[3].to_string(), &ids[9].to_string()]);
    let app = start(&Config { batch_size: 2, ..config(&redis, &file.url(), "one") }).await;
    settled(&file, 9, 9000).await;
    becomes(&app, "lost_entries_total", 2);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_restarted_and_then_trimmed_hides_nothing() {
    let (mut redis, file) = (RedisServer::start(), LedgerFile::new());
    a_backlog(&redis, &file).await;
    redis.restart();
    run(&redis, &["XTRIM", STREAM, "MAXLEN", "4"]);
    let app = start(&config(&redis, &file.url(), "one")).await;
    becomes(&app, "lost_entries_total", 6);
    app.stop().await.unwrap();
}

/// As a Redis does that may evict keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_evicted_is_lost_to_the_last_entry() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    a_backlog(&redis, &file).await;
    numbered(&redis, 100);
    run(&redis, &["DEL", STREAM]);
    let app = start(&config(&redis, &file.url(), "one")).await;
    numbered(&redis, 1);
    settled(&file, 2, 2000).await;
    becomes(&app, "lost_entries_total", 110);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_trimmed_behind_two_consumers_has_lost_nothing() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let one = start(&Config { batch_size: 3, ..config(&redis, &file.url(), "one") }).await;
    let two = start(&Config { batch_size: 2, ..config(&redis, &file.url(), "two") }).await;
    for _ in 0..50 {
        numbered(&redis, 1);
    }
    append_malformed(&mut redis.connection());
    append(&mut redis.connection(), &event(T0 + 900));
    settled(&file, 51, 51_000).await;
    all_acknowledged(&redis).await;
    run(&redis, &["XTRIM", STREAM, "MAXLEN", "0"]);
    run(&redis, &["XGROUP", "SETID", STREAM, "site", "0"]);
    numbered(&redis, 1);
    settled(&file, 52, 52_000).await;
    all_acknowledged(&redis).await;
    // Its own letter, and what an older tracker wrote, have no number.
    let seen = || file.sql().query_row("SELECT seen FROM stream_numbers", [], |row| row.get::<_, String>(0));
    assert_eq!(seen().unwrap(), "1-51");
    for app in [one, two] {
        assert_eq!((metric(&app, "lost_entries_total"), metric(&app, "redis_rollbacks_total")), (0, 0));
        app.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_with_a_number_is_seen_and_not_lost() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let app = start(&config(&redis, &file.url(), "one")).await;
    numbered(&redis, 1);
    run(&redis, &["HINCRBY", "tracker:traffic:head", "n", "1"]);
    run(&redis, &["XADD", STREAM, "*", "passkey", "alice", "infohash", "short", "n", "2"]);
    numbered(&redis, 1);
    settled(&file, 2, 2000).await;
    becomes(&app, "dead_total", 1);
    all_acknowledged(&redis).await;
    let seen = || file.sql().query_row("SELECT seen FROM stream_numbers", [], |row| row.get::<_, String>(0));
    eventually("its number is seen", || (seen().ok()? == "1-3").then_some(()));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_went_back_is_recognised_and_nothing_counts_twice_or_as_lost() {
    let (mut redis, file) = (RedisServer::start(), LedgerFile::new());
    let app = start(&config(&redis, &file.url(), "one")).await;
    numbered(&redis, 6);
    settled(&file, 6, 6000).await;
    all_acknowledged(&redis).await;
    let older = redis.files();
    numbered(&redis, 4);
    settled(&file, 10, 10_000).await;
    all_acknowledged(&redis).await;
    redis.go_back_to(&older);
    // What a tracker remembers of the last minute it sends again: the same events, with new entries.
    numbered(&redis, 4);
    becomes(&app, "redis_rollbacks_total", 1);
    all_acknowledged(&redis).await;
    settled(&file, 10, 10_000).await;
    numbered(&redis, 1);
    settled(&file, 11, 11_000).await;
    assert_eq!((metric(&app, "lost_entries_total"), metric(&app, "redis_rollbacks_total")), (0, 1));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_destroyed_is_made_again_from_the_first_entry_and_nothing_counts_twice() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    numbered(&redis, 5);
    let app = start(&config(&redis, &file.url(), "one")).await;
    settled(&file, 5, 5000).await;
    all_acknowledged(&redis).await;
    run(&redis, &["XGROUP", "DESTROY", STREAM, "site"]);
    becomes(&app, "duplicates_total", 5);
    settled(&file, 5, 5000).await;
    assert_eq!((metric(&app, "lost_entries_total"), metric(&app, "redis_rollbacks_total")), (0, 0));
    assert_eq!(count(&mut redis.connection(), &["XLEN", STREAM]), 5);
    app.stop().await.unwrap();
}

/// Six were given to a consumer that is no more, three of which were deleted before another took them over.
#[tokio::test(flavor = "multi_thread")]
async fn entries_deleted_between_reading_and_acknowledging_are_counted_and_the_others_settle() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let ids = numbered(&redis, 6);
    run(&redis, &["XGROUP", "CREATE", STREAM, "site", "0"]);
    run(&redis, &["XREADGROUP", "GROUP", "site", "gone", "STREAMS", STREAM, ">"]);
    for gone in [1, 2, 5] {
        run(&redis, &["XDEL", STREAM, &ids[gone].to_string()]);
    }
    let app = start(&config(&redis, &file.url(), "one")).await;
    settled(&file, 3, 3000).await;
    all_acknowledged(&redis).await;
    becomes(&app, "gone_total", 3);
    becomes(&app, "lost_entries_total", 3);
    app.stop().await.unwrap();
}
