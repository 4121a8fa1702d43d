//! What time it is on the site's clock: Redis' clock, slewed by the trackers, so that a step of any clock
//! moves nothing by more than the step.
//!
//! Trackers leave it in Redis with each batch. Between two batches it goes on as this process' own monotonic
//! clock does, so that leases end also while nobody announces.

use std::time::{Duration, Instant};

use contract::Keys;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, pipe};

/// Two questions are at least so far apart.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The site's clock as one process sees it.
#[derive(Debug, Default)]
pub struct SiteClock {
    told: Option<Told>,
    asked: Option<Instant>,
}

/// What Redis said last, and what that makes the time since.
#[derive(Debug, Clone, Copy)]
struct Told {
    /// What the trackers had left there, if anything.
    left: Option<u64>,
    ms: u64,
    when: Instant,
}

impl Told {
    fn now_ms(self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.when).as_millis();
        self.ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

/// What Redis says: the site's clock, Redis' own when that was written, and Redis' own now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dial {
    /// What the trackers left there: the site's clock and Redis' own at that moment, in milliseconds.
    pub left: Option<(u64, u64)>,
    /// Redis' own clock now, in milliseconds.
    pub redis_ms: u64,
}

impl SiteClock {
    /// The time now, in unix milliseconds; asks Redis now and then.
    ///
    /// # Errors
    /// Redis's own.
    pub async fn now_ms(&mut self, redis: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<u64> {
        let now = Instant::now();
        let known = self.told.filter(|_| self.asked.is_some_and(|asked| now < asked + ASK_EVERY));
        if let Some(told) = known {
            return Ok(told.now_ms(now));
        }
        let dial = look(redis, keys).await?;
        self.asked = Some(now);
        Ok(self.told(dial, now))
    }

    /// The same in unix seconds.
    ///
    /// # Errors
    /// Redis's own.
    pub async fn now(&mut self, redis: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<u64> {
        Ok(self.now_ms(redis, keys).await? / 1000)
    }

    /// Takes what Redis says at `now`, and says what time it is. Where no tracker left a time, Redis' own is
    /// right; a time that stands still goes on by itself.
    pub fn told(&mut self, dial: Dial, now: Instant) -> u64 {
        let left = dial.left.map(|(left, _)| left);
        let same = self.told.filter(|told| left.is_some() && told.left == left);
        let told = same.unwrap_or_else(|| {
            let (clock, then) = dial.left.unwrap_or((dial.redis_ms, dial.redis_ms));
            Told { left, ms: clock.saturating_add(dial.redis_ms.saturating_sub(then)), when: now }
        });
        self.told = Some(told);
        told.now_ms(now)
    }
}

async fn look(redis: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<Dial> {
    let mut ask = pipe();
    ask.cmd("HMGET").arg(keys.head()).arg("clock").arg("time").cmd("TIME");
    type Left = (Option<u64>, Option<u64>);
    let ((clock, time), (seconds, micros)): (Left, (u64, u64)) = ask.query_async(redis).await?;
    let redis_ms = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    Ok(Dial { left: clock.map(|clock| (clock, time.unwrap_or(redis_ms))), redis_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    #[test]
    fn what_trackers_left_goes_on_by_itself_whatever_the_clock_of_redis_does() {
        let (mut clock, begin) = (SiteClock::default(), Instant::now());
        let after = |ms| begin + Duration::from_millis(ms);
        let left = Some((1000, 990));
        assert_eq!(clock.told(Dial { left, redis_ms: 1000 }, begin), 1010, "10 ms later");
        assert_eq!(clock.told(Dial { left, redis_ms: 1500 + DAY }, after(500)), 1510);
        assert_eq!(clock.told(Dial { left, redis_ms: 0 }, after(700)), 1710);
        let next = Some((1800, 800));
        assert_eq!(clock.told(Dial { left: next, redis_ms: 800 }, after(800)), 1800, "told anew");
    }

    #[test]
    fn without_a_tracker_it_is_the_time_of_redis() {
        let (mut clock, begin) = (SiteClock::default(), Instant::now());
        assert_eq!(clock.told(Dial { left: None, redis_ms: DAY }, begin), DAY);
        assert_eq!(clock.told(Dial { left: None, redis_ms: 7 }, begin + Duration::from_secs(5)), 7);
    }
}
