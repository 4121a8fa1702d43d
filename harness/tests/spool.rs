//! The built tracker, killed while Redis is away: what it answered is in the stream in the end.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use harness::{DEADLINE, RedisServer, Service, eventually, free_port};
use redis::Commands;
use tempfile::TempDir;

fn configuration(redis: &RedisServer, port: u16) -> String {
    format!(
        "http: {{addr: '127.0.0.1:{port}', workers: 1}}\nredis_broker: {}\n\
         hooks:\n  prehooks:\n  - name: passkey approval\n  posthooks:\n  - name: traffic push\n    options:\n      \
         retry_count: 1\n      retry_interval: 20ms\n      spool: {{directory: spool}}\n",
        redis.url()
    )
}

/// Whether the announce was answered with peers, so that its client believes it counted.
fn answered(port: u16, user: u8, uploaded: u64) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let peer = char::from(b'a' + user).to_string().repeat(20);
    let path = format!(
        "/user{user}/announce?info_hash=iiiiiiiiiiiiiiiiiiii&peer_id={peer}&port=6881&uploaded={uploaded}&downloaded=0&left=0"
    );
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    let mut reply = Vec::new();
    let exchanged = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut reply));
    exchanged.is_ok() && String::from_utf8_lossy(&reply).contains("5:peers")
}

/// The highest counter of each user that got an answer, while announces come from all of them until `stop`.
fn traffic(port: u16, rounds: std::ops::Range<u64>, mut after: impl FnMut(u64)) -> HashMap<u8, u64> {
    let mut highest = HashMap::new();
    for round in rounds {
        for user in 0..USERS {
            if answered(port, user, round * 100) {
                highest.insert(user, round * 100);
            }
        }
        after(round);
    }
    highest
}

const USERS: u8 = 5;
/// Announces of each user that the replay is long enough with for a kill to come in the middle.
const ROUNDS: u64 = 800;

fn totals(redis: &RedisServer) -> HashMap<u8, u64> {
    let entries: redis::streams::StreamRangeReply = redis.connection().xrange_all("tracker:traffic").unwrap();
    let mut sums = HashMap::new();
    for entry in &entries.ids {
        let passkey: String = entry.get("passkey").unwrap();
        let user: u8 = passkey.strip_prefix("user").unwrap().parse().unwrap();
        *sums.entry(user).or_default() += entry.get::<u64>("du").unwrap();
    }
    sums
}

#[test]
fn a_tracker_killed_while_it_spools_loses_nothing_that_it_answered() {
    let folder = TempDir::new().unwrap();
    let mut redis = RedisServer::start();
    let users: Vec<String> = (0..USERS).map(|user| format!("user{user}")).collect();
    let _: () = redis.connection().sadd("pt:passkeys", users).unwrap();
    let port = free_port();
    for attempt in 0..4u64 {
        let mut tracker = Service::start("tracker", folder.path(), &configuration(&redis, port));
        let begin = attempt * 1000;
        traffic(port, begin..begin + 3, |_| {});
        redis.kill();
        let mut killed = false;
        let highest = traffic(port, begin + 3..begin + 30, |round| {
            if round == begin + 10 + 3 * attempt {
                tracker.kill();
                killed = true;
            }
        });
        assert!(killed && highest.len() == usize::from(USERS), "{highest:?}");
        redis.restart();
        let next = Service::start("tracker", folder.path(), &configuration(&redis, port));
        eventually("the spool is empty", || next.metrics().contains("spool_records 0\n").then_some(()));
        assert_eq!(totals(&redis), highest, "after kill {attempt}");
    }
}

#[test]
fn a_tracker_killed_while_it_replays_books_nothing_twice() {
    let folder = TempDir::new().unwrap();
    let mut redis = RedisServer::start();
    let users: Vec<String> = (0..USERS).map(|user| format!("user{user}")).collect();
    let _: () = redis.connection().sadd("pt:passkeys", users).unwrap();
    let port = free_port();
    let mut tracker = Service::start("tracker", folder.path(), &configuration(&redis, port));
    traffic(port, 0..1, |_| {});
    redis.kill();
    let began = Instant::now();
    let highest = traffic(port, 1..ROUNDS, |_| {});
    redis.restart();
    let mut look = redis.connection();
    let all = ROUNDS * u64::from(USERS);
    for booked in [u64::from(USERS), 400, 1100] {
        // Without a pause between looks: the kill must come before the end.
        while look.xlen::<_, u64>("tracker:traffic").unwrap() <= booked {
            assert!(began.elapsed() < DEADLINE, "nothing is replayed");
        }
        tracker.kill();
        let replayed: u64 = look.xlen("tracker:traffic").unwrap();
        assert!(replayed < all || booked > 400, "killed too late to show anything");
        tracker = Service::start("tracker", folder.path(), &configuration(&redis, port));
    }
    eventually("the spool is empty", || tracker.metrics().contains("spool_records 0\n").then_some(()));
    assert_eq!(totals(&redis), highest);
    let entries: u64 = redis.connection().xlen("tracker:traffic").unwrap();
    assert_eq!(entries, all, "each announce is one event");
    assert!(tracker.terminate().success());
}
