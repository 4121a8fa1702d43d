//! What the consumer's tests share: events to settle, a ledger in a temporary folder, a Redis to look into.

#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)] // Each test file uses a part of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use books::entry::{Entry, EntryId};
use books::groups::backlog;
use books::ledger::{self, Access, Ledger};
use consumer::app::App;
use consumer::config::{Config, Plan};
use contract::config::Period;
use contract::{AddressFamily, Event, InfoHash, Passkey, PeerId, TrafficEvent};
use harness::{RedisServer, eventually_async};
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

/// 2023-11-14: where the tests' time begins.
pub const T0: u64 = 1_700_000_000;

pub fn passkey(name: &str) -> Passkey {
    name.parse().unwrap()
}

pub fn hash(n: u8) -> InfoHash {
    InfoHash([n; 20])
}

pub fn peer(n: u8) -> PeerId {
    PeerId([n; 20])
}

/// A seeder's heartbeat of alice, torrent 1, client 1 at `ts`, ten minutes after the one before.
pub fn event(ts: u64) -> TrafficEvent {
    TrafficEvent {
        passkey: passkey("alice"),
        info_hash: hash(1),
        peer_id: peer(1),
        port: 6881,
        ip: [192, 0, 2, 1].into(),
        af: AddressFamily::V4,
        du: 1000,
        dd: 0,
        left: 0,
        event: Event::None,
        ts,
        dt: 600,
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        claim: None,
        extras: contract::Extras::default(),
    }
}

/// An entry that Redis took at the second of its event.
pub fn entry(event: TrafficEvent) -> Entry {
    Entry { id: EntryId::at_ms(event.ts * 1000), event }
}

/// A ledger file that is not there yet.
pub struct LedgerFile {
    pub folder: TempDir,
}

impl LedgerFile {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    pub fn open(&self) -> Ledger {
        let mut ledger = ledger::open(&self.url().as_str().into(), Access::Write).unwrap();
        ledger.migrate().unwrap();
        ledger
    }

    pub fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }

    /// Every row of every table, as text: what must not depend on order.
    pub fn dump(&self) -> Vec<String> {
        let sql = self.sql();
        let tables = ["settled_events", "user_traffic", "torrent_traffic", "promotions", "flagged_events"];
        tables.iter().flat_map(|table| dump_table(&sql, table)).collect()
    }
}

fn dump_table(sql: &rusqlite::Connection, table: &str) -> Vec<String> {
    let mut statement = sql.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3, 4")).unwrap();
    let columns = statement.column_count();
    let line = |row: &rusqlite::Row<'_>| {
        let cells: Vec<String> =
            (0..columns).map(|i| format!("{:?}", row.get::<_, rusqlite::types::Value>(i).unwrap())).collect();
        Ok(format!("{table} {}", cells.join(" ")))
    };
    statement.query_map([], line).unwrap().map(Result::unwrap).collect()
}

/// A configuration for quick tests against these two.
pub fn config(redis: &RedisServer, ledger: &str, name: &str) -> Config {
    Config {
        redis_broker: redis.url().as_str().into(),
        database: ledger.into(),
        consumer: Some(name.into()),
        claim_idle: Period::from_secs(1),
        retry_interval: Period::from_secs(1),
        metrics_addr: ([127, 0, 0, 1], 0).into(),
        ..Config::default()
    }
}

pub async fn connect(redis: &RedisServer) -> MultiplexedConnection {
    redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// Appends an event as the tracker does and returns its entry id.
pub fn append(redis: &mut redis::Connection, event: &TrafficEvent) -> EntryId {
    append_as(redis, "*", event)
}

/// Appends an event under an entry id of the test's choice.
pub fn append_as(redis: &mut redis::Connection, id: &str, event: &TrafficEvent) -> EntryId {
    let mut add = redis::cmd("XADD");
    add.arg("tracker:traffic").arg(id);
    for (name, value) in event.to_fields() {
        add.arg(name).arg(value);
    }
    add.query::<String>(redis).unwrap().parse().unwrap()
}

/// Appends an entry that is no event.
pub fn append_malformed(redis: &mut redis::Connection) -> EntryId {
    let mut add = redis::cmd("XADD");
    add.arg("tracker:traffic").arg("*").arg("passkey").arg("alice").arg("infohash").arg("short");
    add.query::<String>(redis).unwrap().parse().unwrap()
}

/// The number a command answers with.
pub fn count(redis: &mut redis::Connection, command: &[&str]) -> u64 {
    let mut cmd = redis::cmd(command[0]);
    cmd.arg(&command[1..]);
    cmd.query(redis).unwrap()
}

/// Every presence set with its members, sorted.
pub fn dump_sets(redis: &mut redis::Connection) -> Vec<String> {
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("tracker:passkey:*").query(redis).unwrap();
    keys.sort();
    let mut lines = Vec::new();
    for key in keys {
        let mut members: Vec<String> = redis::cmd("SMEMBERS").arg(&key).query(redis).unwrap();
        members.sort();
        lines.push(format!("{key} {}", members.join(" ")));
    }
    lines
}

/// Waits until the ledger holds so many settled events and alice this much upload.
pub async fn settled(file: &LedgerFile, events: i64, raw_up: i64) {
    let looked = || {
        let sql = file.path().exists().then(|| file.sql())?;
        let figure = |query: &str| sql.query_row(query, [], |row| row.get::<_, i64>(0)).ok();
        let found = figure("SELECT count(*) FROM settled_events")?;
        let up = figure("SELECT raw_up FROM user_traffic WHERE passkey = 'alice'")?;
        ((found, up) == (events, raw_up)).then_some(())
    };
    eventually_async(&format!("{events} events are settled"), || async { looked() }).await;
}

/// Waits until nothing in the stream is unread or unacknowledged.
pub async fn all_acknowledged(redis: &RedisServer) {
    let connection = connect(redis).await;
    eventually_async("everything is acknowledged", || {
        let mut connection = connection.clone();
        async move {
            let backlog = backlog(&mut connection, "tracker:traffic", "site").await.unwrap();
            backlog.oldest.is_none().then_some(())
        }
    })
    .await;
}

/// How many entries a consumer was given and has not acknowledged.
pub fn pending_of(redis: &RedisServer, consumer: &str) -> usize {
    let mut pending = redis::cmd("XPENDING");
    pending.arg(&["tracker:traffic", "site", "-", "+", "100", consumer]);
    pending.query::<Vec<redis::Value>>(&mut redis.connection()).unwrap_or_default().len()
}

pub async fn start(config: &Config) -> App {
    App::start(Plan::of(config.clone()).unwrap()).await.unwrap()
}

pub fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}
