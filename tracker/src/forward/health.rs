//! Whether a forwarder is worth asking. After a failure it is left alone for a while, twice as long after
//! each further one; then one job is the probe that decides whether it is back. Pure: `now` is passed in.

use std::time::{Duration, Instant};

/// A forwarder's health.
#[derive(Debug)]
pub(super) struct Health {
    first_pause: Duration,
    longest_pause: Duration,
    failures: u32,
    pause: Option<Pause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    until: Instant,
    probing: bool,
}

/// What may be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    /// Ask.
    Go,
    /// Not before this.
    From(Instant),
    /// A probe is under way: wait for what comes of it.
    AfterProbe,
}

/// What a failure meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It was well until now.
    Suspended,
    /// It was known to be away.
    StillAway,
}

impl Health {
    pub(super) fn new(first_pause: Duration, longest_pause: Duration) -> Self {
        Self { first_pause, longest_pause, failures: 0, pause: None }
    }

    pub(super) fn permission(&self, now: Instant) -> Permission {
        match self.pause {
            None => Permission::Go,
            Some(Pause { probing: true, .. }) => Permission::AfterProbe,
            Some(Pause { until, .. }) if now < until => Permission::From(until),
            Some(_) => Permission::Go,
        }
    }

    /// A job leaves: while the forwarder is away it is the probe.
    pub(super) fn began(&mut self) {
        if let Some(pause) = &mut self.pause {
            pause.probing = true;
        }
    }

    /// It answered. Whether it was away until now.
    pub(super) fn answered(&mut self) -> bool {
        self.failures = 0;
        self.pause.take().is_some()
    }

    /// It failed a job. One that left before the pause began is part of the failure that caused the pause.
    pub(super) fn failed(&mut self, probe: Probe, now: Instant) -> Turn {
        let turn = if self.pause.is_some() { Turn::StillAway } else { Turn::Suspended };
        if turn == Turn::StillAway && probe == Probe::No {
            return turn;
        }
        let pause = self.first_pause.saturating_mul(1 << self.failures.min(20)).min(self.longest_pause);
        self.failures += 1;
        self.pause = Some(Pause { until: now + pause, probing: false });
        turn
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.pause.is_some()
    }
}

/// Whether a job left as the probe of a forwarder that was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// It did.
    Yes,
    /// It left while all was well.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (mut health, start) = (Health::new(SECOND, 5 * SECOND), Instant::now());
        assert_eq!(health.permission(start), Permission::Go);
        assert_eq!(health.failed(Probe::No, start), Turn::Suspended);
        let mut now = start;
        for pause in [1, 2, 4, 5, 5] {
            assert_eq!(health.permission(now), Permission::From(now + pause * SECOND));
            now += pause * SECOND;
            assert_eq!(health.permission(now), Permission::Go);
            health.began();
            assert_eq!(health.permission(now), Permission::AfterProbe, "one probe at a time");
            assert_eq!(health.failed(Probe::Yes, now), Turn::StillAway);
        }
    }

    #[test]
    fn one_answer_brings_it_back() {
        let (mut health, now) = (Health::new(SECOND, 5 * SECOND), Instant::now());
        health.failed(Probe::No, now);
        health.began();
        assert!(health.answered());
        assert_eq!((health.permission(now), health.is_suspended()), (Permission::Go, false));
        health.failed(Probe::No, now);
        assert_eq!(health.permission(now), Permission::From(now + SECOND), "pauses begin anew");
    }

    #[test]
    fn jobs_that_fail_together_are_one_failure() {
        let (mut health, now) = (Health::new(SECOND, 60 * SECOND), Instant::now());
        for _ in 0..4 {
            health.failed(Probe::No, now);
        }
        assert_eq!(health.permission(now), Permission::From(now + SECOND));
    }
}
