//! Snapshots as they come from outside: whatever they hold, reading one and booking on it must not panic.

#![allow(clippy::unwrap_used, missing_docs)]

use claims::{Counters, DEFAULT_SKEW_MS, Path, Report, Session};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

fn snapshot(rng: &mut SmallRng) -> Vec<u8> {
    let mut session = Session::default();
    for number in 0..rng.random_range(1..12) {
        let report = Report {
            path: Path(rng.random_range(0..4)),
            at_ms: 1_000_000 + number * rng.random_range(1..200_000),
            counters: Counters { up: rng.random_range(0..1 << 40), down: rng.random_range(0..1 << 30) },
            started: rng.random_bool(0.3),
        };
        session.book(&report, DEFAULT_SKEW_MS);
    }
    let mut bytes = Vec::new();
    session.encode(&mut bytes);
    bytes
}

#[test]
fn a_damaged_snapshot_is_refused_or_booked_on_and_never_a_panic() {
    let mut rng = SmallRng::seed_from_u64(1);
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = snapshot(&mut rng);
        for _ in 0..rng.random_range(1..3) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        if rng.random_bool(0.2) {
            bytes.truncate(rng.random_range(0..=bytes.len()));
        }
        let Ok(mut session) = Session::decode(&bytes) else {
            refused += 1;
            continue;
        };
        accepted += 1;
        let counters = Counters { up: rng.random(), down: rng.random() };
        let report =
            Report { path: Path(rng.random_range(0..4)), at_ms: rng.random(), counters, started: true };
        session.book(&report, DEFAULT_SKEW_MS);
    }
    assert!(refused > 1000 && accepted > 1000, "{refused} refused, {accepted} accepted");
}
