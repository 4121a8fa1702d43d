//! What is sent twice, by whom, and too late.

use contract::{Event, Keys};
use redis::Commands;
use tracker::traffic::{Outcome, Progress, RecordScript};

use crate::books::{Books, GIB, Say, T0, snapshot_key};

#[tokio::test]
async fn the_same_batch_sent_twice_books_once() {
    let mut books = Books::open().await;
    let batch =
        [Say::up(0).at(0), Say::up(10).at(60), Say::up(0).event(Event::Started).at(61), Say::up(7).at(62)];
    assert_eq!(books.tell("t1", &batch).await, vec![Outcome::Booked; 4]);
    let before = (books.events(), books.snapshot());
    assert_eq!(books.tell("t1", &batch).await, vec![Outcome::Repeated; 4]);
    assert_eq!((books.events(), books.snapshot()), before);
}

#[tokio::test]
async fn part_of_a_batch_sent_again_books_only_what_is_new() {
    let mut books = Books::open().await;
    books.tell("t1", &[Say::up(0).at(0), Say::up(10).at(60)]).await;
    let again = books.tell("t1", &[Say::up(10).at(60), Say::up(25).at(120)]).await;
    assert_eq!(again, [Outcome::Repeated, Outcome::Booked]);
    assert_eq!(books.uploads(), [0, 10, 15]);
}

#[tokio::test]
async fn two_trackers_for_one_session_at_once_settle_to_the_same_total() {
    // One client that announces each of its counters to both trackers: bytes count once, in any interleaving.
    for swapped in [false, true] {
        let mut books = Books::open().await;
        let (first, second) = if swapped { ("t2", "t1") } else { ("t1", "t2") };
        for (minute, up) in [(0, 0), (1, 100), (2, 250)] {
            books.tell(first, &[Say::up(up).at(minute * 60)]).await;
            books.tell(second, &[Say::up(up).at(minute * 60 + 1)]).await;
        }
        assert_eq!(books.uploads().iter().sum::<u64>(), 250);
    }
}

#[tokio::test]
async fn what_a_tracker_sends_again_is_recognised_after_others_took_over() {
    let mut books = Books::open().await;
    let said = Say::up(100).at(60).seq(7);
    books.tell("t1", &[Say::up(0).at(0).seq(6), said]).await;
    for (minute, tracker) in [(12, "t2"), (13, "t3")] {
        books.tell(tracker, &[Say::up(0).event(Event::Started).at(minute * 60).seq(900)]).await;
    }
    books.restart("t1");
    assert_eq!(books.tell("t1", &[said]).await, [Outcome::Repeated]);
    books.tell("t1", &[Say::up(0).event(Event::Started).at(900).seq(8)]).await;
    books.tell("t1", &[Say::up(30).at(940).seq(9)]).await;
    assert_eq!(books.tell("t1", &[said]).await, [Outcome::Repeated]);
    assert_eq!(books.uploads().iter().sum::<u64>(), 130);
}

#[tokio::test]
async fn a_redis_that_forgot_how_far_a_tracker_got_books_no_byte_twice() {
    let mut books = Books::open().await;
    let batch = [Say::up(0).at(0), Say::up(10).at(60), Say::up(0).event(Event::Started).at(61)];
    books.tell("t1", &batch).await;
    let key = format!("{}t1", Keys::default().recorder_prefix());
    let _: () = books.server.connection().del(key).unwrap();
    books.tell("t1", &batch).await;
    assert_eq!(books.uploads(), [0, 10, 0, 0, 0, 0]);
}

#[tokio::test]
async fn an_entry_twice_in_one_batch_earns_its_bytes_once() {
    let mut books = Books::open().await;
    books.hear(&[Say::up(0).at(0)]).await;
    let again = Say::up(5).event(Event::Started).at(60);
    books.tell("t1", &[again, again]).await;
    assert_eq!(books.uploads().iter().sum::<u64>(), 5);
}

#[tokio::test]
async fn a_tracker_that_starts_again_goes_on_from_what_redis_has() {
    let mut books = Books::open().await;
    books.hear(&[Say::up(0).at(0), Say::up(10).at(60)]).await;
    books.restart("t1");
    assert_eq!(books.tell("t1", &[Say::up(15).at(120)]).await, [Outcome::Booked]);
    assert_eq!(books.uploads(), [0, 10, 5]);
}

