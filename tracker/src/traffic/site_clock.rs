//! The site's clock: Redis' clock, slewed. Every tracker stamps arrivals with it, so that the order of
//! announces does not hang on anybody's wall clock.
//!
//! Each call of the record script says what time this tracker expects it to be, by the time that Redis told
//! it last and its own monotonic clock, and Redis never tells an earlier one. Where Redis' own clock differs
//! (somebody set it), the trackers run a little faster or slower until they have caught up: a step of any
//! clock changes no order, and moves times by no more than the step.

use std::time::{Duration, Instant};

/// At most this fast a difference is made up for: one part in so many.
const SLEW: i64 = 10;
/// A difference of a second is made up for in this many.
const RELAXATION_MS: i64 = 10_000;

/// The site's clock as one tracker knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SiteClock {
    /// A time of the site's clock, and when it was that.
    base_ms: u64,
    base: Instant,
    /// How far Redis' own clock was ahead of the site's then.
    ahead_ms: i64,
    /// Redis told it; otherwise it is this machine's guess.
    told: bool,
}

impl SiteClock {
    /// Before Redis was asked: this machine's wall clock, in milliseconds.
    pub(super) fn guessed(wall_ms: u64, now: Instant) -> Self {
        Self { base_ms: wall_ms, base: now, ahead_ms: 0, told: false }
    }

    /// Redis said what time it is, in answer to a call that left at `sent`.
    pub(super) fn told(&mut self, clock_ms: u64, ahead_ms: i64, sent: Instant) {
        *self = Self { base_ms: clock_ms, base: sent, ahead_ms, told: true };
    }

    /// What time the next call may expect it to be; `None` before Redis has told it any.
    pub(super) fn expected(&self, now: Instant) -> Option<u64> {
        self.told.then(|| self.at(now))
    }

    /// Whether Redis has told what time it is.
    pub(super) fn is_told(&self) -> bool {
        self.told
    }

    /// When something was.
    pub(super) fn at(&self, moment: Instant) -> u64 {
        match moment.checked_duration_since(self.base) {
            Some(after) => {
                let elapsed = milliseconds(after);
                let slew = elapsed.saturating_mul(self.ahead_ms) / RELAXATION_MS;
                let slew = slew.clamp(-elapsed / SLEW, elapsed / SLEW);
                self.base_ms.saturating_add_signed(elapsed + slew)
            }
            None => self.base_ms.saturating_add_signed(-milliseconds(self.base - moment)),
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / (RELAXATION_MS * SLEW))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u64 = 1_700_000_000_000;

    fn after(base: Instant, milliseconds: u64) -> Instant {
        base + Duration::from_millis(milliseconds)
    }

    #[test]
    fn it_goes_on_from_what_redis_told_at_this_machines_pace() {
        let now = Instant::now();
        let mut clock = SiteClock::guessed(5, now);
        assert_eq!((clock.expected(now), clock.at(after(now, 7))), (None, 12));
        clock.told(T0, 0, now);
        assert_eq!(clock.expected(after(now, 250)), Some(T0 + 250));
        clock.told(T0 + 9000, 0, after(now, 500));
        assert_eq!(clock.at(now), T0 + 8500, "an announce that came before");
    }

    #[test]
    fn a_step_of_redis_clock_is_made_up_for_slowly_and_never_backwards() {
        let now = Instant::now();
        let mut clock = SiteClock::guessed(5, now);
        clock.told(T0, 3_600_000, now);
        assert_eq!(clock.at(after(now, 1000)), T0 + 1100);
        clock.told(T0, -3_600_000, now);
        assert_eq!(clock.at(after(now, 1000)), T0 + 900);
        clock.told(T0, 100, now);
        assert_eq!(clock.at(after(now, 1000)), T0 + 1010);
        let times: Vec<u64> = (0..100).map(|ms| clock.at(after(now, ms))).collect();
        assert!(times.is_sorted());
    }
}
