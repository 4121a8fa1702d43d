//! The whole line against a real Redis and a real SQLite file: what was appended is settled once, whatever dies.

mod scene;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use consumer::app::App;
use consumer::config::Config;
use consumer::entry::EntryId;
use consumer::ledger::{Access, Location};
use consumer::reader::{Reader, Source};
use consumer::settlement::Rules;
use contract::TrafficEvent;
use contract::config::Period;
use harness::{RedisServer, eventually_async};
use scene::{LedgerFile, T0, append, append_malformed, config, count, event, passkey, peer};

/// Waits until the ledger holds so many settled events and alice this much upload.
async fn settled(file: &LedgerFile, events: i64, raw_up: i64) {
    eventually_async(&format!("{events} events are settled"), async || {
        if !file.path().exists() {
            return None;
        }
        let sql = file.sql();
        let figure = |query: &str| sql.query_row(query, [], |row| row.get::<_, i64>(0)).ok();
        let found = figure("SELECT count(*) FROM settled_events")?;
        let up = figure("SELECT raw_up FROM user_traffic WHERE passkey = 'alice'")?;
        ((found, up) == (events, raw_up)).then_some(())
    })
    .await;
}

/// Waits until nothing in the stream is unread or unacknowledged.
async fn all_acknowledged(redis: &RedisServer) {
    let mut connection = scene::connect(redis).await;
    eventually_async("everything is acknowledged", async || {
        let backlog =
            consumer::groups::backlog(&mut connection.clone(), "tracker:traffic", "site").await.unwrap();
        backlog.oldest.is_none().then_some(())
    })
    .await;
    drop(redis::cmd("PING").query_async::<()>(&mut connection).await);
}

async fn start(config: &Config) -> App {
    App::start(config).await.unwrap()
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

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
    let small = |name| Config { batch_size: 3, ..config(&redis, &file.url(), name) };
    let (one, other) = (start(&small("one")).await, start(&small("other")).await);
    for i in 0..300 {
        append(&mut connection, &TrafficEvent { peer_id: peer((i % 7) as u8), ..event(T0 + i) });
    }
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
    (0..4).for_each(|i| drop(append(&mut connection, &event(T0 + i))));
    let source = Source {
        stream: "tracker:traffic".into(),
        group: "site".into(),
        consumer: "dies".into(),
        batch_size: 10,
        claim_idle: std::time::Duration::from_secs(1),
    };
    let mut reader = Reader::new(&redis.url().as_str().into(), source).unwrap();
    let batch = eventually_async("the batch", async || None.or(None::<()>)).now_or(reader_batch(&mut reader)).await;
    file.open().settle(&batch, &Rules::default()).unwrap();
    drop(reader);

    let app = start(&config(&redis, &file.url(), "lives")).await;
    all_acknowledged(&redis).await;
    settled(&file, 4, 4000).await;
    assert!(get(app.metrics_addr, "/metrics").contains("seedbook_consumer_duplicates_total 4\n"));
    app.stop().await.unwrap();
}
