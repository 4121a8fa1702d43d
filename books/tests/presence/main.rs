//! Presence on a redis-server: the sets depend on the entries and the time alone.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod order;
mod rotation;
#[path = "../scene/mod.rs"]
mod scene;

use harness::RedisServer;
use redis::aio::MultiplexedConnection;

async fn connect(redis: &RedisServer) -> MultiplexedConnection {
    redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// Every presence set with its members, sorted.
fn dump_sets(redis: &mut redis::Connection) -> Vec<String> {
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
