//! A Redis, trackers that book into it, and announces as a test says them.

use std::time::Instant;

use std::collections::HashMap;

use contract::{Event, InfoHash, Keys, PeerId, TrafficEvent};
use harness::RedisServer;
use redis::Commands;
use redis::aio::MultiplexedConnection;
use tracker::announce::{Account, Admission, Admitted, Announce, Families, PeerIds, Report, UserTag};
use tracker::arrival::Way;
use tracker::traffic::{Booking, Bookkeeper, NumberedBooking, Outcome, RecordScript, Rules};

/// Milliseconds; well in the past, so that the script's guard against clocks that run ahead does not
/// interfere.
pub(crate) const T0: u64 = 1_700_000_000_000;

/// One Redis, and trackers that book into it.
pub(crate) struct Books {
    pub(crate) server: RedisServer,
    pub(crate) connection: MultiplexedConnection,
    pub(crate) rules: Rules,
    bookkeepers: HashMap<String, Bookkeeper>,
}

/// One announce, as a test says it.
#[derive(Clone, Copy)]
pub(crate) struct Say {
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) left: u64,
    pub(crate) event: Event,
    pub(crate) at_ms: u64,
    pub(crate) seq: u64,
    pub(crate) ip: &'static str,
}

impl Say {
    pub(crate) fn up(up: u64) -> Self {
        Self { up, down: 0, left: 0, event: Event::None, at_ms: T0, seq: 0, ip: "192.0.2.1" }
    }

    pub(crate) fn at(self, seconds: u64) -> Self {
        Self { at_ms: T0 + seconds * 1000, seq: seconds + 1, ..self }
    }

    pub(crate) fn seq(self, seq: u64) -> Self {
        Self { seq, ..self }
    }

    pub(crate) fn event(self, event: Event) -> Self {
        Self { event, ..self }
    }

    pub(crate) fn down(self, down: u64) -> Self {
        Self { down, ..self }
    }

    pub(crate) fn left(self, left: u64) -> Self {
        Self { left, ..self }
    }

    /// Said to this tracker: a path of its own.
    pub(crate) fn entry_of(self, tracker: &str) -> NumberedBooking {
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
            arrived: Instant::now(),
            way: Way::default().by(self.ip.as_bytes()),
            extras: None,
        };
        let account = Account {
            passkey: "alice".parse().unwrap(),
            tag: UserTag(std::num::NonZeroU64::MIN),
            fd: None,
            pd: None,
        };
        let admission = Admission { account: Some(account.clone()), ..Admission::new(1800, 900) };
        let admitted = Admitted { announce, admission };
        let report = Report { admitted, account };
        let identity = tracker.bytes().fold(0, |identity, byte| identity << 8 | u64::from(byte));
        NumberedBooking::new(Booking::new(report, self.at_ms, identity), self.seq)
    }
}

impl Books {
    pub(crate) async fn open() -> Self {
        let server = RedisServer::start();
        let client = redis::Client::open(server.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        Self { server, connection, rules: Rules::new(&Keys::default()), bookkeepers: HashMap::new() }
    }

    pub(crate) async fn tell(&mut self, tracker: &str, says: &[Say]) -> Vec<Outcome> {
        let entries = says.iter().map(|say| say.entry_of(tracker)).collect();
        self.book(tracker, entries).await
    }

    pub(crate) async fn book(&mut self, tracker: &str, entries: Vec<NumberedBooking>) -> Vec<Outcome> {
        let script = RecordScript::new(tracker, self.rules.clone());
        let new = || Bookkeeper::new(self.rules.clone());
        let bookkeeper = self.bookkeepers.entry(tracker.to_owned()).or_insert_with(new);
        script.book(&mut self.connection, bookkeeper, entries).await.unwrap()
    }

    /// A tracker starts again: it knows nothing any more.
    pub(crate) fn restart(&mut self, tracker: &str) {
        self.bookkeepers.remove(tracker);
    }

    /// Every announce alone, through one tracker.
    pub(crate) async fn hear(&mut self, says: &[Say]) {
        for say in says {
            self.tell("t1", &[*say]).await;
        }
    }

    pub(crate) fn events(&self) -> Vec<TrafficEvent> {
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

    pub(crate) fn uploads(&self) -> Vec<u64> {
        self.events().iter().map(|event| event.du).collect()
    }

    pub(crate) fn snapshot(&self) -> std::collections::HashMap<String, String> {
        self.server.connection().hgetall(snapshot_key()).unwrap()
    }

    pub(crate) fn expire_in(&self, seconds: i64) {
        self.server.connection().expire::<_, bool>(snapshot_key(), seconds).unwrap();
    }

    pub(crate) fn ttl(&self) -> i64 {
        self.server.connection().ttl(snapshot_key()).unwrap()
    }
}

pub(crate) fn snapshot_key() -> String {
    Keys::default().snapshot(&"alice".parse().unwrap(), &InfoHash([7; 20]), &PeerId([8; 20]))
}

pub(crate) const GIB: u64 = 1 << 30;
