//! What a real client said, as it was recorded on the wire, with every path as late as a network can make it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fs;

use claims::{Counters, DEFAULT_SKEW_MS, Path, Report, Session};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const MIB: u64 = 1 << 20;

/// The announces of each session in the order in which they were sent.
fn sessions(recording: &str) -> Vec<Vec<Report>> {
    let mut sessions: BTreeMap<u32, Vec<Report>> = BTreeMap::new();
    for line in recording.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        sessions.entry(words[0].parse().unwrap()).or_default().push(Report {
            path: Path(words[1].parse().unwrap()),
            at_ms: 1_000_000 + number(2),
            counters: Counters { up: number(3), down: number(4) },
            started: words[5] == "started",
        });
    }
    sessions.into_values().collect()
}

/// What the client moved: as it was sent there is nothing to explain.
fn moved(sent: &[Report], counter: fn(&Report) -> u64) -> u64 {
    let (mut moved, mut mark) = (0, counter(&sent[0]));
    for report in sent {
        let now = counter(report);
        moved += if now >= mark { now - mark } else { now };
        mark = now;
    }
    moved
}

/// What the books say when each path is late by up to `most_ms`.
fn booked(sent: &[Report], most_ms: u64, rng: &mut SmallRng) -> Counters {
    let mut lags: BTreeMap<Path, u64> = BTreeMap::new();
    let late = |report: &Report| {
        let lag = *lags.entry(report.path).or_insert_with(|| rng.random_range(0..=most_ms));
        Report { at_ms: report.at_ms + lag, ..*report }
    };
    let mut heard: Vec<Report> = sent.iter().map(late).collect();
    heard.sort_by_key(|report| report.at_ms);
    let mut session = Session::default();
    for report in &heard {
        session.book(report, DEFAULT_SKEW_MS);
    }
    session.claimed()
}

#[test]
fn what_a_real_client_moved_is_booked_however_late_its_paths_are() {
    let mut counted = 0;
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings")).unwrap() {
        let path = file.unwrap().path();
        for (number, sent) in sessions(&fs::read_to_string(&path).unwrap()).iter().enumerate() {
            let up = moved(sent, |report| report.counters.up);
            let down = moved(sent, |report| report.counters.down);
            for (seed, most_ms) in [(0, 0), (1, 3000), (2, 3000), (3, 20_000), (4, 20_000)] {
                let claimed = booked(sent, most_ms, &mut SmallRng::seed_from_u64(seed));
                let place = || format!("{} session {number}, up to {most_ms} ms late", path.display());
                assert!(claimed.up <= up && claimed.down <= down, "{claimed:?} of {up}, {down}: {}", place());
                let is_close = |claimed: u64, moved: u64| claimed + MIB >= moved;
                assert!(
                    is_close(claimed.up, up) && is_close(claimed.down, down),
                    "{claimed:?} of {up}, {down}: {}",
                    place()
                );
                counted += 1;
            }
        }
    }
    assert!(counted > 900, "{counted}");
}
