//! The whole line against a real Redis and a real SQLite file: what was appended is settled once, whatever dies.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use consumer::Entry;
use consumer::app::App;
use consumer::config::Config;
use consumer::dead_letters::{self, Shelf};
use consumer::groups::backlog;
use consumer::reader::{Reader, Source};
use consumer::settlement::Rules;
use contract::config::Period;
use contract::{Keys, TrafficEvent};
use harness::{RedisServer, eventually, eventually_async};
use scene::{LedgerFile, T0, append, append_malformed, config, connect, count, event, passkey, peer};

/// Waits until the ledger holds so many settled events and alice this much upload.
async fn settled(file: &LedgerFile, events: i64, raw_up: i64) {
    let looked = || {
        let sql = file.path().exists().then(|| file.sql())?;
        let figure = |query: &str| sql.query_row(query, [], |row| row.get::<_, i64>(0)).ok();
        let found = figure("SELECT count(*) FROM settled_events")?;
        let up = figure("SELECT raw_up FROM user_traffic WHERE passkey = 'alice'")?;
        ((found, up) == (events, raw_up)).then_some(())
    };
    eventually_async(&format!("{events} events are settled"), || async { looked() }).await;
}

/// Waits until nothing in the stream is unread or unacknowledged.
async fn all_acknowledged(redis: &RedisServer) {
    let connection = connect(redis).await;
    eventually_async("everything is acknowledged", || {
        let mut connection = connection.clone();
        async move {
            let backlog = backlog(&mut connection, "tracker:traffic", "site").await.unwrap();
            backlog.oldest.is_none().then_some(())
        }
    })
    .await;
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
        append(
            &mut connection,
            &TrafficEvent { peer_id: peer(u8::try_from(i % 7).unwrap()), ..event(T0 + i) },
        );
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
    let mut reader = Reader::new(&redis.url().as_str().into(), source).unwrap();
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
async fn first_batch(reader: &mut Reader) -> Vec<Entry> {
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
async fn an_entry_that_is_no_event_goes_to_the_dead_letters_and_the_rest_settles() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    append(&mut connection, &event(T0));
    let bad = append_malformed(&mut connection);
    append(&mut connection, &event(T0 + 1));
    let quiet = Config { retry_interval: Period::from_secs(3600), ..config(&redis, &file.url(), "one") };
    let app = start(&quiet).await;
    settled(&file, 2, 2000).await;
    all_acknowledged(&redis).await;
    let mut desk = connect(&redis).await;
    let letters = dead_letters::list(&mut desk, &Keys::default(), Shelf::Waiting, None, 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].entry_id), (1, Some(bad)));
    assert_eq!(letters[0].error, "field `infohash` is malformed");
    assert_eq!(letters[0].fields[1], (b"infohash".to_vec(), b"short".to_vec()));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_tried_again_and_then_given_up() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    append_malformed(&mut connection);
    let app = start(&Config { retry_max: 2, ..config(&redis, &file.url(), "one") }).await;
    eventually("it is given up", || {
        (count(&mut connection, &["XLEN", "tracker:traffic:failed"]) == 1).then_some(())
    });
    assert_eq!(count(&mut connection, &["XLEN", "tracker:traffic:dlq"]), 0);
    let mut desk = connect(&redis).await;
    let given_up = dead_letters::list(&mut desk, &Keys::default(), Shelf::Failed, None, 10).await.unwrap();
    assert_eq!(given_up[0].count, 2);
    assert_eq!(given_up[0].fields.len(), 2);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_refuses_stands_alone_in_the_dead_letters_and_settles_once_it_may() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    drop(file.open());
    let refuse = "CREATE TRIGGER no_bob BEFORE INSERT ON settled_events WHEN NEW.passkey = 'bob'
                  BEGIN SELECT RAISE(ABORT, 'refused'); END";
    file.sql().execute_batch(refuse).unwrap();
    for i in 0..20 {
        append(&mut connection, &event(T0 + i));
    }
    let bob = append(&mut connection, &TrafficEvent { passkey: passkey("bob"), ..event(T0) });
    append(&mut connection, &event(T0 + 99));
    let patient = Config { retry_max: 1000, ..config(&redis, &file.url(), "one") };
    let app = start(&patient).await;
    settled(&file, 21, 21_000).await;
    all_acknowledged(&redis).await;
    let mut desk = connect(&redis).await;
    let letters = dead_letters::list(&mut desk, &Keys::default(), Shelf::Waiting, None, 10).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.entry_id).collect::<Vec<_>>(), [Some(bob)]);

    file.sql().execute_batch("DROP TRIGGER no_bob").unwrap();
    settled(&file, 22, 21_000).await;
    eventually("the letter is gone", || {
        (count(&mut connection, &["XLEN", "tracker:traffic:dlq"]) == 0).then_some(())
    });
    let query = "SELECT entry_id FROM settled_events WHERE passkey = 'bob'";
    let entry_id: String = file.sql().query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(entry_id, bob.to_string(), "settled under its original id");
    app.stop().await.unwrap();
}

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

#[tokio::test(flavor = "multi_thread")]
async fn stopping_leaves_the_group_without_this_consumers_name() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let app = start(&config(&redis, &file.url(), "one")).await;
    append(&mut redis.connection(), &event(T0));
    settled(&file, 1, 1000).await;
    app.stop().await.unwrap();
    let groups = consumer::groups::groups(&mut connect(&redis).await, "tracker:traffic").await.unwrap();
    assert_eq!((groups[0].consumers, groups[0].pending), (0, 0));
}
