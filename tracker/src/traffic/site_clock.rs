//! The site's clock: Redis' clock, slewed. Every tracker stamps arrivals with it, so that the order of
//! announces does not hang on anybody's wall clock.
//!
//! Each call of the record script says what time this tracker expects it to be, by the time that Redis told
//! it last and its own monotonic clock, and Redis never tells an earlier one. Where Redis' own clock differs
//! (somebody set it), the trackers run a little faster or slower until they have caught up: a step of any
//! clock changes no order, and moves times by no more than the step.
//!
//! A process that follows soon goes on with the line of the one before, which it finds in the spool's folder.
//!
//! A moment has one time, whenever it is asked for: a report that waited long is stamped by the line that was
//! in force when it arrived.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

/// At most this fast a difference is made up for: one part in so many. Slowly, because a tracker that is not
/// told meanwhile goes on as before: between the two, times differ by as much as the others have made up.
const SLEW: i64 = 100;
/// Milliseconds for which a line makes up for anything without being told again.
const SLEW_LASTS_MS: i64 = 600_000;
/// A smaller difference in milliseconds is how long calls take.
const TOLERATED_MS: i64 = 50;
/// A guess that was further ahead is taken back, although reports were stamped by it already.
const BELIEVABLE_MS: u64 = 60_000;
/// Lines that are remembered. A new one begins where a clock was set, or another tracker is ahead.
const MOST_LINES: usize = 64;

/// The site's clock of one tracker, which one recorder after the other stamps by: were each to ask Redis
/// anew, a reload could put a path's next report before its last.
#[derive(Debug, Clone)]
pub struct SharedClock(Arc<Mutex<SiteClock>>);

impl SharedClock {
    /// Until Redis has told what time it is: what this machine's clock says, in Unix milliseconds, or the
    /// newest stamp that an earlier process has left on the disk.
    #[must_use]
    pub fn guessed(wall_ms: u64, left_ms: u64, now: Instant) -> Self {
        Self(Arc::new(Mutex::new(SiteClock { left_ms, ..SiteClock::guessed(wall_ms.max(left_ms), now) })))
    }

    /// What time a call may expect it to be, what it is as far as is known here, and how far Redis' own clock
    /// is ahead of that.
    pub(super) fn says(&self, now: Instant) -> (Option<u64>, u64, i64) {
        let clock = self.read();
        (clock.expected(now), clock.at(now), clock.ahead(now))
    }

    /// What time it is, and the latest that anything is stamped which was left by a process from before
    /// `began`.
    pub(super) fn left_by(&self, began: Instant, now: Instant) -> (u64, u64) {
        let clock = self.read();
        (clock.at(now), clock.at(began).max(clock.earliest_ms))
    }

    pub(super) fn read(&self) -> MutexGuard<'_, SiteClock> {
        self.0.lock()
    }
}

/// The site's clock as one tracker knows it.
#[derive(Debug, Clone)]
pub(super) struct SiteClock {
    /// Oldest first; never empty.
    lines: VecDeque<Line>,
    /// Redis told it; otherwise it is this machine's guess.
    told: bool,
    /// Reports have been stamped.
    is_used: bool,
    /// The process before this one has stamped reports of the same paths by then, as far as is known.
    left_ms: u64,
    /// Nothing is stamped earlier.
    earliest_ms: u64,
}

/// What time it is from some moment on.
#[derive(Debug, Clone, Copy)]
struct Line {
    from: Instant,
    from_ms: u64,
    /// How far Redis' own clock was ahead then: to be made up for.
    ahead_ms: i64,
}

impl Line {
    fn at(&self, moment: Instant) -> u64 {
        match moment.checked_duration_since(self.from) {
            Some(after) => self.from_ms.saturating_add_signed(milliseconds(after) + self.made_up(after)),
            None => self.from_ms.saturating_add_signed(-milliseconds(self.from - moment)),
        }
    }

    fn made_up(&self, after: Duration) -> i64 {
        let most = milliseconds(after).min(SLEW_LASTS_MS) / SLEW;
        self.ahead_ms.clamp(-most, most)
    }

    /// How far it has Redis' clock ahead now.
    fn ahead(&self, now: Instant) -> i64 {
        self.ahead_ms - self.made_up(now.saturating_duration_since(self.from))
    }

    /// Whether it would have Redis' clock so far ahead now, about.
    fn foresaw(&self, ahead_ms: i64, now: Instant) -> bool {
        (self.ahead(now) - ahead_ms).abs() <= TOLERATED_MS
    }
}

