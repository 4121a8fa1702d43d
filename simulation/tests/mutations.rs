//! The simulation is worth what it finds: each of these bugs, put back by hand, is found within a bounded
//! number of schedules.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

use simulation::{Mutation, Simulator, Tracing};

/// What the broken promise says, from the first of so many schedules that breaks one.
fn found(mutation: Mutation, within: u64) -> String {
    let simulator = Simulator::new(Some(mutation)).unwrap();
    let broken = (0..within).find_map(|seed| {
        let violation = simulator.play(seed, u64::MAX, Tracing::Off).violation?;
        println!("{mutation:?} is found by seed {seed}: {}", violation.0);
        Some(violation.0)
    });
    broken.unwrap_or_else(|| panic!("{mutation:?} is not found in {within} schedules"))
}

#[test]
#[ignore = "until the schedules that docs/simulation.md names are clean"]
fn an_acknowledgement_before_the_commit_is_found() {
    assert!(found(Mutation::AckBeforeCommit, 1000).contains("settled"));
}

#[test]
#[ignore = "until the schedules that docs/simulation.md names are clean"]
fn a_snapshot_that_moves_before_its_entry_is_appended_is_found() {
    assert!(found(Mutation::SnapshotBeforeAppend, 1000).contains("earned"));
}

#[test]
#[ignore = "until the schedules that docs/simulation.md names are clean"]
fn timestamps_that_are_not_unique_are_found() {
    assert!(found(Mutation::TimestampFromClock, 1000).contains("the key of an earlier one"));
}

#[test]
#[ignore = "until the schedules that docs/simulation.md names are clean"]
fn trimming_what_somebody_still_needs_is_found() {
    assert!(found(Mutation::TrimUnguarded, 1000).contains("trimmed before it is settled"));
}

#[test]
#[ignore = "until the schedules that docs/simulation.md names are clean"]
fn presence_that_any_entry_decides_is_found() {
    assert!(found(Mutation::PresenceUnguarded, 1000).contains("presence"));
}

#[test]
#[ignore = "until the schedules that docs/simulation.md names are clean"]
fn sequence_numbers_that_nobody_looks_at_are_found() {
    assert!(found(Mutation::SequenceIgnored, 5000).contains("earned"));
}

#[test]
#[ignore = "until the schedules that docs/simulation.md names are clean"]
fn progress_that_nobody_looks_at_is_found() {
    assert!(found(Mutation::ProgressIgnored, 5000).contains("earned"));
}

#[test]
#[ignore = "until the schedules that docs/simulation.md names are clean"]
fn answers_before_the_spool_is_written_are_found() {
    assert!(found(Mutation::AnswerBeforeSpool, 2000).contains("never booked"));
}
