//! Reports of one path that are booked in another order than they arrived in, two names of one session that
//! are folded, and what paths show about presence.

#![allow(clippy::unwrap_used, missing_docs)]

use claims::{Counters, DEFAULT_SKEW_MS, Path, Report, Session};

const MIB: u64 = 1 << 20;
const FAST: u32 = 1;
const SLOW: u32 = 2;

fn said(path: u32, second: u64, up_mib: u64, started: bool) -> Report {
    Report {
        path: Path(path),
        at_ms: 1_000_000 + second * 1000,
        counters: Counters { up: up_mib * MIB, down: 0 },
        started,
    }
}

fn started(path: u32, second: u64, up_mib: u64) -> Report {
    said(path, second, up_mib, true)
}

fn plain(path: u32, second: u64, up_mib: u64) -> Report {
    said(path, second, up_mib, false)
}

fn booked(reports: &[Report]) -> Session {
    let mut session = Session::default();
    for report in reports {
        session.book(report, DEFAULT_SKEW_MS);
    }
    session
}

fn claimed_mib(session: &Session) -> u64 {
    session.claimed().up / MIB
}

/// Every order of a few reports.
fn orders(reports: &[Report]) -> Vec<Vec<Report>> {
    if reports.is_empty() {
        return vec![Vec::new()];
    }
    let with_first = |at: usize| {
        let mut rest = reports.to_vec();
        let first = rest.remove(at);
        orders(&rest).into_iter().map(move |rest| [vec![first], rest].concat())
    };
    (0..reports.len()).flat_map(with_first).collect()
}

#[test]
fn reports_of_one_path_are_sorted_in_where_they_arrived() {
    let history = [
        started(FAST, 0, 0),
        plain(FAST, 600, 5),
        plain(FAST, 1200, 9),
        started(FAST, 1800, 0),
        plain(FAST, 2400, 4),
    ];
    let in_order = booked(&history);
    assert_eq!(claimed_mib(&in_order), 13);
    for order in orders(&history) {
        assert!(claimed_mib(&booked(&order)) <= 13, "{order:?}");
        let place = |report: &Report| order.iter().position(|other| other == report).unwrap();
        if place(&history[3]) < place(&history[4]) || place(&history[2]) > place(&history[4]) {
            assert_eq!(claimed_mib(&booked(&order)), 13, "{order:?}");
        }
    }
}

#[test]
fn a_started_that_was_given_up_and_is_booked_late_changes_nothing_else() {
    let history = [
        started(FAST, 0, 0),
        plain(FAST, 60, 7),
        started(FAST, 100, 0),
        started(FAST, 140, 3),
        plain(FAST, 200, 8),
    ];
    for order in orders(&history) {
        assert_eq!(booked(&order), booked(&history), "{order:?}");
    }
    assert_eq!(claimed_mib(&booked(&history)), 15);
}

#[test]
fn a_report_that_is_booked_twice_is_booked_once() {
    let history = [
        started(FAST, 0, 0),
        plain(FAST, 60, 7),
        started(SLOW, 63, 0),
        plain(FAST, 100, 8),
        started(FAST, 100, 0),
        plain(FAST, 200, 8),
        plain(SLOW, 205, 8),
    ];
    let expected = booked(&history);
    for again in history {
        let mut session = expected.clone();
        assert_eq!(session.book(&again, DEFAULT_SKEW_MS), Counters::default());
        assert_eq!(session, expected, "{again:?}");
    }
}

#[test]
fn two_reports_of_one_millisecond_are_both_taken() {
    let both = [plain(FAST, 0, 3), plain(FAST, 60, 7), started(FAST, 60, 0), plain(FAST, 90, 2)];
    assert_eq!(claimed_mib(&booked(&both)), 6);
    assert_eq!(claimed_mib(&booked(&[plain(FAST, 0, 3), plain(FAST, 60, 5), plain(FAST, 60, 7)])), 4);
}

#[test]
fn a_completed_that_was_a_little_high_is_told_from_a_new_run() {
    let kib = |path, second, up_kib: u64, started| Report {
        counters: Counters { up: up_kib << 10, down: 0 },
        ..said(path, second, 0, started)
    };
    let history = [
        kib(FAST, 0, 0, true),
        kib(FAST, 60, 9000, false),
        kib(FAST, 70, 8500, false),
        kib(FAST, 300, 8700, false),
    ];
    for order in orders(&history) {
        assert_eq!(booked(&order).claimed().up, 9000 << 10, "{order:?}");
    }
}

