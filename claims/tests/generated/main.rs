//! Generated clients against their own knowledge of what they moved. `CLAIMS_CLIENTS=1000000` for a long run.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod client;

use claims::{Counters, DEFAULT_SKEW_MS, Report, Session};
use client::{Network, QUICK, RESTLESS, SLOW, Story, client};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const MIB: u64 = 1 << 20;

fn clients() -> u64 {
    std::env::var("CLAIMS_CLIENTS").map_or(20_000, |count| count.parse().unwrap())
}

fn booked<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Counters {
    let mut session = Session::default();
    for report in reports {
        session.book(report, DEFAULT_SKEW_MS);
    }
    session.claimed()
}

/// Draws clients and returns how many of those with several paths miss more than a MiB, of a thousand.
fn missing_per_mille(network: Network) -> f64 {
    let (mut missing, mut several) = (0_u64, 0_u64);
    for seed in 0..clients() {
        let Story { reports, moved, baseline, paths } = client(seed, network);
        let claimed = booked(&reports);
        assert!(
            claimed.up <= moved.up && claimed.down <= moved.down,
            "seed {seed}: {claimed:?} of {moved:?}\n{reports:#?}"
        );
        let lacks = |claimed: u64, moved: u64, baseline: u64| claimed + baseline + MIB < moved;
        // With one path only a restart that first reports above the last run's end cannot be told from none.
        if paths > 1 {
            several += 1;
            let up = lacks(claimed.up, moved.up, baseline.up);
            missing += u64::from(up || lacks(claimed.down, moved.down, baseline.down));
        }
    }
    missing as f64 * 1000.0 / several as f64
}

#[test]
fn nobody_is_credited_a_byte_too_much_and_hardly_anybody_too_little_on_usual_networks() {
    let missing = missing_per_mille(QUICK);
    println!("{missing:.2} of a thousand miss more than a MiB");
    assert!(missing <= 2.0, "{missing:.2}");
}

#[test]
fn nobody_is_credited_a_byte_too_much_on_slow_networks_either() {
    let missing = missing_per_mille(SLOW);
    println!("{missing:.2} of a thousand miss more than a MiB");
    assert!(missing <= 10.0, "{missing:.2}");
}

/// Trackers book independently of each other: any interleaving of the paths is possible.
fn interleaved(reports: &[Report], rng: &mut SmallRng) -> Vec<Report> {
    let mut left: Vec<Vec<Report>> = vec![Vec::new(); 4];
    for report in reports.iter().rev() {
        left[report.path.0 as usize].push(*report);
    }
    let mut order = Vec::with_capacity(reports.len());
    while order.len() < reports.len() {
        let path = rng.random_range(0..left.len());
        order.extend(left[path].pop());
    }
    order
}

#[test]
fn the_order_of_booking_does_not_matter() {
    let mut differ = 0;
    for seed in 0..clients() {
        let Story { reports, moved, .. } = client(seed, SLOW);
        let mut rng = SmallRng::seed_from_u64(!seed);
        let (in_order, otherwise) = (booked(&reports), booked(&interleaved(&reports, &mut rng)));
        assert!(otherwise.up <= moved.up && otherwise.down <= moved.down, "seed {seed}");
        differ += u64::from(otherwise != in_order);
    }
    // A search that ends early claims too little until the next report; how early depends on the order.
    assert!(differ * 10_000 <= clients(), "{differ}");
}

#[test]
fn a_repeated_report_claims_nothing_and_a_snapshot_is_the_session() {
    let (mut longest, mut bytes, mut snapshots) = (0, 0, 0);
    for seed in 0..clients() / 10 {
        let mut session = Session::default();
        for report in &client(seed, QUICK).reports {
            session.book(report, DEFAULT_SKEW_MS);
            assert_eq!(session.book(report, DEFAULT_SKEW_MS), Counters::default());
            let mut snapshot = Vec::new();
            session.encode(&mut snapshot);
            assert_eq!(Session::decode(&snapshot).as_ref(), Ok(&session));
            longest = longest.max(snapshot.len());
            (bytes, snapshots) = (bytes + snapshot.len(), snapshots + 1);
        }
    }
    println!("a snapshot takes {} bytes, at most {longest}", bytes / snapshots);
}

#[test]
fn whoever_pauses_and_resumes_all_the_time_is_not_credited_too_much_and_keeps_a_small_snapshot() {
    for seed in 0..clients() / 400 {
        let Story { reports, moved, .. } = client(seed, RESTLESS);
        let mut session = Session::default();
        for report in &reports {
            session.book(report, DEFAULT_SKEW_MS);
            let mut snapshot = Vec::new();
            session.encode(&mut snapshot);
            assert!(snapshot.len() < 1500, "seed {seed}: {} bytes", snapshot.len());
        }
        let claimed = session.claimed();
        assert!(
            claimed.up <= moved.up && claimed.down <= moved.down,
            "seed {seed}: {claimed:?} of {moved:?}"
        );
    }
}