impl SiteClock {
    /// Before Redis was asked: this machine's wall clock, in milliseconds.
    pub(super) fn guessed(wall_ms: u64, now: Instant) -> Self {
        let line = Line { from: now, from_ms: wall_ms, ahead_ms: 0 };
        Self { lines: VecDeque::from([line]), told: false, is_used: false, left_ms: 0, earliest_ms: 0 }
    }

    /// The process before this one was told the time, so long ago: it is the same clock. A recorder that has
    /// its clock from the one before, or has stamped something, goes on with that.
    pub(super) fn go_on_from(&mut self, (site_ms, ahead_ms): (u64, i64), ago: Duration, now: Instant) {
        let Some(from) = now.checked_sub(ago).filter(|_| !self.told && !self.is_used) else { return };
        self.lines = VecDeque::from([Line { from, from_ms: site_ms, ahead_ms }]);
        self.told = true;
        let left_ms = std::mem::take(&mut self.left_ms);
        self.not_before(left_ms, now);
    }

    /// Redis said what time it is, in an answer that has just come. It is that time or later: some other
    /// tracker may have told Redis while the call was under way.
    ///
    /// Says by how much reports were stamped wrongly, when that shows only now.
    pub(super) fn told(&mut self, clock_ms: u64, ahead_ms: i64, now: Instant) -> Option<i64> {
        let is_believed = self.told || self.is_used && self.at(now) <= clock_ms.saturating_add(BELIEVABLE_MS);
        let guessed_ms = (!is_believed && self.is_used).then(|| self.at(now));
        if !is_believed {
            self.lines.clear();
        }
        let here_ms = if is_believed { self.at(now) } else { 0 };
        let ahead_ms = self.reconciled(ahead_ms, here_ms.saturating_sub(clock_ms), now);
        let goes_on = self.lines.back().is_some_and(|line| line.foresaw(ahead_ms, now));
        if self.told && clock_ms <= here_ms && goes_on {
            return None;
        }
        self.told = true;
        self.remember(Line { from: now, from_ms: clock_ms.max(here_ms), ahead_ms });
        let left_ms = std::mem::take(&mut self.left_ms);
        self.not_before(left_ms, now);
        guessed_ms.map(|guessed_ms| self.at(now).cast_signed() - guessed_ms.cast_signed())
    }

    /// By how much Redis' clock is ahead, when an answer says so much and may have been on its way for all of
    /// `travelled_ms`: as before, unless even then that cannot be.
    fn reconciled(&self, ahead_ms: i64, travelled_ms: u64, now: Instant) -> i64 {
        let least = ahead_ms.saturating_sub_unsigned(travelled_ms);
        if self.told { self.ahead(now).clamp(least, ahead_ms) } else { ahead_ms }
    }

    /// By how much Redis' own clock is ahead of the site's, as far as is known.
    pub(super) fn ahead(&self, now: Instant) -> i64 {
        self.lines.back().map_or(0, |line| line.ahead(now))
    }

    /// The process before this one stamped a report so late: what comes now comes after that. Its clock may
    /// have been wrong by more than can be believed.
    fn not_before(&mut self, stamped_ms: u64, now: Instant) {
        let here_ms = self.at(now);
        if stamped_ms > here_ms.saturating_add(BELIEVABLE_MS) {
            return;
        }
        if stamped_ms > here_ms {
            let ahead_ms = self.ahead(now).saturating_sub_unsigned(stamped_ms - here_ms);
            self.remember(Line { from: now, from_ms: stamped_ms, ahead_ms });
        }
        self.earliest_ms = self.earliest_ms.max(stamped_ms);
    }

    fn remember(&mut self, line: Line) {
        self.lines.push_back(line);
        if self.lines.len() > MOST_LINES {
            self.lines.pop_front();
        }
    }

    /// What time the next call may expect it to be; `None` before Redis has told it any.
    pub(super) fn expected(&self, now: Instant) -> Option<u64> {
        self.told.then(|| self.at(now))
    }

    /// Whether Redis has told what time it is.
    pub(super) fn is_told(&self) -> bool {
        self.told
    }

    /// When a report arrived, which a later report of its path must not precede.
    pub(super) fn stamp(&mut self, arrived: Instant) -> u64 {
        self.is_used = true;
        self.at(arrived).max(self.earliest_ms)
    }

    /// When something was.
    pub(super) fn at(&self, moment: Instant) -> u64 {
        let then = self.lines.iter().rev().find(|line| line.from <= moment);
        then.or(self.lines.front()).map_or(0, |line| line.at(moment))
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
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
        clock.told(T0, 0, after(now, 500));
        assert_eq!(clock.expected(after(now, 750)), Some(T0 + 250));
        assert_eq!(clock.at(now), T0 - 500, "an announce that came before");
    }

