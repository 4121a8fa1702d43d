//! The short form of fuzzing, for every build: all kept inputs, and a few thousand changes of them.

#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fuzz::{TARGETS, Target};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Changed inputs for each target: about a second for all targets together.
const CHANGED: usize = 2000;
/// Changes to one input.
const MAX_CHANGES: usize = 4;
/// Numbers and marks on which readers stumble.
const WORDS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"65536",
    b"4294967296",
    b"9007199254740992",
    b"9223372036854775807",
    b"18446744073709551616",
    b"%",
    b"%00",
    b"&",
    b"=",
    b"/",
    b":",
    b"\0",
    b"\xff",
    b"\n",
    b"e",
    b"\x02\xff",
    b"[",
    b"{",
];

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

/// Runs the target; on a panic says with what.
fn run(target: &Target, input: &[u8], origin: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        panic!("{} fails with {origin}: b\"{}\"", target.name, input.escape_ascii());
    }
}

fn changed(inputs: &[Vec<u8>], rng: &mut SmallRng) -> Vec<u8> {
    let mut input = inputs[rng.random_range(0..inputs.len())].clone();
    for _ in 0..rng.random_range(1..=MAX_CHANGES) {
        let (a, b) = (rng.random_range(0..=input.len()), rng.random_range(0..=input.len()));
        let range = a.min(b)..a.max(b);
        match rng.random_range(0..5) {
            0 if !range.is_empty() => input[range.start] ^= 1 << rng.random_range(0..8),
            1 => drop(input.drain(range)),
            2 => drop(input.splice(range, WORDS[rng.random_range(0..WORDS.len())].iter().copied())),
            3 => input.extend_from_within(range),
            _ => {
                let other = &inputs[rng.random_range(0..inputs.len())];
                input.truncate(range.start);
                input.extend_from_slice(&other[rng.random_range(0..=other.len())..]);
            }
        }
    }
    input
}

#[test]
fn every_kept_input_passes() {
    for target in TARGETS {
        let inputs = corpus(target);
        assert!(!inputs.is_empty(), "{} has a corpus", target.name);
        inputs.iter().for_each(|input| run(target, input, "a kept input"));
    }
}

#[test]
fn every_kept_input_passes_with_changes() {
    let seed = rand::random();
    let mut rng = SmallRng::seed_from_u64(seed);
    for target in TARGETS {
        let inputs = corpus(target);
        for _ in 0..CHANGED {
            run(target, &changed(&inputs, &mut rng), &format!("a changed input (seed {seed})"));
        }
    }
}

#[test]
fn every_folder_of_the_corpus_has_a_target() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap();
    for folder in folders {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(fuzz::target(&name).is_some(), "corpus/{name} belongs to no target");
    }
}
