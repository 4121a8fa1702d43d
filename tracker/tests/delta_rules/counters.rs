//! What a counter earns that grew, fell, or was never seen.

use contract::Event;
use tracker::traffic::Outcome;

use crate::books::{Books, GIB, Say, T0};

#[tokio::test]
async fn a_counter_that_grows_earns_the_difference() {
    let mut books = Books::open().await;
    books.hear(&[Say::up(100).at(0), Say::up(150).at(60).down(9), Say::up(150).at(120).down(9)]).await;
    assert_eq!(books.uploads(), [0, 50, 0]);
    let events = books.events();
    assert_eq!(events[1].dd, 9);
    assert_eq!((events[0].dt, events[1].dt, events[2].dt), (0, 60, 60));
    assert_eq!((events[0].interval, events[0].min_interval), (1800, 900));
}

#[tokio::test]
async fn without_a_snapshot_whatever_the_event_it_is_a_baseline_only() {
    for event in [Event::None, Event::Started, Event::Completed, Event::Stopped] {
        let mut books = Books::open().await;
        books.hear(&[Say::up(5 * GIB).down(GIB).event(event).at(0)]).await;
        let events = books.events();
        assert_eq!((events[0].du, events[0].dd, events[0].dt), (0, 0, 0), "{event:?}");
        assert_eq!(books.snapshot()["uploaded"], (5 * GIB).to_string());
    }
}

#[tokio::test]
async fn a_site_that_trusts_first_counters_says_so_and_only_a_started_is_trusted() {
    let mut books = Books::open().await;
    books.rules.credit_first_started = true;
    books.hear(&[Say::up(500).down(3).event(Event::Started).at(0)]).await;
    assert_eq!((books.events()[0].du, books.events()[0].dd), (500, 3));
    let mut books = Books::open().await;
    books.rules.credit_first_started = true;
    books.hear(&[Say::up(500).at(0)]).await;
    assert_eq!(books.uploads(), [0]);
}

#[tokio::test]
async fn a_counter_that_falls_with_started_is_a_new_run() {
    let mut books = Books::open().await;
    let restart = Say::up(200).event(Event::Started);
    books.hear(&[Say::up(5 * GIB).at(0), restart.at(60), restart.at(70), Say::up(300).at(120)]).await;
    assert_eq!(books.uploads(), [0, 200, 0, 100]);
}

#[tokio::test]
async fn a_small_fall_is_a_wobble_and_the_mark_stays() {
    let mut books = Books::open().await;
    let start = Say::up(0).down(0).left(9).event(Event::Started).at(0);
    let high = Say::up(0).down(GIB + 70_000).event(Event::Completed).at(60);
    books.hear(&[start, high, Say::up(0).down(GIB).at(120), Say::up(0).down(GIB + 80_000).at(180)]).await;
    let downs: Vec<u64> = books.events().iter().map(|event| event.dd).collect();
    assert_eq!(downs, [0, GIB + 70_000, 0, 10_000]);
}

#[tokio::test]
async fn a_started_at_a_second_address_after_a_completed_that_was_too_high_is_no_new_run() {
    let mut books = Books::open().await;
    let start = Say::up(0).left(9).event(Event::Started).at(0);
    let high = Say::up(0).down(GIB + 70_000).event(Event::Completed).at(60);
    // This address had no answer to its `started` before, so it says it again, with the counters of now.
    let owed = Say { ip: "2001:db8::7", ..Say::up(0).down(GIB).event(Event::Started).at(61) };
    books.hear(&[start, high, owed, Say::up(0).down(GIB + 80_000).at(180)]).await;
    let downs: Vec<u64> = books.events().iter().map(|event| event.dd).collect();
    assert_eq!(downs, [0, GIB + 70_000, 0, 10_000]);
}

#[tokio::test]
async fn a_short_run_that_begins_again_is_a_new_run() {
    let mut books = Books::open().await;
    let restart = Say::up(0).event(Event::Started).at(120);
    books.hear(&[Say::up(0).at(0), Say::up(5000).at(60), restart, Say::up(7000).at(180)]).await;
    assert_eq!(books.uploads(), [0, 5000, 0, 7000]);
}

#[tokio::test]
async fn a_large_fall_without_started_earns_nothing_and_counting_begins_anew() {
    let mut books = Books::open().await;
    books.hear(&[Say::up(5 * GIB).at(0), Say::up(100).at(60), Say::up(150).at(120)]).await;
    assert_eq!(books.uploads(), [0, 0, 50]);
    let mut edge = Books::open().await;
    let mib = 1 << 20;
    edge.hear(&[Say::up(2 * mib).at(0), Say::up(mib).at(60), Say::up(mib + 5).at(120)]).await;
    assert_eq!(edge.uploads(), [0, 0, 5], "a fall by exactly 1 MiB is a large one");
}

#[tokio::test]
async fn the_counters_are_judged_apart() {
    let mut books = Books::open().await;
    let restart = Say::up(10).down(3 * GIB).event(Event::Started);
    books.hear(&[Say::up(5 * GIB).down(2 * GIB).at(0), restart.at(60)]).await;
    let event = &books.events()[1];
    assert_eq!((event.du, event.dd), (10, GIB));
}

#[tokio::test]
async fn two_announces_in_one_second_have_two_timestamps() {
    let mut books = Books::open().await;
    let says: Vec<Say> = (0..5).map(|n| Say { at_ms: T0 + n, ..Say::up(n) }.seq(n + 1)).collect();
    books.tell("t1", &says).await;
    let stamps: Vec<u64> = books.events().iter().map(|event| event.ts).collect();
    assert_eq!(stamps, [1_700_000_000, 1_700_000_001, 1_700_000_002, 1_700_000_003, 1_700_000_004]);
    assert_eq!(books.uploads(), [0, 1, 1, 1, 1]);
}

#[tokio::test]
async fn a_quiet_site_leaves_idle_announces_out_and_still_counts_right() {
    let mut books = Books::open().await;
    books.rules.skip_idle = true;
    let says =
        [Say::up(0).left(5).at(0), Say::up(0).left(5).at(60), Say::up(0).left(0).at(120), Say::up(9).at(180)];
    let mut outcomes = Vec::new();
    for say in says {
        outcomes.extend(books.tell("t1", &[say]).await);
    }
    assert_eq!(outcomes, vec![Outcome::Booked; 4]);
    assert_eq!(books.uploads(), [0, 0, 9]);
}

#[tokio::test]
async fn counters_near_the_limit_stay_exact() {
    let mut books = Books::open().await;
    let max = tracker::announce::MAX_COUNTER;
    books.hear(&[Say::up(1).at(0), Say::up(max).at(60)]).await;
    assert_eq!(books.uploads(), [0, max - 1]);
    assert_eq!(books.snapshot()["uploaded"], max.to_string());
}
