//! When a worker sends: on a schedule (open loop) or whenever a reply came (closed loop), until the time or
//! the number is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A schedule's last requests are due just before its end and may leave just behind it; a backlog may not.
const GRACE: Duration = Duration::from_millis(20);

/// An order to all workers to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends every schedule that has it.
    pub fn order(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_ordered(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One worker's part of one phase.
#[derive(Debug)]
pub(crate) struct Schedule {
    start: Instant,
    /// When sending ends, if time ends it.
    end: Option<Instant>,
    /// Requests per second, in an open loop.
    rate: Option<f64>,
    /// How many may still be sent.
    left: u64,
    sent: u64,
    stop: Stop,
}

impl Schedule {
    /// `rate`: requests per second of this worker; `None` is a closed loop. `left`: how many to send at most.
    pub(crate) fn new(
        start: Instant,
        length: Option<Duration>,
        rate: Option<f64>,
        left: u64,
        stop: Stop,
    ) -> Self {
        Self { start, end: length.and_then(|length| start.checked_add(length)), rate, left, sent: 0, stop }
    }

    /// Takes the next request, if one is due: the time from which its latency counts.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next_due().filter(|due| *due <= now)?;
        if self.is_sent(now) {
            return None;
        }
        self.sent += 1;
        self.left -= 1;
        // In a closed loop a request is due when somebody is there to send it.
        Some(if self.rate.is_some() { due } else { now })
    }

    /// When the next request is due; `None` when there will be none.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let due = match self.rate {
            Some(rate) => self.start + Duration::from_secs_f64(self.sent as f64 / rate),
            None => self.start,
        };
        (self.left > 0 && self.end.is_none_or(|end| due < end)).then_some(due)
    }

    /// Whether nothing more is to be sent.
    pub(crate) fn is_sent(&self, now: Instant) -> bool {
        let grace = if self.is_paced() { GRACE } else { Duration::ZERO };
        let is_late = self.end.is_some_and(|end| now.saturating_duration_since(end) >= grace && now >= end);
        self.is_broken_off() || self.next_due().is_none() || is_late
    }

    /// Whether requests are due at certain times.
    pub(crate) fn is_paced(&self) -> bool {
        self.rate.is_some()
    }

    /// Nothing more to send: the sessions have nothing more to say.
    pub(crate) fn finish(&mut self) {
        self.left = 0;
    }

    /// Whether even replies are not waited for.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.stop.is_ordered()
    }

    /// How many requests an open loop's schedule had by `now` that were never sent.
    pub(crate) fn unsent(&self, now: Instant) -> u64 {
        let mut late = 0;
        if let Some(rate) = self.rate {
            let end = self.end.map_or(now, |end| end.min(now));
            let scheduled = end.saturating_duration_since(self.start).mul_f64(rate).as_secs();
            late = scheduled.saturating_sub(self.sent).min(self.left);
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_open_loop_keeps_its_schedule_and_counts_what_it_could_not_send() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, Some(SECOND), Some(10.0), u64::MAX, Stop::default());
        assert_eq!(schedule.take(start), Some(start));
        assert_eq!(schedule.take(start), None);
        // Half a second late, five requests are due, each at its own time.
        let late = start + SECOND / 2;
        let due: Vec<Instant> = std::iter::from_fn(|| schedule.take(late)).collect();
        assert_eq!(due, [1, 2, 3, 4, 5].map(|tenth| start + SECOND * tenth / 10));
        assert_eq!(schedule.unsent(start + SECOND * 9), 4);
        assert_eq!(schedule.take(start + SECOND + GRACE / 2), Some(start + SECOND * 6 / 10));
        assert_eq!(schedule.take(start + SECOND + GRACE), None);
    }

    #[test]
    fn a_closed_loop_sends_at_once_until_the_number_or_the_time_is_up() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, Some(SECOND), None, 2, Stop::default());
        let now = start + SECOND / 4;
        assert_eq!(
            (schedule.take(now), schedule.take(now), schedule.take(now)),
            (Some(now), Some(now), None)
        );
        assert!(schedule.is_sent(now) && schedule.unsent(now) == 0);
        let mut schedule = Schedule::new(start, Some(SECOND), None, 2, Stop::default());
        assert_eq!(schedule.take(start + SECOND), None);
    }

    #[test]
    fn an_order_to_stop_ends_it() {
        let (start, stop) = (Instant::now(), Stop::default());
        let mut schedule = Schedule::new(start, None, None, u64::MAX, stop.clone());
        assert!(schedule.take(start).is_some());
        stop.order();
        assert!(schedule.take(start).is_none() && schedule.is_sent(start) && schedule.is_broken_off());
    }
}
