//! Reading the stream: at every kind of address, what the quick reader cannot take, and reads that are given
//! up.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use std::time::Duration;

use consumer::reader::{RedisReader, Source};
use harness::{RedisServer, eventually};
use redis::cmd;
use scene::{LedgerFile, T0, append, config, count, event};
use scene::{all_acknowledged, settled, start};
use tokio::time::timeout;

fn source() -> Source {
    Source {
        stream: "tracker:traffic".into(),
        group: "site".into(),
        consumer: "one".into(),
        batch_size: 10,
        claim_idle: Duration::from_secs(60),
    }
}

async fn next_times(reader: &mut RedisReader) -> Vec<u64> {
    for _ in 0..10 {
        let batch = reader.read().await.unwrap();
        if !batch.is_empty() {
            return batch.entries.iter().map(|entry| entry.event.ts).collect();
        }
    }
    panic!("nothing to read");
}

#[tokio::test]
async fn sockets_passwords_users_and_databases_of_the_url_are_those_that_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let redis = RedisServer::start_with(&["--unixsocket", socket.to_str().unwrap()]);
    let mut connection = redis.connection();
    let run = |connection: &mut redis::Connection, words: &[&str]| {
        cmd(words[0]).arg(&words[1..]).query::<()>(connection).unwrap();
    };
    run(&mut connection, &["ACL", "SETUSER", "reader", "on", ">pass", "~*", "&*", "+@all"]);
    run(&mut connection, &["CONFIG", "SET", "requirepass", "secret"]);
    run(&mut connection, &["SELECT", "1"]);
    let address = redis.url().replace("redis://", "");
    let address = address.split('/').next().unwrap();
    for (ts, url) in [
        (T0, format!("redis://secret@{address}/1")),
        (T0 + 1, format!("redis://reader:pass@{address}/1")),
        (T0 + 2, format!("unix://{}?db=1&pass=secret", socket.display())),
    ] {
        append(&mut connection, &event(ts));
        let mut reader = RedisReader::new(&url.as_str().into(), source()).unwrap();
        // What an earlier reader was given is still pending and comes first.
        let mut times = Vec::new();
        while !times.contains(&ts) {
            times.extend(next_times(&mut reader).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_too_large_for_the_quick_reader_is_put_aside_and_the_others_settle() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    let app = start(&config(&redis, &file.url(), "one")).await;
    append(&mut connection, &event(T0));
    settled(&file, 1, 1000).await;
    let mut both = redis::pipe();
    both.atomic().cmd("XADD").arg("tracker:traffic").arg("*").arg("noise").arg(vec![b'x'; 3 << 20]);
    let add = both.cmd("XADD").arg("tracker:traffic").arg("*");
    for (name, value) in event(T0 + 1).to_fields() {
        add.arg(name).arg(value);
    }
    both.query::<redis::Value>(&mut connection).unwrap();
    settled(&file, 2, 2000).await;
    all_acknowledged(&redis).await;
    assert_eq!(count(&mut connection, &["XLEN", "tracker:traffic:dlq"]), 1);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_read_was_given_that_was_given_up_comes_again() {
    let redis = RedisServer::start();
    let mut connection = redis.connection();
    let mut reader = RedisReader::new(&redis.url().as_str().into(), source()).unwrap();
    append(&mut connection, &event(T0));
    assert_eq!(next_times(&mut reader).await, [T0]);
    assert!(timeout(Duration::from_millis(300), reader.read()).await.is_err(), "it waits for an entry");
    append(&mut connection, &event(T0 + 1));
    eventually("Redis has given it to somebody", || {
        let pending = redis::cmd("XPENDING")
            .arg(&["tracker:traffic", "site"])
            .query::<Vec<redis::Value>>(&mut connection);
        (pending.unwrap()[0] == redis::Value::Int(2)).then_some(())
    });
    assert!(reader.looks_back());
    assert_eq!(next_times(&mut reader).await, [T0, T0 + 1], "neither was acknowledged");
}
