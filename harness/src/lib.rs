//! Real servers for tests: each starts on a free port in a temporary folder and stops when it is dropped.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // Test support: a panic with its message is the report.

mod redis_server;
mod wait;

pub use redis_server::RedisServer;
pub use wait::{DEADLINE, eventually, eventually_async};

/// A TCP port on loopback that was free a moment ago.
#[must_use]
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}
