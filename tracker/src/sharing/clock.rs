//! Redis' clock, the one that all trackers have in common. Read once in a while; in between this machine's
//! uptime counts, so that nobody's wall clock matters.

use std::time::{Duration, Instant};

use redis::RedisResult;
use redis::aio::MultiplexedConnection;

/// Clocks drift by some milliseconds within this time.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// What time it was in Redis at one moment here.
#[derive(Debug, Clone, Copy)]
pub(super) struct RedisClock {
    unix_ms: u64,
    at: Instant,
}

impl RedisClock {
    /// Asks Redis.
    pub(super) async fn read(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        let (seconds, microseconds): (u64, u64) = redis::cmd("TIME").query_async(connection).await?;
        let unix_ms = seconds.saturating_mul(1000).saturating_add(microseconds / 1000);
        Ok(Self { unix_ms, at: Instant::now() })
    }

    /// The time in Redis at another moment here, in Unix milliseconds.
    pub(super) fn at(&self, now: Instant) -> u64 {
        let since = u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        self.unix_ms.saturating_add(since)
    }

    /// Whether it is time to ask again.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) > GOOD_FOR
    }
}
