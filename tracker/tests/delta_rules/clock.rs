//! What time it is for a tracker that was told none yet, by Redis' clock and its own.

use std::time::{SystemTime, UNIX_EPOCH};

use redis::Commands;
use tracker::traffic::{Progress, RecordScript};

use crate::books::Books;

/// What time it is for a tracker whose own clock says that so much went by since the site's clock was noted
/// last; Redis' clock says the other.
async fn went_by(by_its_own_ms: i64, by_redis_ms: i64) -> i64 {
    let mut books = Books::open().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = i64::try_from(now).unwrap();
    // An hour behind: nobody's clock is the site's.
    let noted = now - 3_600_000;
    let head = [("n", 0), ("clock", noted), ("time", now - by_redis_ms)];
    let _: () = books.server.connection().hset_multiple("tracker:traffic:head", &head).unwrap();
    let guessed_ms = u64::try_from(noted + by_its_own_ms).unwrap();
    let said = Progress { call: 1, guessed_ms, ..Progress::default() };
    let script = RecordScript::new("t1", books.rules.clone());
    let receipt = script.run(&mut books.connection, &[], &said).await.unwrap();
    i64::try_from(receipt.clock.site_ms).unwrap() - noted
}

#[tokio::test]
async fn of_two_clocks_that_differ_the_one_is_believed_by_which_less_went_by() {
    for (by_its_own, by_redis, expected) in [
        (10_000, 10_000, 10_000),
        (6_000, 10_000, 10_000),
        (10_000, 40_000, 10_000),
        (40_000, 10_000, 10_000),
        (10_000, 3_600_000, 10_000),
        (10_000, -30_000, 10_000),
        (-30_000, 10_000, 10_000),
        (-30_000, -30_000, 0),
    ] {
        let went_by = went_by(by_its_own, by_redis).await;
        assert!((expected..expected + 2000).contains(&went_by), "{by_its_own} {by_redis}: {went_by}");
    }
}

/// By how much Redis' clock is noted to be ahead when a tracker says what time it is, and that the other was
/// ahead by this much when it knew last.
async fn noted_ahead(says_ms_ago: i64, is_ahead_ms: i64) -> i64 {
    let mut books = Books::open().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let expected_ms = Some(u64::try_from(i64::try_from(now).unwrap() - says_ms_ago).unwrap());
    let said = Progress { call: 1, expected_ms, ahead_ms: is_ahead_ms, ..Progress::default() };
    let script = RecordScript::new("t1", books.rules.clone());
    script.run(&mut books.connection, &[], &said).await.unwrap();
    let head: (i64, i64) =
        books.server.connection().hmget("tracker:traffic:head", &["clock", "time"]).unwrap();
    head.1 - head.0
}

#[tokio::test]
async fn a_call_that_travelled_leaves_the_difference_of_the_clocks_and_one_that_could_not_corrects_it() {
    for (says_ms_ago, is_ahead_ms, expected) in [
        (4000, 0, 0),
        (0, -30_000, -30_000),
        (3_600_000, 0, 3_600_000),
        (-3_600_000, 0, -3_600_000),
        (9000, 9000, 9000),
    ] {
        let noted = noted_ahead(says_ms_ago, is_ahead_ms).await;
        assert!((expected..expected + 2000).contains(&noted), "{says_ms_ago} {is_ahead_ms}: {noted}");
    }
}
