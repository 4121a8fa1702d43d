//! Redis or the ledger away, a stream deleted: the consumer waits, says so, and goes on without a loss.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use harness::{RedisServer, eventually};
use scene::{LedgerFile, T0, append, config, count, event};
use scene::{all_acknowledged, get, settled, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_opened_yet_loses_nothing() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    let wall = file.folder.path().join("wall");
    std::fs::write(&wall, "a file where a folder should be").unwrap();
    for i in 0..3 {
        append(&mut connection, &event(T0 + i));
    }
    let app = start(&config(&redis, &format!("sqlite://{}/ledger.db", wall.display()), "one")).await;
    eventually("readiness names the ledger", || {
        get(app.metrics_addr, "/readyz").contains("wall/ledger.db").then_some(())
    });
    assert!(get(app.metrics_addr, "/healthz").contains("200 OK"));
    assert_eq!(count(&mut connection, &["XLEN", "tracker:traffic:dlq"]), 0, "no dead letter for a database");

    std::fs::remove_file(&wall).unwrap();
    all_acknowledged(&redis).await;
    let sql = rusqlite::Connection::open(wall.join("ledger.db")).unwrap();
    let settled: i64 = sql.query_row("SELECT count(*) FROM settled_events", [], |row| row.get(0)).unwrap();
    assert_eq!(settled, 3);
    assert!(get(app.metrics_addr, "/readyz").contains("200 OK"));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_dies_and_comes_back_is_read_on() {
    let (mut redis, file) = (RedisServer::start(), LedgerFile::new());
    append(&mut redis.connection(), &event(T0));
    let app = start(&config(&redis, &file.url(), "one")).await;
    settled(&file, 1, 1000).await;
    redis.kill();
    eventually("readiness names Redis", || get(app.metrics_addr, "/readyz").contains("Redis").then_some(()));
    redis.restart();
    append(&mut redis.connection(), &event(T0 + 1));
    settled(&file, 2, 2000).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_deleted_is_read_again_from_its_first_entry() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    append(&mut connection, &event(T0));
    let app = start(&config(&redis, &file.url(), "one")).await;
    settled(&file, 1, 1000).await;
    redis::cmd("FLUSHALL").query::<()>(&mut connection).unwrap();
    append(&mut connection, &event(T0 + 1));
    settled(&file, 2, 2000).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_deleted_while_they_were_pending_are_acknowledged() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    let gone = append(&mut connection, &event(T0));
    redis::cmd("XGROUP")
        .arg(&["CREATE", "tracker:traffic", "site", "0"])
        .query::<()>(&mut connection)
        .unwrap();
    let read = ["GROUP", "site", "one", "STREAMS", "tracker:traffic", ">"];
    redis::cmd("XREADGROUP").arg(&read).query::<redis::Value>(&mut connection).unwrap();
    redis::cmd("XDEL").arg("tracker:traffic").arg(gone.to_string()).query::<()>(&mut connection).unwrap();
    append(&mut connection, &event(T0 + 1));
    let app = start(&config(&redis, &file.url(), "one")).await;
    all_acknowledged(&redis).await;
    assert!(get(app.metrics_addr, "/metrics").contains("seedbook_consumer_gone_total 1\n"));
    app.stop().await.unwrap();
}
