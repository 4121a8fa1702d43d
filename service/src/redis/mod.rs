//! Links to Redis: the URL forms that operators write, a connection that is opened when it is needed, one on
//! which replies are read as bytes, and the readers of replies that everybody shares.

mod dial;
pub mod durable;
pub mod reply;
pub mod stream;
mod wire;

use std::time::Duration;

use contract::config::{Period, ServiceUrl};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rand::{Rng, RngExt};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, RedisResult};
use tracing::{info, warn};

pub use wire::{Progress, Wire};

/// How long to wait for a connection and for one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The longest time for opening a connection.
    pub connect: Duration,
    /// Until an answer arrives; `None` for a reader that blocks on purpose.
    pub response: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), response: Some(Duration::from_secs(5)) }
    }
}

impl Timeouts {
    /// Three timeouts as other trackers' files write them. A request to Redis is one write and one read: the
    /// longer counts.
    #[must_use]
    pub fn of_periods(connect: Period, read: Period, write: Period) -> Self {
        Self { connect: connect.0, response: Some(read.0.max(write.0)) }
    }
}

/// The Redis that a site's programs meet in. A section of a configuration may name a Redis of its own, but
/// not a prefix: several sites share one Redis by their prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// The URL of `redis_broker`.
    pub url: ServiceUrl,
    /// What every key begins with.
    pub key_prefix: String,
}

impl Broker {
    /// The Redis that a section names, else this one.
    #[must_use]
    pub fn url_or(&self, own: Option<&ServiceUrl>) -> ServiceUrl {
        own.unwrap_or(&self.url).clone()
    }
}

/// What may not stand unescaped in the user part of a URL. `%` may: an operator who escaped meant it.
const USER_INFO: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b']');

/// Opens a client for any of the forms operators use: `redis://host/0`, `rediss://`, ACL users
/// (`redis://user:password@host`), Unix sockets (`unix:///run/redis.sock`), and Chihaya's
/// `redis://password@host:port/db`, where a user part without a colon is the password, with its
/// `redis-socket://password@/run/redis.sock?db=0` for a socket.
///
/// # Errors
/// When the URL is none of these. The error does not repeat it.
pub fn client(url: &ServiceUrl) -> RedisResult<redis::Client> {
    crate::tls::install_provider();
    redis::Client::open(normalized(url.reveal()))
}

/// What is wrong with a configured URL; `None` for one that can be read, or none. `key`: where it stands.
#[must_use]
pub fn url_problem(key: &str, url: Option<&ServiceUrl>) -> Option<String> {
    let unreadable = url.is_some_and(|url| client(url).is_err());
    unreadable.then(|| format!("`{key}`: expected a URL such as redis://127.0.0.1:6379/0"))
}

fn normalized(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some((user_info, address)) = rest.rsplit_once('@') else {
        return if scheme == "redis-socket" { format!("unix://{rest}") } else { url.to_owned() };
    };
    let (user, password) = user_info.split_once(':').unwrap_or(("", user_info));
    let escape = |part: &str| utf8_percent_encode(part, USER_INFO).to_string();
    if scheme == "redis-socket" {
        let more = if address.contains('?') { '&' } else { '?' };
        return format!("unix://{address}{more}pass={}", escape(password));
    }
    format!("{scheme}://{}:{}@{address}", escape(user), escape(password))
}

/// A connection to one Redis that is opened at the first use and again after it was lost.
///
/// The caller decides what an error means for its work and calls [`Link::lost`]; nothing is retried behind
/// its back.
#[derive(Debug)]
pub struct Link {
    url: ServiceUrl,
    client: redis::Client,
    config: AsyncConnectionConfig,
    connection: Option<MultiplexedConnection>,
    was_up: bool,
}

impl Link {
    /// A link that is not connected yet.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn new(url: &ServiceUrl, timeouts: Timeouts) -> RedisResult<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeouts.connect))
            .set_response_timeout(timeouts.response);
        Ok(Self { url: url.clone(), client: client(url)?, config, connection: None, was_up: true })
    }

    /// The open connection, or a new one.
    ///
    /// # Errors
    /// When Redis cannot be reached. Logged once per outage, not once per attempt.
    pub async fn connection(&mut self) -> RedisResult<MultiplexedConnection> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        match self.client.get_multiplexed_async_connection_with_config(&self.config).await {
            Ok(connection) => {
                if !self.was_up {
                    info!(url = %self.url, "Redis is back");
                }
                self.was_up = true;
                Ok(self.connection.insert(connection).clone())
            }
            Err(error) => {
                self.complain(&error);
                Err(error)
            }
        }
    }

    /// Drops the connection after an error, so that the next use opens a new one.
    pub fn lost(&mut self, error: &RedisError) {
        self.connection = None;
        self.complain(error);
    }

    /// Drops the connection without a word: Redis answered, but perhaps another one behind the same name, or
    /// with other rules, will serve better.
    pub fn forget(&mut self) {
        self.connection = None;
    }

    fn complain(&mut self, error: &RedisError) {
        if self.was_up {
            warn!(url = %self.url, %error, "Redis does not answer; trying again until it does");
        }
        self.was_up = false;
    }
}

/// Waits between attempts: doubling from 50 ms to 2 s, with jitter so that many waiters do not arrive
/// together.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    const FIRST_MS: u64 = 50;
    const LAST_MS: u64 = 2000;

    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.delay(&mut rand::rng())
    }

    /// The same, by this generator.
    pub fn delay(&mut self, rng: &mut impl Rng) -> Duration {
        let ceiling = (Self::FIRST_MS << self.attempts.min(16)).min(Self::LAST_MS);
        self.attempts = self.attempts.saturating_add(1);
        Duration::from_millis(rng.random_range(ceiling / 2..=ceiling))
    }

    /// Waits for [`Backoff::next_delay`].
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_delay()).await;
    }

    /// Begins again with the shortest wait, after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_part_without_a_colon_is_the_password() {
        assert_eq!(normalized("redis://hunter2@h:6379/0"), "redis://:hunter2@h:6379/0");
        assert_eq!(normalized("redis://bob:hunter2@h:6379/0"), "redis://bob:hunter2@h:6379/0");
        assert_eq!(normalized("redis://:p@ss/word@h:6379/0"), "redis://:p%40ss%2Fword@h:6379/0");
        assert_eq!(normalized("redis://h:6379/0"), "redis://h:6379/0");
        let socket = "redis-socket://hunter2@/run/redis.sock?db=1";
        assert_eq!(normalized(socket), "unix:///run/redis.sock?db=1&pass=hunter2");
        assert_eq!(normalized("redis-socket:///run/redis.sock"), "unix:///run/redis.sock");
        assert_eq!(normalized("unix:///run/redis.sock"), "unix:///run/redis.sock");
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        let mut backoff = Backoff::default();
        let delays: Vec<Duration> = (0..100).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] <= Duration::from_millis(50));
        assert!(delays.iter().all(|d| *d <= Duration::from_millis(2000)));
        assert!(delays[20] >= Duration::from_millis(1000));
    }
}
