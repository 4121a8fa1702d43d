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
fn an_acknowledgement_before_the_commit_is_found() {
    assert!(found(Mutation::AckBeforeCommit, 1000).contains("settled"));
}

#[test]
fn a_snapshot_that_moves_before_its_entry_is_appended_is_found() {
    assert!(found(Mutation::SnapshotBeforeAppend, 1000).contains("which is not the next"));
}

#[test]
fn timestamps_that_are_not_unique_are_found() {
    assert!(found(Mutation::TimestampFromClock, 1000).contains("the key of an earlier one"));
}

#[test]
fn trimming_what_somebody_still_needs_is_found() {
    assert!(found(Mutation::TrimUnguarded, 1000).contains("trimmed before it is settled"));
}

#[test]
fn presence_that_any_entry_decides_is_found() {
    assert!(found(Mutation::PresenceUnguarded, 1000).contains("presence"));
}

#[test]
fn sequence_numbers_that_nobody_looks_at_are_found() {
    assert!(found(Mutation::SequenceIgnored, 1000).contains("booked twice"));
}

#[test]
fn progress_that_nobody_looks_at_is_found() {
    assert!(found(Mutation::ProgressIgnored, 1000).contains("was booked before, and it was not"));
}

#[test]
fn answers_before_the_spool_is_written_are_found() {
    assert!(found(Mutation::AnswerBeforeSpool, 2000).contains("never booked"));
}

#[test]
fn arrival_that_is_taken_when_a_look_up_ends_is_found() {
    assert!(found(Mutation::ArrivalTakenLate, 1000).contains("its client moved"));
}

#[test]
fn a_tail_that_redis_is_not_given_again_is_found() {
    assert!(found(Mutation::TailNotReplayed, 2000).contains("never booked"));
}

#[test]
fn claims_that_are_not_compared_are_found() {
    assert!(found(Mutation::ClaimsNotCompared, 1000).contains("the key of an earlier one"));
}
