//! A stream trimmed or deleted under its consumers: what nobody was given is counted once, and said aloud.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use consumer::config::Config;
use consumer::reader::{RedisReader, Source};
use harness::{RedisServer, eventually};
use scene::{LedgerFile, T0, append, config, count, event};
use scene::{all_acknowledged, get, settled, start};

const STREAM: &str = "tracker:traffic";

fn run(redis: &RedisServer, words: &[&str]) {
    redis::cmd(words[0]).arg(&words[1..]).query::<redis::Value>(&mut redis.connection()).unwrap();
}

fn metric(page: &str, name: &str) -> u64 {
    let line = page.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.and_then(|line| line.split(' ').nth(1)).and_then(|figure| figure.parse().ok()).unwrap()
}

fn lost(app: &consumer::app::App) -> u64 {
    metric(&get(app.metrics_addr, "/metrics"), "seedbook_consumer_lost_entries_total")
}

/// One entry settled, the consumer stopped, ten more appended.
async fn a_backlog(redis: &RedisServer, file: &LedgerFile) -> Vec<String> {
    let mut connection = redis.connection();
    append(&mut connection, &event(T0));
    let app = start(&config(redis, &file.url(), "one")).await;
    settled(file, 1, 1000).await;
    all_acknowledged(redis).await;
    app.stop().await.unwrap();
    (1..=10).map(|i| append(&mut connection, &event(T0 + i)).to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_trimmed_before_anybody_read_them_are_counted_once() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    a_backlog(&redis, &file).await;
    run(&redis, &["XTRIM", STREAM, "MAXLEN", "4"]);
    let app = start(&config(&redis, &file.url(), "one")).await;
    settled(&file, 5, 5000).await;
    append(&mut redis.connection(), &event(T0 + 50));
    settled(&file, 6, 6000).await;
    assert_eq!(lost(&app), 6);
    app.stop().await.unwrap();

    let again = start(&config(&redis, &file.url(), "two")).await;
    for (i, all) in [(7, 7000), (8, 8000)] {
        append(&mut redis.connection(), &event(T0 + 90 + all));
        settled(&file, i, i64::try_from(all).unwrap()).await;
    }
    assert_eq!(lost(&again), 0, "Redis was told how far the group is");
    again.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_deleted_one_by_one_before_anybody_read_them_are_counted_once() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let ids = a_backlog(&redis, &file).await;
    run(&redis, &["XDEL", STREAM, &ids[3], &ids[9]]);
    // Several reads, each of which sees that there were deletions.
    let app = start(&Config { batch_size: 2, ..config(&redis, &file.url(), "one") }).await;
    settled(&file, 9, 9000).await;
    all_acknowledged(&redis).await;
    append(&mut redis.connection(), &event(T0 + 99));
    settled(&file, 10, 10_000).await;
    assert_eq!(lost(&app), 2);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_trimmed_behind_its_readers_has_lost_nothing() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let app = start(&Config { batch_size: 3, ..config(&redis, &file.url(), "one") }).await;
    for i in 0..50 {
        append(&mut redis.connection(), &event(T0 + i));
    }
    settled(&file, 50, 50_000).await;
    all_acknowledged(&redis).await;
    run(&redis, &["XTRIM", STREAM, "MAXLEN", "0"]);
    append(&mut redis.connection(), &event(T0 + 99));
    settled(&file, 51, 51_000).await;
    assert_eq!(lost(&app), 0);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_deleted_stream_loses_what_was_known_to_be_unread_and_its_successor_is_read_from_the_start() {
    let redis = RedisServer::start();
    for i in 0..5 {
        append(&mut redis.connection(), &event(T0 + i));
    }
    let source = Source {
        stream: STREAM.into(),
        group: "site".into(),
        consumer: "one".into(),
        batch_size: 1,
        claim_idle: std::time::Duration::from_secs(60),
    };
    let mut reader = RedisReader::new(&redis.url().as_str().into(), source).unwrap();
    let mut given = 0;
    while given < 2 {
        given += reader.read().await.unwrap().entries.len();
    }
    run(&redis, &["DEL", STREAM]);
    reader.read().await.unwrap_err();
    append(&mut redis.connection(), &event(T0 + 9));
    let (mut lost, mut new) = (0, Vec::new());
    while new.is_empty() {
        let batch = reader.read().await.unwrap();
        lost += batch.lost;
        new = batch.entries;
    }
    assert_eq!((lost, new[0].event.ts), (3, T0 + 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_destroyed_is_made_again_from_the_first_entry_and_nothing_counts_twice() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    for i in 0..5 {
        append(&mut redis.connection(), &event(T0 + i));
    }
    let app = start(&config(&redis, &file.url(), "one")).await;
    settled(&file, 5, 5000).await;
    all_acknowledged(&redis).await;
    run(&redis, &["XGROUP", "DESTROY", STREAM, "site"]);
    eventually("all entries come again", || {
        let page = get(app.metrics_addr, "/metrics");
        (metric(&page, "seedbook_consumer_duplicates_total") == 5).then_some(())
    });
    settled(&file, 5, 5000).await;
    assert_eq!(lost(&app), 0);
    assert_eq!(count(&mut redis.connection(), &["XLEN", STREAM]), 5);
    app.stop().await.unwrap();
}

/// Six were given to a consumer that is no more, three of which were deleted before another took them over.
#[tokio::test(flavor = "multi_thread")]
async fn entries_deleted_between_reading_and_acknowledging_are_counted_and_the_others_settle() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let ids: Vec<String> =
        (0..6).map(|i| append(&mut redis.connection(), &event(T0 + i)).to_string()).collect();
    run(&redis, &["XGROUP", "CREATE", STREAM, "site", "0"]);
    run(&redis, &["XREADGROUP", "GROUP", "site", "gone", "STREAMS", STREAM, ">"]);
    run(&redis, &["XDEL", STREAM, &ids[0], &ids[2], &ids[5]]);
    let app = start(&config(&redis, &file.url(), "one")).await;
    settled(&file, 3, 3000).await;
    all_acknowledged(&redis).await;
    eventually("they are counted", || {
        let page = get(app.metrics_addr, "/metrics");
        (metric(&page, "seedbook_consumer_gone_total") == 3).then_some(())
    });
    app.stop().await.unwrap();
}