#[tokio::test]
async fn a_late_report_adds_what_nobody_claimed_keeps_its_word_and_moves_nothing_back() {
    let mut books = Books::open().await;
    books.tell("t1", &[Say::up(0).left(500).at(0)]).await;
    books.tell("t1", &[Say { ip: "192.0.2.9", ..Say::up(100).left(0).at(120) }]).await;
    books.tell("t2", &[Say::up(80).left(300).at(60)]).await;
    books.tell("t2", &[Say::up(130).left(300).event(Event::Stopped).at(61)]).await;
    assert_eq!(books.uploads(), [0, 100, 0, 30]);
    let events = books.events();
    let last = events.last().unwrap();
    assert_eq!((last.left, last.event, last.dt), (300, Event::Stopped, 0), "it keeps its word");
    assert_eq!(last.claim.unwrap().at_ms, T0 + 61_000, "and says when that was");
    assert!(events.windows(2).all(|pair| pair[0].ts < pair[1].ts));
    assert_eq!((&*books.snapshot()["uploaded"], &*books.snapshot()["ip"]), ("100", "192.0.2.9"));
    books.tell("t1", &[Say { ip: "192.0.2.9", ..Say::up(150).at(180) }]).await;
    assert_eq!(books.uploads(), [0, 100, 0, 30, 20]);
}

#[tokio::test]
async fn a_late_report_of_the_run_before_counts_against_where_that_run_had_got_to() {
    let mut books = Books::open().await;
    books.tell("t1", &[Say::up(0).at(0)]).await;
    books.tell("t1", &[Say::up(3 * GIB).at(60)]).await;
    // The client restarts at t2; t1's last report of the old run comes late.
    books.tell("t2", &[Say::up(0).event(Event::Started).at(180)]).await;
    books.tell("t1", &[Say::up(5 * GIB).at(120)]).await;
    books.tell("t2", &[Say::up(10).at(400)]).await;
    assert_eq!(books.uploads().iter().sum::<u64>(), 5 * GIB + 10);
}

#[tokio::test]
async fn a_late_report_of_two_runs_ago_earns_nothing_twice() {
    let mut books = Books::open().await;
    let start = Say::up(0).event(Event::Started);
    books.tell("t1", &[Say::up(0).at(0), Say::up(5 * GIB).at(60)]).await;
    books.tell("t1", &[start.at(180), Say::up(GIB).at(240), start.at(300)]).await;
    books.tell("t2", &[Say::up(5 * GIB).at(60)]).await;
    assert_eq!(books.uploads().iter().sum::<u64>(), 6 * GIB);
}

#[tokio::test]
async fn entries_are_numbered_without_a_gap_whoever_books_them() {
    let mut books = Books::open().await;
    for minute in 0..6 {
        let tracker = ["t1", "t2"][usize::try_from(minute % 2).unwrap()];
        books.tell(tracker, &[Say::up(minute).at(minute * 60)]).await;
    }
    let numbers =
        |books: &Books| -> Vec<u64> { books.events().iter().map(|event| event.claim.unwrap().n).collect() };
    assert_eq!(numbers(&books), [1, 2, 3, 4, 5, 6]);
    let _: () = books.server.connection().del(Keys::default().head()).unwrap();
    books.tell("t1", &[Say::up(9).at(900)]).await;
    assert_eq!(numbers(&books).last(), Some(&7), "the stream itself knows");
}

#[tokio::test]
async fn a_session_that_redis_forgot_goes_on_from_what_the_tracker_knows() {
    let mut books = Books::open().await;
    books.hear(&[Say::up(0).at(0), Say::up(10).at(60)]).await;
    let _: () = books.server.connection().del(snapshot_key()).unwrap();
    books.hear(&[Say::up(25).at(120)]).await;
    assert_eq!(books.uploads(), [0, 10, 15]);
    let claim = books.events()[2].claim.unwrap();
    assert_eq!((claim.born_ms, claim.tu), (T0, 25), "on the same line");
}

#[tokio::test]
async fn a_call_that_travelled_for_long_does_not_set_back_the_clock_of_who_starts_next() {
    let mut books = Books::open().await;
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query(&mut books.server.connection()).unwrap();
    let told_ms = (seconds - 30) * 1000;
    let told = [("clock", told_ms), ("time", told_ms)];
    let _: () = books.server.connection().hset_multiple(Keys::default().head(), &told).unwrap();
    let script = RecordScript::new("t1", books.rules.clone());
    let travelled = Progress { expected_ms: Some(told_ms), ..Progress::default() };
    let mut site_ms = 0;
    for said in [travelled, Progress::default()] {
        site_ms = script.run(&mut books.connection, &[], &said).await.unwrap().clock.site_ms;
    }
    assert!(site_ms >= seconds * 1000, "{site_ms}");
}

#[tokio::test]
async fn a_forgotten_script_is_taught_again() {
    let mut books = Books::open().await;
    books.hear(&[Say::up(0).at(0)]).await;
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut books.server.connection()).unwrap();
    books.hear(&[Say::up(5).at(60)]).await;
    assert_eq!(books.uploads(), [0, 5]);
}
