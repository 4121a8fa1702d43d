//! How long a request's bytes lay in the kernel before they were read: while the process stood still, or
//! while its connection waited to be accepted, which may have been longer than its client waited for us.
//!
//! The kernel knows (`TCP_INFO`, by a clock that nobody sets), but asking takes 0.4 µs, a fortieth of a busy
//! tracker's announce. A worker that has read something every few milliseconds for seconds has kept nothing
//! waiting, so only others ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A worker that has read nothing for so long had nothing to do, or could not.
const PAUSE: Duration = Duration::from_millis(5);
/// After that much of regular reading, everything has been read that waited. With all the connections that a
/// worker may have, reading each of them takes a third of a second.
const RECOVERY: Duration = Duration::from_secs(2);

/// When a worker last read something, and until when what it reads may have waited.
#[derive(Debug)]
pub(super) struct Pulse {
    begun: Instant,
    /// Nanoseconds since then. One thread reads and writes this; only the compiler wants it to be atomic.
    last: AtomicU64,
    recovered: AtomicU64,
}

impl Pulse {
    pub(super) fn begin(now: Instant) -> Self {
        Self { begun: now, last: AtomicU64::new(0), recovered: AtomicU64::new(nanos(RECOVERY)) }
    }

    /// Something is read. Returns whether it may have waited.
    fn beat(&self, now: Instant) -> bool {
        let now = self.nanos(now);
        let last = self.last.load(Ordering::Relaxed);
        self.last.store(now, Ordering::Relaxed);
        if now.saturating_sub(last) > nanos(PAUSE) {
            self.recovered.store(now + nanos(RECOVERY), Ordering::Relaxed);
        }
        now < self.recovered.load(Ordering::Relaxed)
    }

    /// Connections had to wait to be accepted.
    pub(super) fn skips(&self, now: Instant) {
        self.recovered.store(self.nanos(now) + nanos(RECOVERY), Ordering::Relaxed);
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.begun))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// When the bytes that a connection read last had reached this machine.
#[derive(Debug)]
pub(super) struct LastArrival {
    pulse: Arc<Pulse>,
    /// Nanoseconds since the pulse began.
    at: AtomicU64,
}

impl LastArrival {
    pub(super) fn new(pulse: Arc<Pulse>) -> Self {
        let at = AtomicU64::new(pulse.nanos(Instant::now()));
        Self { pulse, at }
    }

    /// Bytes were read; `waited` finds out how long they lay there.
    pub(super) fn read(&self, now: Instant, waited: impl FnOnce() -> Duration) {
        let waited = if self.pulse.beat(now) { waited() } else { Duration::ZERO };
        self.at.store(self.pulse.nanos(now).saturating_sub(nanos(waited)), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Instant {
        self.pulse.begun + Duration::from_nanos(self.at.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_busy_worker_asks_nothing_and_one_that_stood_still_asks_until_it_has_caught_up() {
        let begun = Instant::now();
        let pulse = Arc::new(Pulse::begin(begun));
        let asks = |at: Duration| pulse.beat(begun + at);
        let busy = |range: std::ops::Range<u32>| range.filter(|at| asks(MS * *at)).count();
        assert_eq!(busy(1..1000), 999, "the first seconds are a start behind a closed door");
        busy(1000..2001);
        assert_eq!(busy(2001..3000), 0);
        assert!(asks(MS * 6000), "after three seconds of nothing");
        assert_eq!(busy(6001..8000), 1999);
        assert_eq!(busy(8001..9000), 0);
        pulse.skips(begun + MS * 9000);
        assert_eq!(busy(9000..9100), 100);
    }

    #[test]
    fn bytes_are_as_old_as_the_kernel_says_when_it_is_asked() {
        let begun = Instant::now();
        let pulse = Arc::new(Pulse::begin(begun));
        let arrival = LastArrival::new(pulse.clone());
        arrival.read(begun + MS * 5000, || MS * 3000);
        assert_eq!(arrival.get(), begun + MS * 2000);
        for at in 5001..7001 {
            pulse.beat(begun + MS * at);
        }
        arrival.read(begun + MS * 7001, || panic!("nothing has waited"));
        assert_eq!(arrival.get(), begun + MS * 7001);
    }
}
