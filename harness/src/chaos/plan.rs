//! What goes wrong, and when: a function of the seed alone.
//!
//! Everything that can fail has a list of its own, so that faults meet each other in every combination: a consumer dies while
//! Redis loads its file and one tracker is cut off. When exactly a step happens depends on the machine as well.

use std::fmt;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Tracker(usize),
    Consumer(usize),
    Redis,
    /// The proxy through which a tracker reaches Redis.
    TrackerLink(usize),
    ConsumerLink(usize),
    /// A small disk.
    SpoolDisk(usize),
    LedgerDisk,
    RedisDisk,
}

/// Which bytes a stalled link holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Both,
    ToRedis,
    FromRedis,
}

/// What becomes of the bytes that a stalled link held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// They arrive, late: perhaps long after the process that sent them is dead.
    Arrive,
    /// They are lost with their connections.
    Lost,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL, and a new process after a while.
    Kill { down: Duration },
    /// SIGTERM, as an operator restarts it.
    Restart,
    /// SIGSTOP, then SIGCONT.
    Pause { time: Duration },
    /// Connections are cut, and new ones refused.
    Cut { time: Duration },
    /// Connections stand and carry nothing.
    Stall { way: Way, time: Duration, ending: Ending },
    /// Every piece of data waits.
    Slow { delay: Duration, time: Duration },
    /// The disk is full.
    Fill { time: Duration },
    /// The clock steps by so many milliseconds, and back.
    Clock { offset_ms: i64, time: Duration },
    /// `SCRIPT FLUSH`.
    FlushScripts,
    /// `CLIENT KILL` of everybody.
    CutClients,
    /// `BGREWRITEAOF`: what is killed next may be a Redis between two files.
    RewriteFile,
    /// An operator trims the stream to so many entries.
    Trim { keep: u32 },
}

/// A fault and how long nothing happened to its target before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) after: Duration,
    pub(crate) fault: Fault,
}

impl Target {
    pub(crate) const ALL: [Self; 13] = [
        Self::Tracker(0),
        Self::Tracker(1),
        Self::Consumer(0),
        Self::Consumer(1),
        Self::Redis,
        Self::TrackerLink(0),
        Self::TrackerLink(1),
        Self::ConsumerLink(0),
        Self::ConsumerLink(1),
        Self::SpoolDisk(0),
        Self::SpoolDisk(1),
        Self::LedgerDisk,
        Self::RedisDisk,
    ];

    /// The shortest and the longest time between two faults, in milliseconds.
    const fn pace(self) -> (u64, u64) {
        match self {
            Self::Tracker(_) => (500, 4_000),
            Self::Consumer(_) => (500, 5_000),
            Self::Redis => (1_000, 8_000),
            Self::TrackerLink(_) | Self::ConsumerLink(_) => (3_000, 12_000),
            Self::SpoolDisk(_) | Self::LedgerDisk => (6_000, 25_000),
            Self::RedisDisk => (15_000, 60_000),
        }
    }
}

/// The steps of one target in a run of `length`; none lasts longer than the run.
pub(crate) fn plan(seed: u64, target: Target, length: Duration) -> Vec<Step> {
    let number = Target::ALL.iter().position(|other| *other == target).unwrap_or(0);
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    dice.set_stream(1 + number as u64);
    let (mut steps, mut now) = (Vec::new(), Duration::ZERO);
    let (shortest, longest) = target.pace();
    loop {
        let after = millis(&mut dice, shortest, longest);
        let fault = draw(&mut dice, target);
        now += after + fault.time();
        if now > length {
            return steps;
        }
        steps.push(Step { after, fault });
    }
}

fn millis(dice: &mut ChaCha8Rng, shortest: u64, longest: u64) -> Duration {
    Duration::from_millis(dice.random_range(shortest..=longest))
}

fn draw(dice: &mut ChaCha8Rng, target: Target) -> Fault {
    match target {
        Target::Tracker(_) => match dice.random_range(0..100) {
            0..80 => Fault::Kill { down: millis(dice, 0, 800) },
            80..88 => Fault::Pause { time: millis(dice, 200, 5_000) },
            88..94 => {
                Fault::Clock { offset_ms: dice.random_range(-100..=100), time: millis(dice, 500, 4_000) }
            }
            _ => Fault::Restart,
        },
        Target::Consumer(_) => match dice.random_range(0..100) {
            0..76 => Fault::Kill { down: millis(dice, 0, 1_200) },
            // Longer than `claim_idle`: the other consumer takes the entries over, and then both have them.
            76..88 => Fault::Pause { time: millis(dice, 800, 5_000) },
            88..94 => Fault::Clock {
                offset_ms: dice.random_range(-3_600_000..=3_600_000),
                time: millis(dice, 500, 4_000),
            },
            _ => Fault::Restart,
        },
        Target::Redis => of_redis(dice),
        Target::TrackerLink(_) | Target::ConsumerLink(_) => of_link(dice),
        Target::SpoolDisk(_) | Target::LedgerDisk => Fault::Fill { time: millis(dice, 500, 5_000) },
        Target::RedisDisk => Fault::Fill { time: millis(dice, 200, 3_000) },
    }
}

