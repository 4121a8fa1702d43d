//! A rotated passkey's sessions go on under the new one, whatever a tracker still calls them: against a real
//! Redis.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

use std::collections::HashMap;

use contract::{Event, InfoHash, Keys, Passkey, PeerId};
use harness::RedisServer;
use redis::Commands;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use tracker::traffic::{Booking, Bookkeeper, NumberedBooking, Outcome, RecordScript, Rules};

const T0: u64 = 1_700_000_000_000;
const MIB: u64 = 1 << 20;

struct Books {
    server: RedisServer,
    connection: MultiplexedConnection,
    sequence: u64,
    bookkeepers: HashMap<String, Bookkeeper>,
}

impl Books {
    async fn open() -> Self {
        let server = RedisServer::start();
        let client = redis::Client::open(server.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        Self { server, connection, sequence: 0, bookkeepers: HashMap::new() }
    }

    async fn send(&mut self, entry: &NumberedBooking) -> Outcome {
        self.send_through("t1", entry).await
    }

    async fn send_through(&mut self, tracker: &str, entry: &NumberedBooking) -> Outcome {
        let rules = Rules::new(&Keys::default());
        let script = RecordScript::new(tracker, rules.clone());
        let bookkeeper = self.bookkeepers.entry(tracker.to_owned()).or_insert_with(|| Bookkeeper::new(rules));
        script.book(&mut self.connection, bookkeeper, vec![entry.clone()]).await.unwrap().remove(0)
    }

    async fn announce(&mut self, name: &str, client: u8, mib: u64) -> NumberedBooking {
        self.sequence += 1;
        let entry = entry(name, client, mib, self.sequence);
        self.send(&entry).await;
        entry
    }

    fn begin(&self) {
        let mut redis = self.server.connection();
        redis.hset::<_, _, _, ()>("pt:passkeys:alias", "old", "new").unwrap();
        redis.hset::<_, _, _, ()>("tracker:rotating", "new", "old").unwrap();
    }

    async fn fold(&mut self) -> u64 {
        let (old, new): (Passkey, Passkey) = ("old".parse().unwrap(), "new".parse().unwrap());
        let prefix = Keys::default().snapshot_prefix();
        let folded =
            books::rotation::fold_snapshots(&mut self.connection, &prefix, (&old, &new), &mut |_| {})
                .await
                .unwrap();
        self.server.connection().del::<_, ()>("tracker:rotating").unwrap();
        folded
    }

    /// Passkey and MiB uploaded of every entry.
    fn booked(&self) -> Vec<(String, u64)> {
        let reply: StreamRangeReply = self.server.connection().xrange_all("tracker:traffic").unwrap();
        let entries = reply.ids.iter();
        entries.map(|e| (e.get("passkey").unwrap(), e.get::<u64>("du").unwrap() / MIB)).collect()
    }

    #[track_caller]
    fn assert_times_rise(&self) {
        let reply: StreamRangeReply = self.server.connection().xrange_all("tracker:traffic").unwrap();
        let times: Vec<u64> = reply.ids.iter().map(|entry| entry.get("ts").unwrap()).collect();
        assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    }

    fn total(&self) -> u64 {
        self.booked().iter().map(|(_, mib)| mib).sum()
    }
}

fn entry(name: &str, client: u8, mib: u64, sequence: u64) -> NumberedBooking {
    let booking = Booking {
        passkey: name.parse().unwrap(),
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId([client; 20]),
        ip: "192.0.2.1".parse().unwrap(),
        port: 6881,
        uploaded: mib * MIB,
        downloaded: 0,
        left: 0,
        event: Event::None,
        at_ms: T0 + sequence * 1000,
        path: claims::Path(1),
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        extras: contract::Extras::default(),
    };
    NumberedBooking::new(booking, sequence)
}

#[tokio::test]
async fn a_session_goes_on_before_during_and_after_the_move_without_losing_a_byte() {
    let mut books = Books::open().await;
    books.announce("old", 1, 10).await;
    books.announce("old", 1, 30).await;
    books.announce("old", 2, 5).await;
    books.begin();
    books.announce("old", 1, 35).await;
    books.announce("new", 1, 36).await;
    assert_eq!(books.fold().await, 1, "the silent client's snapshot was left");
    books.announce("new", 1, 40).await;
    books.announce("new", 2, 8).await;
    books.announce("old", 2, 9).await;
    assert_eq!(books.total(), 30 + 4);
    let names: Vec<String> = books.booked().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..3], ["old", "old", "old"]);
    assert!(names[3..].iter().all(|name| name == "new"), "{names:?}");
    let left: Vec<String> = books.server.connection().keys("tracker:last:old:*").unwrap();
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn an_announce_that_is_sent_again_after_the_rotation_is_not_booked_again() {
    let mut books = Books::open().await;
    books.announce("old", 1, 10).await;
    let sent = books.announce("old", 1, 30).await;
    books.begin();
    assert_eq!(books.send(&sent).await, Outcome::Repeated);
    books.fold().await;
    assert_eq!(books.send(&sent).await, Outcome::Repeated);
    assert_eq!(books.total(), 20);
}

#[tokio::test]
async fn what_another_tracker_sends_again_is_recognised_where_two_sessions_became_one() {
    let mut books = Books::open().await;
    let sent = entry("old", 1, 10, 1);
    books.send_through("t2", &sent).await;
    books.sequence = 5;
    books.announce("new", 1, 8).await;
    books.begin();
    assert_eq!(books.fold().await, 1);
    assert_eq!(books.send_through("t2", &sent).await, Outcome::Repeated);
}

#[tokio::test]
async fn a_client_that_used_both_passkeys_is_booked_only_beyond_what_either_had() {
    let mut books = Books::open().await;
    books.announce("old", 1, 10).await;
    books.announce("new", 1, 10).await;
    books.announce("old", 1, 30).await;
    books.announce("new", 1, 30).await;
    let before = books.total();
    books.begin();
    books.fold().await;
    books.announce("old", 1, 31).await;
    books.announce("new", 1, 33).await;
    assert_eq!(books.total(), before, "what both names have claimed is worked off first");
    books.announce("new", 1, 53).await;
    assert_eq!(books.total() - before, 3);
}

#[tokio::test]
async fn a_client_that_began_anew_under_the_new_passkey_counts_on_from_there() {
    let mut books = Books::open().await;
    books.announce("old", 1, 30).await;
    books.announce("new", 1, 40).await;
    books.sequence += 1;
    let mut restarted = entry("new", 1, 0, books.sequence);
    restarted.booking.event = Event::Started;
    books.send(&restarted).await;
    books.begin();
    books.announce("old", 1, 3).await;
    assert_eq!(books.total(), 10 + 3, "from 30 to 40 it went under two names");
}

#[tokio::test]
async fn times_stay_unique_where_both_passkeys_had_the_session() {
    let mut books = Books::open().await;
    books.announce("new", 1, 10).await;
    for _ in 0..5 {
        books.announce("old", 1, 10).await;
    }
    books.begin();
    let mut slow_clock = entry("new", 1, 11, 100);
    slow_clock.booking.at_ms = T0 + 3000;
    books.send(&slow_clock).await;
    assert_eq!(books.total(), 1);
    books.assert_times_rise();
}

#[tokio::test]
async fn times_stay_unique_where_two_sessions_become_one() {
    let mut books = Books::open().await;
    for _ in 0..5 {
        books.announce("old", 1, 10).await;
    }
    books.begin();
    let mut late = entry("new", 1, 11, 100);
    late.booking.at_ms = T0 + 1000;
    books.send(&late).await;
    books.assert_times_rise();
}
