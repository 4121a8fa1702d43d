//! What goes wrong, and when: a function of the seed alone.
//!
//! Everything that can fail has a list of its own, so that faults meet each other in every combination: a
//! consumer dies while Redis loads its file and one tracker is cut off. When exactly a step happens depends
//! on the machine as well.

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::fault::{Ending, Fault, Target, Way};

/// A fault and how long nothing happened to its target before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) after: Duration,
    pub(crate) fault: Fault,
}

/// The shortest and the longest time between two faults, in milliseconds.
const fn pace(target: Target) -> (u64, u64) {
    match target {
        Target::Tracker(_) => (500, 4_000),
        Target::Consumer(_) => (500, 5_000),
        Target::Redis => (1_000, 8_000),
        Target::TrackerLink(_) | Target::ConsumerLink(_) => (3_000, 12_000),
        Target::SpoolDisk(_) | Target::LedgerDisk => (6_000, 25_000),
        Target::RedisDisk => (15_000, 60_000),
    }
}

/// The steps of one target in a run of `length`; none lasts longer than the run.
pub(crate) fn plan(seed: u64, target: Target, length: Duration) -> Vec<Step> {
    let number = Target::ALL.iter().position(|other| *other == target).unwrap_or(0);
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    dice.set_stream(1 + number as u64);
    let (mut steps, mut now) = (Vec::new(), Duration::ZERO);
    let (shortest, longest) = pace(target);
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