fn of_redis(dice: &mut ChaCha8Rng) -> Fault {
    match dice.random_range(0..100) {
        0..60 => Fault::Kill { down: millis(dice, 0, 3_000) },
        60..70 => Fault::Pause { time: millis(dice, 200, 4_000) },
        70..78 => Fault::FlushScripts,
        78..86 => Fault::CutClients,
        86..92 => Fault::RewriteFile,
        _ => Fault::Trim { keep: dice.random_range(0..500) },
    }
}

fn of_link(dice: &mut ChaCha8Rng) -> Fault {
    match dice.random_range(0..100) {
        0..35 => Fault::Cut { time: millis(dice, 0, 2_500) },
        35..75 => Fault::Stall {
            way: *[Way::Both, Way::ToRedis, Way::FromRedis].choose(dice).unwrap_or(&Way::Both),
            time: millis(dice, 200, 4_000),
            ending: *[Ending::Arrive, Ending::Lost].choose(dice).unwrap_or(&Ending::Lost),
        },
        _ => Fault::Slow { delay: millis(dice, 5, 150), time: millis(dice, 500, 4_000) },
    }
}

impl Fault {
    /// How long it lasts.
    const fn time(self) -> Duration {
        match self {
            Self::Kill { down: time }
            | Self::Pause { time }
            | Self::Cut { time }
            | Self::Stall { time, .. }
            | Self::Slow { time, .. }
            | Self::Fill { time }
            | Self::Clock { time, .. } => time,
            Self::Restart | Self::FlushScripts | Self::CutClients | Self::RewriteFile | Self::Trim { .. } => {
                Duration::ZERO
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tracker(n) => write!(f, "tracker-{n}"),
            Self::Consumer(n) => write!(f, "consumer-{n}"),
            Self::Redis => f.write_str("redis"),
            Self::TrackerLink(n) => write!(f, "link of tracker-{n}"),
            Self::ConsumerLink(n) => write!(f, "link of consumer-{n}"),
            Self::SpoolDisk(n) => write!(f, "spool disk of tracker-{n}"),
            Self::LedgerDisk => f.write_str("ledger disk"),
            Self::RedisDisk => f.write_str("redis disk"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { down } => write!(f, "killed (SIGKILL), down for {down:?}"),
            Self::Restart => f.write_str("restarted (SIGTERM)"),
            Self::Pause { time } => write!(f, "paused (SIGSTOP) for {time:?}"),
            Self::Cut { time } => write!(f, "cut for {time:?}"),
            Self::Stall { way, time, ending } => {
                write!(f, "stalled ({way:?}) for {time:?}, bytes held back: {ending:?}")
            }
            Self::Slow { delay, time } => write!(f, "slow (each piece by {delay:?}) for {time:?}"),
            Self::Fill { time } => write!(f, "full for {time:?}"),
            Self::Clock { offset_ms, time } => write!(f, "clock off by {offset_ms} ms for {time:?}"),
            Self::FlushScripts => f.write_str("SCRIPT FLUSH"),
            Self::CutClients => f.write_str("CLIENT KILL of everybody"),
            Self::RewriteFile => f.write_str("BGREWRITEAOF"),
            Self::Trim { keep } => write!(f, "stream trimmed to {keep} entries"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(1500);

    #[test]
    fn a_seed_decides_every_fault() {
        for target in Target::ALL {
            assert_eq!(plan(7, target, LENGTH), plan(7, target, LENGTH));
            assert_ne!(plan(7, target, LENGTH), plan(8, target, LENGTH));
        }
        assert_ne!(plan(7, Target::Tracker(0), LENGTH), plan(7, Target::Tracker(1), LENGTH));
    }

    #[test]
    fn twenty_five_minutes_plan_more_than_a_thousand_kills() {
        let steps = Target::ALL.into_iter().flat_map(|target| plan(7, target, LENGTH));
        let kills = steps.filter(|step| matches!(step.fault, Fault::Kill { .. })).count();
        assert!(kills > 1000, "{kills}");
    }

    #[test]
    fn no_step_goes_on_after_the_run() {
        for target in Target::ALL {
            let total: Duration =
                plan(7, target, LENGTH).iter().map(|step| step.after + step.fault.time()).sum();
            assert!(total <= LENGTH && total > LENGTH / 2, "{target}: {total:?}");
        }
    }
}