    #[test]
    fn it_goes_on_from_what_the_last_process_was_told_whatever_clocks_say() {
        let now = Instant::now() + Duration::from_secs(100);
        for wall_ms in [T0 - 600_000, T0 + 40_000] {
            let mut clock = SiteClock::guessed(wall_ms, now);
            clock.go_on_from((T0, 500), Duration::from_secs(10), now);
            clock.go_on_from((T0 - 500, 0), Duration::ZERO, now);
            assert_eq!((clock.expected(now), clock.stamp(now)), (Some(T0 + 10_100), T0 + 10_100));
            assert_eq!(clock.ahead(now), 400, "what was not made up for yet");
            assert_eq!(clock.told(T0 + 10_100, 30_000, now), None);
            assert_eq!(clock.at(after(now, 1000)), T0 + 11_110, "Redis' clock was set");
        }
    }

    #[test]
    fn a_guess_by_which_reports_were_stamped_is_gone_on_from_unless_it_was_far_ahead() {
        let now = Instant::now();
        for (guess, then) in [(T0 - 9000, T0), (T0 + 9000, T0 + 9000), (T0 + 90_000, T0)] {
            let mut clock = SiteClock::guessed(guess, now);
            clock.stamp(now);
            clock.told(T0, 0, now);
            assert_eq!(clock.at(now), then);
        }
    }

    #[test]
    fn a_step_of_redis_clock_is_made_up_for_slowly_and_never_backwards() {
        let now = Instant::now();
        for (ahead_ms, expected) in [(3_600_000, T0 + 1010), (-3_600_000, T0 + 990), (7, T0 + 1007)] {
            let mut clock = SiteClock::guessed(5, now);
            clock.told(T0, ahead_ms, now);
            assert_eq!(clock.at(after(now, 1000)), expected);
            let times: Vec<u64> = (0..100).map(|ms| clock.at(after(now, ms))).collect();
            assert!(times.is_sorted());
        }
    }

    #[test]
    fn what_two_trackers_say_at_the_same_time_pushes_neither_ahead() {
        let now = Instant::now();
        let mut clock = SiteClock::guessed(5, now);
        clock.told(T0, 0, now);
        for call in 1..1000 {
            // The call left at 2 * call; meanwhile another tracker with the same clock said what time it is.
            clock.told(T0 + 2 * call + 1, 0, after(now, 2 * call + 2));
        }
        assert_eq!(clock.at(after(now, 2000)), T0 + 2000);
    }

    #[test]
    fn a_moment_keeps_its_time_whatever_redis_says_later() {
        let now = Instant::now();
        let mut clock = SiteClock::guessed(5, now);
        clock.told(T0, -3_600_000, now);
        let moments = [1000, 2000, 3000].map(|ms| after(now, ms));
        let at = moments.map(|moment| clock.at(moment));
        clock.told(T0 + 5000, 3_600_000, after(now, 3100));
        clock.told(T0 + 5000, -3_600_000, after(now, 4000));
        assert_eq!(moments.map(|moment| clock.at(moment)), at);
        assert!(clock.at(after(now, 3100)) >= T0 + 5000);
    }

    #[test]
    fn an_answer_that_travelled_does_not_move_redis_clock() {
        let now = Instant::now();
        let mut clock = SiteClock::guessed(5, now);
        clock.told(T0, 0, now);
        // Sent at once, carried out five seconds later: by then Redis' clock is ahead of what was expected.
        clock.told(T0, 5000, after(now, 5002));
        assert_eq!((clock.at(after(now, 6000)), clock.ahead(after(now, 6000))), (T0 + 6000, 0));
        clock.told(T0 + 6000, 5000, after(now, 6001));
        assert_eq!(clock.ahead(after(now, 6001)), 4999, "somebody set it");
    }

    #[test]
    fn nothing_is_stamped_before_what_the_last_process_stamped() {
        let now = Instant::now();
        for (stamped, then) in [(T0 + 3000, T0 + 3000), (T0 - 9, T0 - 5), (T0 + 90_000, T0 - 5)] {
            let mut clock = SiteClock { left_ms: stamped, ..SiteClock::guessed(5, now) };
            clock.told(T0, 0, now);
            assert_eq!(clock.stamp(now.checked_sub(Duration::from_millis(5)).unwrap()), then);
            assert!(clock.stamp(now) >= then && clock.stamp(after(now, 10)) > then);
        }
    }

    #[test]
    fn it_remembers_a_bounded_past() {
        let now = Instant::now();
        let mut clock = SiteClock::guessed(5, now);
        for call in 0..1000 {
            clock.told(T0 + call * 60_000, 0, after(now, call));
        }
        assert_eq!(clock.lines.len(), MOST_LINES);
    }
}