#[test]
fn a_first_started_counts_from_zero_where_it_is_trusted() {
    let mut session = Session::with_known_beginning();
    assert_eq!(session.book(&started(FAST, 0, 5), DEFAULT_SKEW_MS).up, 5 * MIB);
    let mut session = Session::with_known_beginning();
    assert_eq!(session.book(&plain(FAST, 0, 5), DEFAULT_SKEW_MS).up, 0);
}

#[test]
fn two_names_of_one_session_are_worth_what_one_name_is() {
    let old = [started(1, 0, 0), plain(1, 600, 50)];
    let new = [plain(2, 1200, 60), plain(2, 1800, 100)];
    let folded = booked(&old).fold(booked(&new), DEFAULT_SKEW_MS);
    assert_eq!(claimed_mib(&folded), 90);
    let mut folded_back = booked(&new).fold(booked(&old), DEFAULT_SKEW_MS);
    assert_eq!(folded, folded_back);
    // The 10 between the two names are claimed with the next report.
    assert_eq!(folded_back.book(&plain(2, 2400, 101), DEFAULT_SKEW_MS).up / MIB, 11);
}

#[test]
fn what_two_names_claimed_twice_is_worked_off() {
    let v1 = [started(1, 0, 0), plain(1, 600, 60)];
    let v2 = [started(2, 1, 0), plain(2, 601, 60)];
    let mut folded = booked(&v1).fold(booked(&v2), DEFAULT_SKEW_MS);
    assert_eq!(claimed_mib(&folded), 120);
    assert_eq!(folded.book(&plain(1, 1200, 110), DEFAULT_SKEW_MS).up, 0);
    assert_eq!(folded.book(&plain(2, 1201, 125), DEFAULT_SKEW_MS).up, 5 * MIB);
}

#[test]
fn names_that_share_a_path_are_merged_as_if_they_had_been_one() {
    let v1 = [started(1, 0, 0), plain(1, 600, 60), started(1, 700, 0), plain(1, 1300, 20)];
    let v2 = [started(1, 1, 0), plain(1, 601, 60), started(1, 701, 0), plain(1, 1301, 20)];
    let mut folded = booked(&v1).fold(booked(&v2), DEFAULT_SKEW_MS);
    assert_eq!(claimed_mib(&folded), 160);
    assert_eq!(folded.book(&plain(1, 1900, 101), DEFAULT_SKEW_MS).up, MIB);
}

/// Down 25 MiB in half a minute, paused for a second and resumed.
fn paused_and_resumed() -> [Report; 4] {
    [started(FAST, 0, 0), started(SLOW, 3, 0), plain(FAST, 30, 25), started(FAST, 31, 0)]
}

#[test]
fn a_late_stopped_of_a_slow_path_is_of_the_run_before() {
    let stopped = plain(SLOW, 33, 25);
    let session = booked(&[&paused_and_resumed()[..], &[stopped]].concat());
    assert!(session.is_of_an_earlier_run(Path(SLOW), DEFAULT_SKEW_MS));
    assert!(!session.is_of_an_earlier_run(Path(FAST), DEFAULT_SKEW_MS));
    assert_eq!(claimed_mib(&session), 25);
}

#[test]
fn a_path_that_has_begun_anew_too_is_not_of_the_run_before() {
    let both = [plain(SLOW, 33, 25), started(SLOW, 34, 1)];
    let session = booked(&[&paused_and_resumed()[..], &both].concat());
    assert!(!session.is_of_an_earlier_run(Path(SLOW), DEFAULT_SKEW_MS));
    assert!(!session.is_of_an_earlier_run(Path(FAST), DEFAULT_SKEW_MS));
}

#[test]
fn a_path_that_speaks_on_is_not_late_whatever_was_not_heard_of_it() {
    let session = booked(&[&paused_and_resumed()[..], &[plain(SLOW, 400, 30)]].concat());
    assert!(!session.is_of_an_earlier_run(Path(SLOW), DEFAULT_SKEW_MS));
}

#[test]
fn a_late_started_after_another_paths_completed_claims_nothing_and_is_of_the_same_run() {
    let mut session = booked(&[started(FAST, 0, 0), plain(FAST, 1, 16)]);
    assert_eq!(session.book(&started(SLOW, 3, 0), DEFAULT_SKEW_MS), Counters::default());
    assert!(!session.is_of_an_earlier_run(Path(SLOW), DEFAULT_SKEW_MS));
    assert_eq!(session.last_heard(Path(SLOW)), Some(1_001_000));
    assert_eq!((session.newest_at(), Session::default().last_heard(Path(SLOW))), (1_003_000, None));
}

