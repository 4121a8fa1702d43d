//! libFuzzer around one target, which the environment names. One program for all targets: they share the code
//! that takes long to build.

#![no_main]

use std::sync::LazyLock;

use fuzz::{TARGETS, Target};

/// Which target runs.
const VARIABLE: &str = "FUZZ_TARGET";

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| {
        let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        panic!("{VARIABLE} must be one of {}", known.join(", "))
    })
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| (TARGET.run)(input));
