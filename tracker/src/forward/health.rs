//! Whether a forwarder is worth asking. After a failure it is left alone for a while, twice as long after
//! each further one; then one job is the probe that decides whether it is back. Pure: `now` is passed in.

use std::time::{Duration, Instant};

/// Since when a forwarder fails, and until when it is left alone.
#[derive(Debug)]
pub(super) struct ForwarderHealth {
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

/// Whether a job may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    /// Yes; if the forwarder is suspended, the job is the probe.
    Go,
    /// Not before this: the pause after the last failure.
    From(Instant),
    /// Not while a probe is under way: its answer or failure decides.
    AfterProbe,
}

/// Whether a failure suspends the forwarder, which is worth a line in the log, or finds it suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspension {
    /// The forwarder answered until now.
    New,
    /// The forwarder was suspended already.
    Ongoing,
}

impl ForwarderHealth {
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

    /// A job is sent: while the forwarder is suspended it is the probe.
    pub(super) fn began(&mut self) {
        if let Some(pause) = &mut self.pause {
            pause.probing = true;
        }
    }

    /// The forwarder answered. Whether it was suspended until now.
    pub(super) fn answered(&mut self) -> bool {
        self.failures = 0;
        self.pause.take().is_some()
    }

    /// The forwarder did not answer a job. A job sent before the pause began is part of the failure that
    /// caused the pause, and does not make it longer.
    pub(super) fn failed(&mut self, probe: Probe, now: Instant) -> Suspension {
        let suspension = if self.pause.is_some() { Suspension::Ongoing } else { Suspension::New };
        if suspension == Suspension::Ongoing && probe == Probe::No {
            return suspension;
        }
        let pause = self.first_pause.saturating_mul(1 << self.failures.min(20)).min(self.longest_pause);
        self.failures += 1;
        self.pause = Some(Pause { until: now + pause, probing: false });
        suspension
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.pause.is_some()
    }
}

/// Whether a job was sent as the probe of a suspended forwarder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (mut health, start) = (ForwarderHealth::new(SECOND, 5 * SECOND), Instant::now());
        assert_eq!(health.permission(start), Permission::Go);
        assert_eq!(health.failed(Probe::No, start), Suspension::New);
        let mut now = start;
        for pause in [1, 2, 4, 5, 5] {
            assert_eq!(health.permission(now), Permission::From(now + pause * SECOND));
            now += pause * SECOND;
            assert_eq!(health.permission(now), Permission::Go);
            health.began();
            assert_eq!(health.permission(now), Permission::AfterProbe, "one probe at a time");
            assert_eq!(health.failed(Probe::Yes, now), Suspension::Ongoing);
        }
    }

    #[test]
    fn one_answer_brings_it_back() {
        let (mut health, now) = (ForwarderHealth::new(SECOND, 5 * SECOND), Instant::now());
        health.failed(Probe::No, now);
        health.began();
        assert!(health.answered());
        assert_eq!((health.permission(now), health.is_suspended()), (Permission::Go, false));
        health.failed(Probe::No, now);
        assert_eq!(health.permission(now), Permission::From(now + SECOND), "pauses begin anew");
    }

    #[test]
    fn jobs_that_fail_together_are_one_failure() {
        let (mut health, now) = (ForwarderHealth::new(SECOND, 60 * SECOND), Instant::now());
        for _ in 0..4 {
            health.failed(Probe::No, now);
        }
        assert_eq!(health.permission(now), Permission::From(now + SECOND));
    }
}
