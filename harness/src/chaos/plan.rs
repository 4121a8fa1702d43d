//! What goes wrong, and when: a function of the seed alone.
//!
//! Everything that can fail has a list of its own, so that faults meet each other in every combination: a
//! consumer dies while Redis loads its file and one tracker is cut off. When exactly a step happens depends
//! on the machine as well.

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::fault::{Ending, Fault, Kind, Loss, Target, Way};

/// How far a clock steps at most: minutes.
const STEP_MS: i64 = 10 * 60_000;

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
        Target::SitePage => (1_000, 8_000),
        Target::Operator => (500, 4_000),
    }
}

/// The steps of one target in a run of `length`, without these kinds; none lasts longer than the run.
pub(crate) fn plan(seed: u64, target: Target, length: Duration, without: &[Kind]) -> Vec<Step> {
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
        if !fault.kind().is_some_and(|kind| without.contains(&kind)) {
            steps.push(Step { after, fault });
        }
    }
}

fn millis(dice: &mut ChaCha8Rng, shortest: u64, longest: u64) -> Duration {
    Duration::from_millis(dice.random_range(shortest..=longest))
}

fn draw(dice: &mut ChaCha8Rng, target: Target) -> Fault {
    match target {
        Target::Tracker(_) => match dice.random_range(0..100) {
            0..72 => Fault::Kill { down: millis(dice, 0, 800) },
            72..76 => Fault::Flip,
            76..88 => Fault::Pause { time: millis(dice, 200, 5_000) },
            88..94 => of_clock(dice),
            _ => Fault::Restart,
        },
        Target::Consumer(_) => match dice.random_range(0..100) {
            0..76 => Fault::Kill { down: millis(dice, 0, 1_200) },
            // Longer than `claim_idle`: the other consumer takes the entries over, and then both have them.
            76..86 => Fault::Pause { time: millis(dice, 800, 5_000) },
            86..88 => Fault::Pause { time: millis(dice, 8_000, 20_000) },
            88..94 => of_clock(dice),
            _ => Fault::Restart,
        },
        Target::Redis => of_redis(dice),
        Target::TrackerLink(_) | Target::ConsumerLink(_) => of_link(dice),
        Target::SpoolDisk(_) | Target::LedgerDisk => Fault::Fill { time: millis(dice, 500, 5_000) },
        Target::RedisDisk => Fault::Fill { time: millis(dice, 200, 3_000) },
        Target::SitePage => Fault::Slow { delay: millis(dice, 100, 4_500), time: millis(dice, 1_000, 6_000) },
        Target::Operator => of_operator(dice),
    }
}

fn of_clock(dice: &mut ChaCha8Rng) -> Fault {
    Fault::Clock { offset_ms: dice.random_range(-STEP_MS..=STEP_MS), time: millis(dice, 500, 6_000) }
}

fn of_operator(dice: &mut ChaCha8Rng) -> Fault {
    match dice.random_range(0..100) {
        0..30 => Fault::Alias,
        30..50 => Fault::Rotate,
        50..65 => Fault::Trim { keep: dice.random_range(0..500) },
        65..75 => Fault::Prune,
        75..85 => Fault::DeadLetter,
        _ => Fault::Restore { time: millis(dice, 500, 8_000) },
    }
}

fn of_redis(dice: &mut ChaCha8Rng) -> Fault {
    match dice.random_range(0..100) {
        0..30 => Fault::Kill { down: millis(dice, 0, 3_000) },
        30..64 => Fault::Forget {
            by: *[Loss::CutFile, Loss::OldDump, Loss::LaggingReplica].choose(dice).unwrap_or(&Loss::CutFile),
            time: millis(dice, 200, 6_000),
        },
        64..72 => Fault::Pause { time: millis(dice, 200, 4_000) },
        72..80 => Fault::FlushScripts,
        80..87 => Fault::CutClients,
        87..93 => Fault::RewriteFile,
        _ => of_clock(dice),
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

    const LENGTH: Duration = Duration::from_secs(1800);

    #[test]
    fn a_seed_decides_every_fault() {
        for target in Target::ALL {
            assert_eq!(plan(7, target, LENGTH, &[]), plan(7, target, LENGTH, &[]));
            assert_ne!(plan(7, target, LENGTH, &[]), plan(8, target, LENGTH, &[]));
        }
        assert_ne!(plan(7, Target::Tracker(0), LENGTH, &[]), plan(7, Target::Tracker(1), LENGTH, &[]));
    }

    #[test]
    fn half_an_hour_plans_more_than_five_hundred_kills_and_fifty_rollbacks() {
        let steps: Vec<Step> =
            Target::ALL.into_iter().flat_map(|target| plan(7, target, LENGTH, &[])).collect();
        let count = |is: fn(Fault) -> bool| steps.iter().filter(|step| is(step.fault)).count();
        let kills = count(|fault| matches!(fault, Fault::Kill { .. } | Fault::Flip | Fault::Forget { .. }));
        let rollbacks = count(|fault| matches!(fault, Fault::Forget { .. }));
        assert!(kills > 800 && rollbacks > 75, "{kills} kills, {rollbacks} rollbacks");
    }

    #[test]
    fn a_run_may_go_without_a_kind_of_faults() {
        let steps = plan(7, Target::Redis, LENGTH, &[Kind::Rollbacks]);
        assert!(!steps.iter().any(|step| matches!(step.fault, Fault::Forget { .. })));
        assert!(steps.len() > 50);
    }

    #[test]
    fn no_step_goes_on_after_the_run() {
        for target in Target::ALL {
            let total: Duration =
                plan(7, target, LENGTH, &[]).iter().map(|step| step.after + step.fault.time()).sum();
            assert!(total <= LENGTH && total > LENGTH / 2, "{target}: {total:?}");
        }
    }
}
