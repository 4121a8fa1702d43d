//! The rules by which absolute counters become deltas, each against a real Redis: the script is the only place that knows them.

#![allow(clippy::unwrap_used)]

use std::time::{SystemTime, UNIX_EPOCH};

use contract::{Event, InfoHash, Keys, PeerId, TrafficEvent};
use harness::RedisServer;
use redis::Commands;
use redis::aio::MultiplexedConnection;
use tracker::announce::{Account, Admission, Admitted, Announce, Families, PeerIds, Report, UserTag};
use tracker::traffic::{Entry, Outcome, RecordScript, Rules};

/// Milliseconds; well in the past, so that the script's guard against clocks that run ahead does not interfere.
const T0: u64 = 1_700_000_000_000;

/// One Redis, and trackers that book into it.
struct Books {
    server: RedisServer,
    connection: MultiplexedConnection,
    rules: Rules,
}

/// One announce, as a test says it.
#[derive(Clone, Copy)]
struct Say {
    up: u64,
    down: u64,
    left: u64,
    event: Event,
    at_ms: u64,
    seq: u64,
    ip: &'static str,
}

impl Say {
    fn up(up: u64) -> Self {
        Self { up, down: 0, left: 0, event: Event::None, at_ms: T0, seq: 0, ip: "192.0.2.1" }
    }

    fn at(self, seconds: u64) -> Self {
        Self { at_ms: T0 + seconds * 1000, seq: seconds + 1, ..self }
    }

    fn seq(self, seq: u64) -> Self {
        Self { seq, ..self }
    }

    fn event(self, event: Event) -> Self {
        Self { event, ..self }
    }

    fn down(self, down: u64) -> Self {
        Self { down, ..self }
    }

    fn left(self, left: u64) -> Self {
        Self { left, ..self }
    }

    fn entry(self) -> Entry {
        let announce = Announce {
            info_hash: InfoHash([7; 20]),
            peer_id: PeerId([8; 20]),
            ip: self.ip.parse().unwrap(),
            port: 6881,
            uploaded: self.up,
            downloaded: self.down,
            left: self.left,
            event: self.event,
            num_want: 50,
            families: Families::Both,
            peer_ids: PeerIds::Spared,
            credential: None,
            jwt: None,
        };
        let account = Account {
            passkey: "alice".parse().unwrap(),
            tag: UserTag(std::num::NonZeroU64::MIN),
            fd: None,
            pd: None,
        };
        let admission = Admission { account: Some(account.clone()), ..Admission::new(1800, 900) };
        let admitted = Admitted { announce, admission };
        let report = Report { admitted, account, observed_ms: self.at_ms };
        Entry { booking: report.into(), sequence: self.seq }
    }
}

impl Books {
    async fn open() -> Self {
        let server = RedisServer::start();
        let client = redis::Client::open(server.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        Self { server, connection, rules: Rules::new(&Keys::default()) }
    }

    async fn tell(&mut self, tracker: &str, says: &[Say]) -> Vec<Outcome> {
        let entries: Vec<Entry> = says.iter().map(|say| say.entry()).collect();
        let script = RecordScript::new(tracker, self.rules.clone());
        script.run(&mut self.connection, &entries, 0).await.unwrap().outcomes
    }

    /// Every announce alone, through one tracker.
    async fn hear(&mut self, says: &[Say]) {
        for say in says {
            self.tell("t1", &[*say]).await;
        }
    }

    fn events(&self) -> Vec<TrafficEvent> {
        let reply: redis::streams::StreamRangeReply =
            self.server.connection().xrange_all("tracker:traffic").unwrap();
        reply
            .ids
            .iter()
            .map(|entry| {
                let fields: Vec<(String, String)> = entry
                    .map
                    .iter()
                    .map(|(k, v)| (k.clone(), redis::from_redis_value(v.clone()).unwrap()))
                    .collect();
                TrafficEvent::from_fields(fields.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes()))).unwrap()
            })
            .collect()
    }

    fn uploads(&self) -> Vec<u64> {
        self.events().iter().map(|event| event.du).collect()
    }

    fn snapshot(&self) -> std::collections::HashMap<String, String> {
        self.server.connection().hgetall(snapshot_key()).unwrap()
    }

    fn expire_in(&self, seconds: i64) {
        self.server.connection().expire::<_, bool>(snapshot_key(), seconds).unwrap();
    }

    fn ttl(&self) -> i64 {
        self.server.connection().ttl(snapshot_key()).unwrap()
    }
}

fn snapshot_key() -> String {
    Keys::default().snapshot(&"alice".parse().unwrap(), &InfoHash([7; 20]), &PeerId([8; 20]))
}

const GIB: u64 = 1 << 30;

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
async fn two_announces_in_one_second_have_two_timestamps() {
    let mut books = Books::open().await;
    let says: Vec<Say> = (0..5).map(|n| Say { at_ms: T0 + n, ..Say::up(n) }.seq(n + 1)).collect();
    books.tell("t1", &says).await;
    let stamps: Vec<u64> = books.events().iter().map(|event| event.ts).collect();
    assert_eq!(stamps, [1_700_000_000, 1_700_000_001, 1_700_000_002, 1_700_000_003, 1_700_000_004]);
    assert_eq!(books.uploads(), [0, 1, 1, 1, 1]);
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
async fn a_snapshot_outlives_its_session_by_the_configured_time_and_a_stopped_one_by_a_day() {
    let mut books = Books::open().await;
    let days = |count: i64| count * 86_400;
    books.hear(&[Say::up(0).at(0)]).await;
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
    // The first one, and one more should the test run across the border of a period.
    assert!((1..=2).contains(&renewed), "{renewed} times");
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
    assert_eq!(outcomes, [Outcome::Booked, Outcome::Idle, Outcome::Booked, Outcome::Booked]);
    assert_eq!(books.uploads(), [0, 0, 9]);
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
    let mut other = Say::up(0).at(0).entry();
    other.booking.peer_id = PeerId([9; 20]);
    let script = RecordScript::new("t1", books.rules.clone());
    let batch = [Say::up(0).at(0).entry(), other];
    let outcomes = script.run(&mut books.connection, &batch, 0).await.unwrap().outcomes;
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

#[tokio::test]
async fn counters_near_the_limit_stay_exact() {
    let mut books = Books::open().await;
    let max = tracker::announce::MAX_COUNTER;
    books.hear(&[Say::up(1).at(0), Say::up(max).at(60)]).await;
    assert_eq!(books.uploads(), [0, max - 1]);
    assert_eq!(books.snapshot()["uploaded"], max.to_string());
}

#[tokio::test]
async fn a_forgotten_script_is_taught_again() {
    let mut books = Books::open().await;
    books.hear(&[Say::up(0).at(0)]).await;
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut books.server.connection()).unwrap();
    books.hear(&[Say::up(5).at(60)]).await;
    assert_eq!(books.uploads(), [0, 5]);
}
