//! Generated clients against their own knowledge of what they moved. `CLAIMS_CLIENTS=1000000` for the long
//! run that the crate's head reports.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod client;
mod oracle;

use std::cmp::Ordering;

use claims::{Counters, DEFAULT_SKEW_MS, Report, Session};
use client::{HARSH, HARSH_AND_SLOW, Life, RESTLESS, RETURNING, SLOW, Story, USUAL, client};
use oracle::{Oracle, Said};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const MIB: u64 = 1 << 20;

/// How many clients are drawn of a life that takes a share of the time.
fn clients(share: u64) -> u64 {
    std::env::var("CLAIMS_CLIENTS").map_or(2500, |count| count.parse().unwrap()) / share
}

fn booked<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Session {
    let mut session = Session::default();
    for report in reports {
        session.book(report, DEFAULT_SKEW_MS);
    }
    session
}

fn is_at_most(claimed: Counters, moved: Counters) -> bool {
    claimed.up <= moved.up && claimed.down <= moved.down
}

/// Draws clients and returns how many of those with several paths miss more than a MiB, of a thousand.
fn missing_per_mille(life: Life, clients: u64) -> f64 {
    let (mut missing, mut several) = (0_u64, 0_u64);
    for seed in 0..clients {
        let Story { reports, moved, baseline, paths, .. } = client(seed, life);
        let claimed = booked(&reports).claimed();
        assert!(is_at_most(claimed, moved), "seed {seed}: {claimed:?} of {moved:?}\n{reports:#?}");
        let lacks = |claimed: u64, moved: u64, baseline: u64| claimed + baseline + MIB < moved;
        // With one path only a restart that first reports above the last run's end cannot be told from none.
        if paths > 1 {
            several += 1;
            let up = lacks(claimed.up, moved.up, baseline.up);
            missing += u64::from(up || lacks(claimed.down, moved.down, baseline.down));
        }
    }
    let missing = missing as f64 * 1000.0 / several as f64;
    println!("{missing:.2} of a thousand of {clients} clients miss more than a MiB: {life:?}");
    missing
}

#[test]
fn nobody_is_credited_a_byte_too_much_and_hardly_anybody_too_little_on_usual_networks() {
    assert!(missing_per_mille(USUAL, clients(1)) <= 2.0);
}

#[test]
fn nobody_is_credited_a_byte_too_much_on_slow_networks_either() {
    assert!(missing_per_mille(SLOW, clients(1)) <= 10.0);
}

#[test]
fn nobody_is_credited_a_byte_too_much_who_restarts_all_the_time() {
    assert!(missing_per_mille(HARSH, clients(4)) <= 20.0);
    assert!(missing_per_mille(HARSH_AND_SLOW, clients(10)) <= 50.0);
}

/// A path with one restart says nothing that can be understood in two ways, but for a restart that is first
/// heard above the last run's end.
#[test]
fn a_client_of_one_path_misses_only_a_restart_that_cannot_be_seen() {
    let mut counted = 0;
    for (seed, life) in (0..clients(4)).flat_map(|seed| [(seed, USUAL), (seed, HARSH)]) {
        let Story { reports, paths, .. } = client(seed, life);
        if paths == 1 {
            let seen = |of: fn(&Report) -> u64| seen_on_one_path(&reports, of);
            let expected = Counters { up: seen(|r| r.counters.up), down: seen(|r| r.counters.down) };
            assert_eq!(booked(&reports).claimed(), expected, "seed {seed}: {reports:#?}");
            counted += 1;
        }
    }
    assert!(counted > clients(20), "{counted}");
}

