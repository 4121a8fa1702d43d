//! Snapshots as they come from outside: whatever they hold, reading one and booking on it must not panic, and
//! what comes of it is read as it was written.

#![allow(clippy::unwrap_used, missing_docs)]

use claims::{Counters, DEFAULT_SKEW_MS, Path, Report, Session};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

fn report(rng: &mut SmallRng, at_ms: u64) -> Report {
    let counters = Counters { up: rng.random_range(0..1 << 40), down: rng.random_range(0..1 << 30) };
    Report { path: Path(rng.random_range(0..4)), at_ms, counters, started: rng.random_bool(0.3) }
}

fn encoded(session: &Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.encode(&mut bytes);
    bytes
}

fn snapshot(rng: &mut SmallRng) -> Vec<u8> {
    let mut session = Session::default();
    for number in 0..rng.random_range(1..12) {
        let at_ms = 1_000_000 + number * rng.random_range(1..200_000);
        session.book(&report(rng, at_ms), DEFAULT_SKEW_MS);
    }
    encoded(&session)
}

/// A snapshot with some bytes changed, and perhaps without its end.
fn damaged(rng: &mut SmallRng) -> Vec<u8> {
    let mut bytes = snapshot(rng);
    for _ in 0..rng.random_range(1..3) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] = rng.random();
    }
    if rng.random_bool(0.2) {
        bytes.truncate(rng.random_range(0..=bytes.len()));
    }
    bytes
}

fn holds_together(session: &Session, seed: u64) {
    assert_eq!(Session::decode(&encoded(session)).as_ref(), Ok(session), "seed {seed}");
}

/// What is booked is what the claims have grown by, and reads as it was written.
fn books_on(session: &mut Session, report: &Report, seed: u64) {
    let before = session.claimed();
    let claims = session.book(report, DEFAULT_SKEW_MS);
    let sum = Counters { up: before.up + claims.up, down: before.down + claims.down };
    assert_eq!(session.claimed(), sum, "seed {seed}");
    holds_together(session, seed);
}

fn held_to_each_other(seed: u64) -> (u64, u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let (mut refused, mut accepted) = (0, 0);
    let mut last = Session::default();
    for _ in 0..20_000 {
        let Ok(mut session) = Session::decode(&damaged(&mut rng)) else {
            refused += 1;
            continue;
        };
        accepted += 1;
        holds_together(&session, seed);
        for _ in 0..3 {
            let at_ms = if rng.random_bool(0.3) { rng.random() } else { rng.random_range(0..3_000_000) };
            let report = report(&mut rng, at_ms);
            books_on(&mut session, &report, seed);
        }
        let folded = last.fold(session.clone(), DEFAULT_SKEW_MS);
        holds_together(&folded, seed);
        last = session;
    }
    (refused, accepted)
}

#[test]
fn a_damaged_snapshot_is_refused_or_booked_on_and_folded_and_never_a_panic() {
    let seed = rand::random();
    for seed in [1, seed] {
        println!("seed {seed}");
        let (refused, accepted) = held_to_each_other(seed);
        assert!(refused > 1000 && accepted > 1000, "{refused} refused, {accepted} accepted");
    }
}

/// Written before a segment kept more than one point between its ends: two paths, one with a middle and an
/// end, one whose last report was below its highest.
#[test]
fn a_snapshot_of_the_version_before_is_read_and_gone_on_with() {
    let before = [
        &[1][..],
        &[1, 0, 0, 0, 1 | 2 | 4, 0xc0, 0x84, 0x3d, 0, 0, 0x64, 7, 0, 0x64, 8, 0],
        &[2, 0, 0, 0, 1 | 4 | 8, 1, 0, 0, 0x64, 9, 0, 2, 0],
    ];
    let mut session = Session::decode(&before.concat()).unwrap();
    assert_eq!(session.claimed(), Counters { up: 15, down: 0 });
    let said = |path, at_ms, up| Report {
        path: Path(path),
        at_ms,
        counters: Counters { up, down: 0 },
        started: false,
    };
    assert_eq!(session.book(&said(1, 1_000_300, 20), DEFAULT_SKEW_MS).up, 5);
    assert_eq!(encoded(&session)[0] & 0x1f, 2);
    assert_eq!(Session::decode(&encoded(&session)).as_ref(), Ok(&session));
}
