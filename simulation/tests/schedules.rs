//! The shipped code keeps its promises in a thousand schedules; a seed replays to the letter.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

use simulation::{Simulator, Tracing};

#[test]
fn the_books_balance_through_every_schedule() {
    let simulator = Simulator::new(None).unwrap();
    for seed in 0..1000 {
        if let Some(violation) = simulator.play(seed, u64::MAX, Tracing::Off).violation {
            panic!(
                "seed {seed}: {}; replay it with `cargo run -p simulation -- --replay {seed}`",
                violation.0
            );
        }
    }
}

#[test]
fn most_sessions_are_checked_to_the_byte() {
    let simulator = Simulator::new(None).unwrap();
    let (mut open, mut forgotten, mut sessions) = (0, 0, 0);
    for seed in 0..500 {
        let figures = simulator.play(seed, u64::MAX, Tracing::Off).figures;
        open += figures.open;
        forgotten += figures.forgotten;
        sessions += figures.sessions;
    }
    assert!(open * 100 < sessions, "{open} of {sessions} sessions could be explained by less");
    assert!(forgotten * 8 < sessions, "of {forgotten} of {sessions} sessions something was forgotten");
}

#[test]
fn a_seed_replays_step_by_step() {
    let (one, other) = (Simulator::new(None).unwrap(), Simulator::new(None).unwrap());
    drop(other.play(1, u64::MAX, Tracing::Off));
    let traces = [one, other].map(|simulator| simulator.play(42, u64::MAX, Tracing::On).trace);
    assert_eq!(traces[0], traces[1]);
    assert!(traces[0].len() > 50);
}