const DAY: u64 = 24 * 3600;

/// A client whose address changes every day, and which restarts now and then: what it says and moves.
fn client_of_many_addresses(days: u32, restarts: &[u32]) -> (Vec<Report>, u64) {
    let (mut reports, mut moved, mut up) = (Vec::new(), 0, 0);
    for day in 0..days {
        let began = u64::from(day) * DAY;
        if restarts.contains(&day) {
            moved += up - 3;
            up = 0;
        }
        for hour in 0..24 {
            let is_start = hour == 0 && (day == 0 || restarts.contains(&day));
            reports.push(said(day, began + hour * 3600, up, is_start));
            up += 3;
        }
    }
    (reports, moved + up - 3)
}

#[test]
fn a_client_whose_address_changes_every_day_keeps_its_books() {
    for restarts in [&[][..], &[3, 50, 51, 130], &[10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]] {
        let (reports, moved) = client_of_many_addresses(200, restarts);
        let mut session = Session::default();
        for report in &reports {
            session.book(report, DEFAULT_SKEW_MS);
            assert!(session.paths().count() <= 17, "{report:?}");
        }
        assert_eq!(claimed_mib(&session), moved, "{restarts:?}");
    }
}

#[test]
fn a_snapshot_of_one_path_fits_beside_its_session_in_sixty_four_bytes() {
    let at = |path, hour: u64, is_start| Report {
        at_ms: 1_790_000_000_000 + hour * 3_600_000,
        counters: Counters { up: hour * 2_345_678_901, down: hour.min(2) * 3_456_789_012 },
        ..said(path, 0, 0, is_start)
    };
    let mut session = Session::default();
    let bytes = |session: &mut Session, path| {
        for hour in 0..12 {
            session.book(&at(path, hour, hour == 0), DEFAULT_SKEW_MS);
        }
        let mut bytes = Vec::new();
        session.encode(&mut bytes);
        assert_eq!(Session::decode(&bytes).as_ref(), Ok(&*session));
        bytes.len()
    };
    let (one, two) = (bytes(&mut session, 1), bytes(&mut session, 2));
    println!("{one} bytes with one path, {two} with two");
    assert!(one <= 44 && two <= 80, "{one}, {two}");
}

/// The client restarts and has another address since, both within a skew; nothing is lost or late.
fn restarted_behind_another_address() -> Vec<Report> {
    let before = [started(FAST, 0, 0), plain(FAST, 1800, 10), plain(FAST, 3600, 25)];
    let after = (1..8).map(|hour| plain(SLOW, 3610 + 1800 * hour, 10 * hour));
    before.into_iter().chain([started(SLOW, 3610, 0)]).chain(after).collect()
}

#[test]
fn a_restart_behind_another_address_stays_one_when_its_run_has_outgrown_the_last() {
    let history = restarted_behind_another_address();
    assert_eq!(claimed_mib(&booked(&history)), 25 + 70);
    for last in history {
        let others = restarted_behind_another_address().into_iter().filter(|report| *report != last);
        let order: Vec<Report> = others.chain([last]).collect();
        assert_eq!(claimed_mib(&booked(&order)), 25 + 70, "{last:?}");
    }
}

#[test]
fn a_name_that_redis_has_again_is_worth_what_was_folded_of_it() {
    let (old, more) =
        ([started(1, 0, 0), plain(1, 600, 50)], [started(1, 0, 0), plain(1, 600, 50), plain(1, 900, 70)]);
    let new = [started(2, 1, 0), plain(2, 601, 50)];
    let together = booked(&old).fold(booked(&new), DEFAULT_SKEW_MS);
    assert_eq!(claimed_mib(&together), 100);
    // Redis went back to before the fold, which is done again with what the recorder knows.
    let again = together.clone().fold(booked(&old), DEFAULT_SKEW_MS);
    assert_eq!(again, together);
    let mut renamed = booked(&more).fold(booked(&old), DEFAULT_SKEW_MS);
    assert_eq!(claimed_mib(&renamed), 70);
    assert_eq!(renamed.book(&plain(1, 1200, 90), DEFAULT_SKEW_MS).up, 20 * MIB);
}