/// What one counter of one path says, as anybody would read it.
fn seen_on_one_path(reports: &[Report], counter: fn(&Report) -> u64) -> u64 {
    let (mut moved, mut mark) = (0, reports.first().map_or(0, counter));
    for report in reports {
        let now = counter(report);
        match report.started && now < mark {
            true => (moved, mark) = (moved + now, now),
            false => (moved, mark) = (moved + now.saturating_sub(mark), mark.max(now)),
        }
    }
    moved
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

fn recoded(session: &Session) -> Session {
    let mut snapshot = Vec::new();
    session.encode(&mut snapshot);
    Session::decode(&snapshot).unwrap()
}

/// Every report of an order at least once, some twice, a snapshot between any two.
fn booked_roughly(order: &[Report], rng: &mut SmallRng) -> Session {
    let mut session = Session::default();
    for (number, report) in order.iter().enumerate() {
        session.book(report, DEFAULT_SKEW_MS);
        let again = if rng.random_bool(0.3) { rng.random_range(0..=number) } else { number };
        assert_eq!(session.book(&order[again], DEFAULT_SKEW_MS), Counters::default());
        session = recoded(&session);
    }
    session
}

#[test]
fn the_order_of_booking_does_not_matter() {
    let mut differ = 0;
    for seed in 0..clients(2) {
        let Story { reports, moved, .. } = client(seed, SLOW);
        let mut rng = SmallRng::seed_from_u64(!seed);
        let in_order = booked(&reports).claimed();
        let otherwise = booked_roughly(&interleaved(&reports, &mut rng), &mut rng).claimed();
        assert!(is_at_most(otherwise, moved), "seed {seed}");
        differ += u64::from(otherwise != in_order);
    }
    // A search that ends early claims too little until the next report; how early depends on the order.
    println!("{differ} differ");
    assert!(differ * 10_000 <= clients(2), "{differ}");
}

/// An announce that the client gave up may be booked behind what the client said later on the same path: it
/// waited for a look-up. What was answered is booked before the path's next.
fn with_late(mut order: Vec<Report>, given_up: &[Report], rng: &mut SmallRng) -> Vec<Report> {
    for report in given_up {
        let place = order.iter().position(|other| other == report).unwrap();
        let report = order.remove(place);
        order.insert(rng.random_range(place..=order.len()), report);
    }
    order
}

#[test]
fn what_a_client_gave_up_may_be_booked_behind_what_it_said_next() {
    let (mut late, mut differ) = (0, 0);
    for seed in 0..clients(10) {
        let Story { reports, moved, given_up, .. } = client(seed, HARSH);
        let mut rng = SmallRng::seed_from_u64(!seed);
        let in_order = booked(&reports).claimed();
        let order = with_late(interleaved(&reports, &mut rng), &given_up, &mut rng);
        let otherwise = booked_roughly(&order, &mut rng).claimed();
        assert!(is_at_most(otherwise, moved), "seed {seed}");
        differ += u64::from(otherwise != in_order);
        late += given_up.len();
    }
    // Of a run that was forgotten nothing is claimed any more.
    println!("{differ} differ, {late} late");
    assert!(late > 100 && differ * 200 <= clients(10), "{late}, {differ}");
}

#[test]
fn two_names_that_are_folded_later_never_claim_more_than_what_both_moved() {
    for seed in 0..clients(4) {
        let Story { reports, moved, .. } = client(seed, SLOW);
        let mut rng = SmallRng::seed_from_u64(!seed);
        let folded_at = rng.random_range(0..=reports.len());
        let (early, late) = reports.split_at(folded_at);
        let split = rng.random_range(0..=early.len());
        let (old, new) = (booked(&early[..split]), booked(&early[split..]));
        let claimed = [old.claimed(), new.claimed()];
        let mut session = recoded(&old.fold(new, DEFAULT_SKEW_MS));
        late.iter().for_each(|report| {
            session.book(report, DEFAULT_SKEW_MS);
        });
        let at_most = |moved: u64, of: fn(&Counters) -> u64| moved.max(claimed.iter().map(of).sum());
        let moved = Counters { up: at_most(moved.up, |c| c.up), down: at_most(moved.down, |c| c.down) };
        assert!(is_at_most(session.claimed(), moved), "seed {seed}");
    }
}

#[test]
fn a_repeated_report_claims_nothing_and_a_snapshot_is_the_session() {
    let (mut longest, mut bytes, mut snapshots) = (0, 0, 0);
    for seed in 0..clients(10) {
        let mut session = Session::default();
        for report in &client(seed, HARSH).reports {
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
    for (seed, life) in (0..clients(300)).flat_map(|seed| [(seed, RESTLESS), (seed, RETURNING)]) {
        let Story { reports, moved, .. } = client(seed, life);
        let mut session = Session::default();
        for report in &reports {
            session.book(report, DEFAULT_SKEW_MS);
            let mut snapshot = Vec::new();
            session.encode(&mut snapshot);
            assert!(snapshot.len() < 1500, "seed {seed}: {} bytes", snapshot.len());
        }
        let claimed = session.claimed();
        assert!(is_at_most(claimed, moved), "seed {seed}: {claimed:?} of {moved:?}");
        let mut rng = SmallRng::seed_from_u64(!seed);
        let otherwise = booked(&interleaved(&reports, &mut rng)).claimed();
        assert!(is_at_most(otherwise, moved), "seed {seed}: {otherwise:?} of {moved:?}");
    }
}

/// A leecher that seeds and is started anew every day: its downloaded counter stands at zero since.
#[test]
fn whoever_comes_back_every_day_for_a_year_keeps_its_books() {
    const DAY_MS: u64 = 86_400_000;
    for paths in 1..=4 {
        let (mut session, mut moved) = (Session::default(), Counters::default());
        for day in 0..365 {
            let at = |step: u64| Counters {
                up: step * 50 * MIB,
                down: if day == 0 { step * 80 * MIB } else { 0 },
            };
            for (step, path) in (0..12).flat_map(|step| (0..paths).map(move |path| (step, path))) {
                let at_ms = DAY_MS * (day + 1) + step * 1_800_000 + u64::from(path) * 700;
                let report =
                    Report { path: claims::Path(path), at_ms, counters: at(step), started: step == 0 };
                session.book(&report, DEFAULT_SKEW_MS);
            }
            moved = Counters { up: moved.up + at(11).up, down: moved.down + at(11).down };
        }
        assert_eq!(session.claimed(), moved, "{paths} paths");
    }
}

/// How a counter's books compare with the least that any story leaves: less, equal or more. `None`: the
/// oracle has no end.
fn against_the_least(claimed: u64, reports: &[Report], counter: fn(&Report) -> u64) -> Option<Ordering> {
    let said = |report: &Report| Said {
        path: report.path.0,
        at_ms: report.at_ms,
        counter: counter(report),
        started: report.started,
    };
    let oracle = Oracle::of(&reports.iter().map(said).collect::<Vec<_>>());
    Some(match oracle.explains(claimed)? {
        false => Ordering::Less,
        true if claimed > 0 && oracle.explains(claimed - 1)? => Ordering::Greater,
        true => Ordering::Equal,
    })
}

/// What clients miss is open in what they said: nobody who knows all of it could claim more. But for clients
/// that restart all the time, for which the books' search ends too early (its bound is in `search.rs`).
#[test]
fn the_books_are_the_least_of_all_stories_that_explain_the_reports() {
    for (life, most_less) in [(USUAL, 1), (SLOW, 1), (HARSH, 5), (HARSH_AND_SLOW, 20)] {
        let (mut endless, mut less) = (0_u64, 0);
        for seed in 0..clients(10) {
            let Story { reports, .. } = client(seed, life);
            let claimed = booked(&reports).claimed();
            let up = against_the_least(claimed.up, &reports, |report| report.counters.up);
            let down = against_the_least(claimed.down, &reports, |report| report.counters.down);
            assert!(![up, down].contains(&Some(Ordering::Greater)), "seed {seed}: {life:?}");
            endless += u64::from(up.is_none() || down.is_none());
            less += u64::from([up, down].contains(&Some(Ordering::Less)));
        }
        println!("{less} of {} have less, {endless} endless: {life:?}", clients(10));
        // At least one, so that few clients decide nothing.
        let most = (clients(10) * most_less / 1000).max(1);
        assert!(less <= most && endless <= most, "{less}, {endless}: {life:?}");
    }
}
