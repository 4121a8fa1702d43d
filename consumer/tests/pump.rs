//! The whole line against a real Redis and a real SQLite file: what was appended is settled once, whoever
//! does it.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use books::Entry;
use books::settlement::Rules;
use consumer::config::Config;
use consumer::reader::{RedisReader, Source};
use contract::TrafficEvent;
use contract::config::Period;
use harness::{RedisServer, eventually};
use scene::{LedgerFile, T0, append, config, connect, count, event, peer};
use scene::{all_acknowledged, get, pending_of, settled, start};

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_the_consumer_is_settled_and_shown() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    let now = consumer::clock::now();
    for i in 0..5 {
        append(&mut connection, &event(now - 10 + i));
    }
    let app = start(&config(&redis, &file.url(), "one")).await;
    settled(&file, 5, 5000).await;
    all_acknowledged(&redis).await;
    assert_eq!(count(&mut connection, &["SCARD", "tracker:passkey:seed:alice"]), 1);
    let page = get(app.metrics_addr, "/metrics");
    for line in ["seedbook_consumer_settled_total 5", "seedbook_consumer_ledger_up 1"] {
        assert!(page.contains(line), "{line} in {page}");
    }
    assert!(!page.contains("alice"));
    assert!(get(app.metrics_addr, "/readyz").contains("200 OK"));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_share_the_work() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    // A machine that is so slow that one claims what the other has in hand would make duplicates.
    let claim_idle = Period::from_secs(3600);
    let small = |name| Config { batch_size: 3, claim_idle, ..config(&redis, &file.url(), name) };
    let (one, other) = (start(&small("one")).await, start(&small("other")).await);
    for app in [&one, &other] {
        eventually("it is ready", || get(app.metrics_addr, "/readyz").contains("200 OK").then_some(()));
    }
    // While nothing can be settled, each takes no more than it may have in flight: the other finds some left.
    let lock = file.sql();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    for i in 0..300 {
        append(
            &mut connection,
            &TrafficEvent { peer_id: peer(u8::try_from(i % 7).unwrap()), ..event(T0 + i) },
        );
    }
    for name in ["one", "other"] {
        eventually("it has some in hand", || (pending_of(&redis, name) > 0).then_some(()));
    }
    lock.execute_batch("ROLLBACK").unwrap();
    settled(&file, 300, 300_000).await;
    all_acknowledged(&redis).await;
    for app in [&one, &other] {
        let page = get(app.metrics_addr, "/metrics");
        assert!(!page.contains("seedbook_consumer_settled_total 0\n"), "one of them did nothing");
        assert!(page.contains("seedbook_consumer_duplicates_total 0\n"));
    }
    one.stop().await.unwrap();
    other.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_consumer_committed_and_did_not_acknowledge_is_claimed_and_counts_once() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    for i in 0..4 {
        append(&mut connection, &event(T0 + i));
    }
    let source = Source {
        stream: "tracker:traffic".into(),
        group: "site".into(),
        consumer: "dies".into(),
        batch_size: 10,
        claim_idle: std::time::Duration::from_secs(1),
    };
    let mut reader = RedisReader::new(&redis.url().as_str().into(), source).unwrap();
    let entries = first_batch(&mut reader).await;
    file.open().settle(&entries, &Rules::default()).unwrap();
    drop(reader);

    let app = start(&config(&redis, &file.url(), "lives")).await;
    all_acknowledged(&redis).await;
    settled(&file, 4, 4000).await;
    assert!(get(app.metrics_addr, "/metrics").contains("seedbook_consumer_duplicates_total 4\n"));
    app.stop().await.unwrap();
}

/// Its first reads look for pending and abandoned entries; the third is for new ones.
async fn first_batch(reader: &mut RedisReader) -> Vec<Entry> {
    for _ in 0..3 {
        let batch = reader.read().await.unwrap();
        if !batch.is_empty() {
            return batch.entries;
        }
    }
    panic!("nothing to read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_comes_back_under_its_name_finishes_what_it_had() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    append(&mut connection, &event(T0));
    redis::cmd("XGROUP")
        .arg(&["CREATE", "tracker:traffic", "site", "0"])
        .query::<()>(&mut connection)
        .unwrap();
    let read = ["GROUP", "site", "one", "STREAMS", "tracker:traffic", ">"];
    redis::cmd("XREADGROUP").arg(&read).query::<redis::Value>(&mut connection).unwrap();
    // Too early for anybody to claim it.
    let patient = Config { claim_idle: Period::from_secs(3600), ..config(&redis, &file.url(), "one") };
    let app = start(&patient).await;
    settled(&file, 1, 1000).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_leaves_the_group_without_this_consumers_name() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let app = start(&config(&redis, &file.url(), "one")).await;
    append(&mut redis.connection(), &event(T0));
    settled(&file, 1, 1000).await;
    app.stop().await.unwrap();
    let groups = books::groups::groups(&mut connect(&redis).await, "tracker:traffic").await.unwrap();
    assert_eq!((groups[0].consumers, groups[0].pending), (0, 0));
}
