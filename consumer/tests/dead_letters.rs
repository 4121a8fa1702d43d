//! What cannot be settled is put aside, tried again, given up, and never holds up the rest.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use books::dead_letters::{self, DeadLetters};
use consumer::config::Config;
use contract::config::Period;
use contract::{Keys, TrafficEvent};
use harness::{RedisServer, eventually};
use scene::{LedgerFile, T0, append, append_malformed, config, connect, count, event, passkey};
use scene::{all_acknowledged, settled, start};

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
    let mut multiplexed = connect(&redis).await;
    let letters =
        dead_letters::list(&mut multiplexed, &Keys::default(), DeadLetters::Waiting, None, 10).await.unwrap();
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
    let mut multiplexed = connect(&redis).await;
    let given_up =
        dead_letters::list(&mut multiplexed, &Keys::default(), DeadLetters::Failed, None, 10).await.unwrap();
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
    let mut multiplexed = connect(&redis).await;
    let letters =
        dead_letters::list(&mut multiplexed, &Keys::default(), DeadLetters::Waiting, None, 10).await.unwrap();
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
