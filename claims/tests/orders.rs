//! Every short history of a client, booked in every order that trackers can book it in. A history is what the
//! client did: on which path it announced, when it paused and resumed, what was late, which answer was lost.
//! `CLAIMS_REPORTS=7` plays the long ones, in half an hour.

#![allow(clippy::unwrap_used, missing_docs)]

use claims::{Counters, DEFAULT_SKEW_MS, Path, Report, Session};

const PATHS: usize = 3;
const MOST_RESTARTS: usize = 2;
/// Between two announces of a client, in milliseconds: those of one run overlap when one is late.
const STEP_MS: u64 = 40_000;
/// How late a late report is: within the skew, behind the next two or so.
const LATE_MS: u64 = 100_000;
/// What a client moves between two announces.
const STEP_BYTES: u64 = 3 << 20;

/// One announce of a history.
#[derive(Debug, Clone, Copy)]
struct Step {
    path: usize,
    /// The client paused and resumed before it.
    resumed: bool,
    late: bool,
    /// Its answer was lost, so the path's next announce says `started` again where this one did.
    unanswered: bool,
}

/// Digits of a number, so that counting goes through all histories of a length.
fn history(mut number: u64, length: usize) -> Option<Vec<Step>> {
    let mut digit = |base: u64| {
        let digit = number % base;
        number /= base;
        digit
    };
    let steps: Vec<Step> = (0..length)
        .map(|_| Step {
            path: usize::try_from(digit(PATHS as u64)).unwrap(),
            resumed: digit(2) == 1,
            late: digit(2) == 1,
            unanswered: digit(2) == 1,
        })
        .collect();
    let restarts = steps.iter().filter(|step| step.resumed).count();
    (first_uses_ascend(&steps) && restarts <= MOST_RESTARTS && !steps[0].resumed).then_some(steps)
}

/// Paths have no names: the first that is used is the first, and so on.
fn first_uses_ascend(steps: &[Step]) -> bool {
    let mut next = 0;
    steps.iter().all(|step| {
        let is_known_or_next = step.path <= next;
        next = next.max(step.path + 1);
        is_known_or_next
    })
}

/// What reaches the trackers, in the order of arrival, and what was really moved. `None` for a client that
/// announces on a path where it still waits for an answer, which no client does.
fn told(steps: &[Step]) -> Option<(Vec<Told>, u64)> {
    let (mut reports, mut moved, mut run_moved) = (Vec::<Told>::new(), 0, 0);
    let (mut begun, mut arrived) = ([false; PATHS], [0_u64; PATHS]);
    let mut counter = 0;
    for (number, step) in (0_u64..).zip(steps) {
        if step.resumed {
            moved += run_moved;
            (counter, run_moved, begun) = (0, 0, [false; PATHS]);
        }
        let sent = 1_000_000 + number * STEP_MS;
        if sent <= arrived[step.path] {
            return None;
        }
        let at_ms = sent + if step.late { LATE_MS } else { 50 };
        arrived[step.path] = at_ms;
        let report = Report {
            path: Path(u32::try_from(step.path).unwrap()),
            at_ms,
            counters: Counters { up: counter, down: 0 },
            started: !begun[step.path],
        };
        reports.push((report, !step.unanswered));
        begun[step.path] = begun[step.path] || !step.unanswered;
        run_moved = run_moved.max(counter);
        counter += STEP_BYTES + number;
    }
    reports.sort_by_key(|(report, _)| report.at_ms);
    Some((reports, moved + run_moved))
}

/// A report, and whether its answer came.
type Told = (Report, bool);

/// Calls `book` with every order in which what was answered is booked before the path's next. What was given up
/// may come at any later time: it waited for a look-up, and the client went on.
fn each_order(left: &mut Vec<Told>, order: &mut Vec<Report>, book: &mut dyn FnMut(&[Report])) {
    if left.is_empty() {
        return book(order);
    }
    for place in 0..left.len() {
        let told = left[place];
        let must_wait = |earlier: &Told| earlier.1 && earlier.0.path == told.0.path;
        if left[..place].iter().any(must_wait) {
            continue;
        }
        left.remove(place);
        order.push(told.0);
        each_order(left, order, book);
        order.pop();
        left.insert(place, told);
    }
}

fn booked(order: &[Report]) -> u64 {
    let mut session = Session::default();
    order.iter().map(|report| session.book(report, DEFAULT_SKEW_MS).up).sum()
}

#[test]
fn no_order_of_booking_changes_the_books_or_exceeds_the_truth() {
    let longest = std::env::var("CLAIMS_REPORTS").map_or(4, |length| length.parse().unwrap());
    let (mut histories, mut orders) = (0_u64, 0_u64);
    for length in 1..=longest {
        let numbers = (PATHS as u64 * 8).pow(u32::try_from(length).unwrap());
        for steps in (0..numbers).filter_map(|number| history(number, length)) {
            let Some((mut reports, moved)) = told(&steps) else { continue };
            let expected = booked(&reports.iter().map(|(report, _)| *report).collect::<Vec<_>>());
            assert!(expected <= moved, "{expected} of {moved}: {steps:#?} {reports:#?}");
            each_order(&mut reports, &mut Vec::new(), &mut |order| {
                orders += 1;
                assert_eq!(booked(order), expected, "of {moved}: {order:#?}");
            });
            histories += 1;
        }
    }
    println!("{histories} histories of up to {longest} announces in {orders} orders");
}
