//! What is remembered of a session, for how long, and what happens when it cannot be written.

use contract::{Event, InfoHash, Keys, PeerId};
use redis::Commands;
use std::time::{SystemTime, UNIX_EPOCH};
use tracker::traffic::Outcome;

use crate::books::{Books, Say, snapshot_key};

#[tokio::test]
async fn a_snapshot_shows_where_the_client_is_now_and_stays_small() {
    let mut books = Books::open().await;
    books.hear(&[Say::up(0).at(0), Say::up(1).at(60)]).await;
    books.hear(&[Say { ip: "2001:db8::7", ..Say::up(2).at(120) }]).await;
    let shown = books.snapshot();
    assert_eq!((&shown["ip"][..], &shown["af"][..], &shown["uploaded"][..]), ("2001:db8::7", "6", "2"));
    for tracker in ["0a0a0a0a", "0b0b0b0b", "0c0c0c0c"] {
        let says = Say::up(1 << 50).left(1 << 50).event(Event::Stopped).at(180);
        books.tell(tracker, &[says.seq(10_000_000_000)]).await;
    }
    let encoding: String = redis::cmd("OBJECT")
        .arg("ENCODING")
        .arg(snapshot_key())
        .query(&mut books.server.connection())
        .unwrap();
    assert_eq!(encoding, "listpack", "{:?}", books.snapshot());
}

#[tokio::test]
async fn a_client_on_two_addresses_is_one_session() {
    let mut books = Books::open().await;
    for (second, up) in [(0, 0), (60, 100), (120, 170)] {
        books.tell("t1", &[Say::up(up).at(second).seq(second * 2 + 1)]).await;
        books.tell("t1", &[Say { ip: "2001:db8::7", ..Say::up(up).at(second).seq(second * 2 + 2) }]).await;
    }
    assert_eq!(books.uploads().iter().sum::<u64>(), 170);
    let families: Vec<_> = books.events().iter().map(|event| event.af.as_str()).collect();
    assert_eq!(families, ["4", "6", "4", "6", "4", "6"]);
}

#[tokio::test]
async fn a_snapshot_outlives_its_session_by_the_configured_time_and_a_stopped_one_by_a_day() {
    let mut books = Books::open().await;
    let days = |count: i64| count * 86_400;
    books.hear(&[Say::up(0).at(0)]).await;
    assert!((3600..=3600 + 120).contains(&books.ttl()), "it may be anybody's");
    books.hear(&[Say::up(0).at(30)]).await;
    assert!((days(21)..=days(23)).contains(&books.ttl()), "never less than was asked for");
    books.hear(&[Say::up(0).event(Event::Stopped).at(60)]).await;
    assert!((86_000..=days(1)).contains(&books.ttl()));
    books.hear(&[Say::up(0).at(120)]).await;
    assert!(books.ttl() > days(21), "it goes on after all");
}

#[tokio::test]
async fn a_snapshots_life_is_renewed_once_in_a_while_and_not_by_every_announce() {
    let mut books = Books::open().await;
    let mut renewed = 0;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = u64::try_from(now).unwrap();
    for count in 0..20 {
        books.tell("t1", &[Say { at_ms: now + count, ..Say::up(count).seq(count + 1) }]).await;
        renewed += u32::from(books.ttl() > 100);
        books.expire_in(100);
    }
    // The first two, and one more should the test run across the border of a period.
    assert!((2..=3).contains(&renewed), "{renewed} times");
}

#[tokio::test]
async fn a_snapshot_that_another_program_wrote_is_continued() {
    let mut books = Books::open().await;
    let key = Keys::default().snapshot(&"alice".parse().unwrap(), &InfoHash([7; 20]), &PeerId([8; 20]));
    let fields = [
        ("uploaded", "40"),
        ("downloaded", "0"),
        ("port", "1"),
        ("ip", "192.0.2.1"),
        ("af", "4"),
        ("ts", "1699999990"),
    ];
    let _: () = books.server.connection().hset_multiple(key, &fields).unwrap();
    books.hear(&[Say::up(100).at(0)]).await;
    assert_eq!((books.uploads(), books.events()[0].dt), (vec![60], 10));
}

#[tokio::test]
async fn one_foreign_key_does_not_stop_the_batch_around_it() {
    let mut books = Books::open().await;
    let key = Keys::default().snapshot(&"alice".parse().unwrap(), &InfoHash([7; 20]), &PeerId([8; 20]));
    let _: () = books.server.connection().set(key, "not a hash").unwrap();
    let mut other = Say::up(0).at(0).seq(2).entry_of("t1");
    other.booking.peer_id = PeerId([9; 20]);
    let batch = vec![Say::up(0).at(0).seq(1).entry_of("t1"), other];
    let outcomes = books.book("t1", batch).await;
    assert!(matches!(&outcomes[0], Outcome::Failed(reason) if reason.contains("WRONGTYPE")));
    assert_eq!(outcomes[1], Outcome::Booked);
}

#[tokio::test]
async fn a_stream_that_cannot_be_written_leaves_the_bytes_owed() {
    let mut books = Books::open().await;
    books.hear(&[Say::up(0).at(0)]).await;
    let mut look = books.server.connection();
    let _: () = look.rename("tracker:traffic", "aside").unwrap();
    let _: () = look.set("tracker:traffic", "not a stream").unwrap();
    assert!(matches!(&books.tell("t1", &[Say::up(70).at(60)]).await[0], Outcome::Unwritable(_)));
    let _: () = look.rename("aside", "tracker:traffic").unwrap();
    books.hear(&[Say::up(70).at(120)]).await;
    assert_eq!(books.uploads(), [0, 70]);
}
