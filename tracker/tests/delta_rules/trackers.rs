//! What is sent twice, by whom, and too late.

use contract::{Event, Keys};
use redis::Commands;
use tracker::traffic::Outcome;

use crate::books::{Books, GIB, Say, T0};

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
    for (minute, tracker) in [(2, "t2"), (3, "t3")] {
        books.tell(tracker, &[Say::up(0).event(Event::Started).at(minute * 60).seq(900)]).await;
    }
    assert_eq!(books.tell("t1", &[said]).await, [Outcome::Repeated]);
    assert_eq!(books.snapshot()["seq"], "t2:900 t1:7");
    books.tell("t1", &[Say::up(30).at(240).seq(8)]).await;
    assert_eq!(books.tell("t1", &[said]).await, [Outcome::Repeated]);
    assert_eq!(books.uploads().iter().sum::<u64>(), 130);
}

#[tokio::test]
async fn a_redis_that_forgot_how_far_a_tracker_got_still_knows_it_by_the_snapshot() {
    let mut books = Books::open().await;
    let batch = [Say::up(0).at(0), Say::up(10).at(60), Say::up(0).event(Event::Started).at(61)];
    books.tell("t1", &batch).await;
    let key = format!("{}t1", Keys::default().recorder_prefix());
    let _: () = books.server.connection().del(key).unwrap();
    assert_eq!(books.tell("t1", &batch).await, vec![Outcome::Repeated; 3]);
}

#[tokio::test]
async fn an_entry_twice_in_one_batch_is_booked_once() {
    let mut books = Books::open().await;
    books.hear(&[Say::up(0).at(0)]).await;
    let again = Say::up(5).event(Event::Started).at(60);
    assert_eq!(books.tell("t1", &[again, again]).await, [Outcome::Booked, Outcome::Repeated]);
}

#[tokio::test]
async fn a_late_report_of_another_tracker_adds_only_what_exceeds_the_mark_and_moves_nothing_back() {
    let mut books = Books::open().await;
    books.tell("t1", &[Say::up(0).left(500).at(0)]).await;
    books.tell("t1", &[Say { ip: "192.0.2.9", ..Say::up(100).left(0).at(120) }]).await;
    assert_eq!(books.tell("t2", &[Say::up(80).left(300).at(60)]).await, [Outcome::Late]);
    assert_eq!(books.uploads(), [0, 100], "nothing new: no event");
    assert_eq!(
        books.tell("t2", &[Say::up(130).left(300).event(Event::Stopped).at(61)]).await,
        [Outcome::Booked]
    );
    let last = books.events().pop().unwrap();
    assert_eq!(
        (last.du, last.left, last.event, last.dt),
        (30, 0, Event::None, 0),
        "the snapshot's own state"
    );
    assert_eq!(last.ip.to_string(), "192.0.2.9");
    assert_eq!(last.ts, books.events()[1].ts + 1);
    assert_eq!(books.snapshot()["uploaded"], "130");
    books.tell("t1", &[Say::up(150).at(180)]).await;
    assert_eq!(books.uploads(), [0, 100, 30, 20]);
}

#[tokio::test]
async fn a_late_report_of_the_run_before_counts_against_where_that_run_had_got_to() {
    let mut books = Books::open().await;
    books.tell("t1", &[Say::up(0).at(0)]).await;
    books.tell("t1", &[Say::up(3 * GIB).at(60)]).await;
    // The client restarts at t2; t1's last report of the old run comes late.
    books.tell("t2", &[Say::up(0).event(Event::Started).at(180)]).await;
    books.tell("t1", &[Say::up(5 * GIB).at(120)]).await;
    books.tell("t1", &[Say::up(4 * GIB).at(121)]).await;
    books.tell("t2", &[Say::up(10).at(240)]).await;
    assert_eq!(books.uploads().iter().sum::<u64>(), 5 * GIB + 10);
    assert_eq!(books.snapshot()["uploaded"], "10");
}

#[tokio::test]
async fn a_late_report_of_two_runs_ago_earns_nothing_twice() {
    let mut books = Books::open().await;
    let start = Say::up(0).event(Event::Started);
    books.tell("t1", &[Say::up(0).at(0), Say::up(5 * GIB).at(60)]).await;
    books.tell("t1", &[start.at(180), Say::up(GIB).at(240), start.at(300)]).await;
    assert_eq!(books.tell("t2", &[Say::up(5 * GIB).at(60)]).await, [Outcome::Late]);
    assert_eq!(books.uploads().iter().sum::<u64>(), 6 * GIB);
    let longest = books.snapshot().into_values().map(|value| value.len()).max().unwrap();
    assert!(longest < 64, "the snapshot keeps its compact form");
}

#[tokio::test]
async fn a_clock_that_jumped_ahead_and_back_loses_no_bytes() {
    let mut books = Books::open().await;
    let year = 365 * 86_400;
    books.tell("t1", &[Say::up(0).at(0).seq(1)]).await;
    // Beyond Redis' own clock: taken for now.
    books.tell("t1", &[Say::up(10).at(100 * year).seq(2)]).await;
    books.tell("t1", &[Say::up(30).left(5).at(60).seq(3)]).await;
    books.tell("t2", &[Say { at_ms: u64::MAX >> 12, ..Say::up(45).seq(1) }]).await;
    assert_eq!(books.uploads(), [0, 10, 20, 15]);
    let events = books.events();
    assert!(events[1].ts < T0 / 1000 + 50 * year, "no timestamp from the far future");
    assert!(events.windows(2).all(|pair| pair[0].ts < pair[1].ts));
    assert_eq!(events[2].left, 5, "one tracker's own announces are never late");
}

#[tokio::test]
async fn a_forgotten_script_is_taught_again() {
    let mut books = Books::open().await;
    books.hear(&[Say::up(0).at(0)]).await;
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut books.server.connection()).unwrap();
    books.hear(&[Say::up(5).at(60)]).await;
    assert_eq!(books.uploads(), [0, 5]);
}
