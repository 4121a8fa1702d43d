//! Every short history of a client, booked in every order that trackers can book it in. A history is what the
//! client did: on which path it announced, when it paused and resumed and how fast it was then, what was late
//! or lost, which answer was lost.
//!
//! Orders are not played one by one. A history without one of its reports is a history, too: one where that
//! report is lost. So when for each report that can be the last to be booked the books are the same, no order
//! matters, by induction over the number of reports. A spool and a delay are an order; what arrives twice is
//! booked again.
//!
//! `CLAIMS_REPORTS=6 cargo test --release -p claims --test orders -- --nocapture` plays 1,010,160 histories,
//! with 4.7 million ways to choose the last to be booked, in two minutes: none differs. With 7, where fast
//! and slow runs take turns, they are 3,477,948 with 18.2 million, half an hour long: none differs, and
//! nobody is over. `CLAIMS_PARTS=8 CLAIMS_PART=0` to 7 play an eighth of these each.

#![allow(clippy::unwrap_used, missing_docs)]

use claims::{Counters, DEFAULT_SKEW_MS, Path, Report, Session};

const PATHS: usize = 3;
const MOST_RESTARTS: usize = 2;
const BEGAN_MS: u64 = 1_000_000;
/// Between two announces of a client, in milliseconds: those of one run overlap when one is late.
const STEP_MS: u64 = 40_000;
/// How late a late report is: within the skew, behind the next two or so.
const LATE_MS: u64 = 100_000;
/// What a client moves between two announces: a fast run is at once above what a slow one ended with.
const SPEEDS: [u64; 2] = [3 << 20, 25 << 20];
/// What there is to download.
const SIZE: u64 = 40 << 20;

/// What a client does at its next step.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// It pauses and resumes, and is this fast since.
    resumes: Option<u64>,
    /// What reaches a tracker.
    says: Option<Saying>,
}

#[derive(Debug, Clone, Copy)]
struct Saying {
    path: usize,
    late: bool,
    /// Whether the answer to what the path said before came. Otherwise the client gave that up: it says
    /// `started` again where that did, and the report that it gave up may be booked at any time.
    answered: bool,
}

/// A report that reached a tracker.
#[derive(Debug, Clone, Copy)]
struct Told {
    report: Report,
    run: usize,
    /// The reports that were answered on its path, as bits of their places: they are booked before it.
    behind: usize,
}

/// A client, what it has said, and the books.
#[derive(Debug, Clone)]
struct History {
    now: u64,
    told: Vec<Told>,
    /// How much a run moves from one step to the next, and when it began.
    runs: Vec<(u64, u64)>,
    books: Session,
    /// The books without one of the reports, where that can be the last to be booked.
    without: Vec<Option<Session>>,
    /// Fast and slow runs take turns: the longest histories are too many otherwise.
    takes_turns: bool,
}

/// Which of the histories are played: those whose beginning, of so many steps, has this rest by the number of
/// the parts. A run of all parts plays everything.
#[derive(Debug, Clone, Copy)]
struct Part {
    number: u64,
    of: u64,
}

/// Steps of a beginning.
const BEGINNING: u64 = 3;

#[derive(Debug, Default)]
struct Tally {
    /// Beginnings that were seen.
    beginnings: u64,
    histories: u64,
    /// Last reports of these.
    lasts: u64,
    /// How many of them lead to other claims, and by how many bytes at most.
    differ: u64,
    most_apart: u64,
}

impl History {
    fn of_nothing(speed: u64, takes_turns: bool) -> Self {
        let runs = vec![(speed, BEGAN_MS)];
        Self {
            now: BEGAN_MS,
            told: Vec::new(),
            runs,
            books: Session::default(),
            without: Vec::new(),
            takes_turns,
        }
    }

    fn last_of(&self, path: usize) -> Option<usize> {
        self.told.iter().rposition(|told| told.report.path == name(path))
    }

    fn run(&self) -> usize {
        self.runs.len() - 1
    }

    /// The reports that were answered before the path's next, and whether the path has begun this run.
    fn behind(&self, path: usize, answered: bool) -> (usize, bool) {
        let Some(last) = self.last_of(path) else { return (0, false) };
        let behind = self.told[last].behind | if answered { 1 << last } else { 0 };
        (behind, places(behind).any(|place| self.told[place].run == self.run()))
    }

    /// What the client can do next, and what can become of it.
    fn steps(&self) -> Vec<Step> {
        let can_resume = !self.told.is_empty() && self.runs.len() <= MOST_RESTARTS;
        let present = self.runs[self.run()].0;
        let speeds = SPEEDS.into_iter().filter(|speed| !self.takes_turns || *speed != present);
        let resumes: Vec<_> = speeds.filter(|_| can_resume).map(Some).chain([None]).collect();
        let used = (0..PATHS).filter(|path| self.last_of(*path).is_some()).count();
        // Paths have no names: the first that is used is the first, and so on.
        let paths = 0..PATHS.min(used + 1);
        let all = paths.flat_map(|path| [(path, true), (path, false)]);
        let all = all.flat_map(|(path, late)| [true, false].map(|answered| Saying { path, late, answered }));
        let says = all.map(Some).chain([None]);
        let steps = says.flat_map(|says| resumes.iter().map(move |resumes| Step { resumes: *resumes, says }));
        steps.collect()
    }

    /// The history that goes on with the step. `None` for one that no client has, or that another stands for.
    fn and(&self, step: Step) -> Option<Self> {
        let mut next = Self { now: self.now + STEP_MS, ..self.clone() };
        next.runs.extend(step.resumes.map(|speed| (speed, self.now)));
        let Some(saying) = step.says else { return (!self.told.is_empty()).then_some(next) };
        let told = next.told_by(saying)?;
        next.hear(told);
        Some(next)
    }

    /// One announce at a time is under way on a path.
    fn told_by(&self, Saying { path, late, answered }: Saying) -> Option<Told> {
        let sent = self.now - STEP_MS;
        let is_waiting = self.last_of(path).is_some_and(|last| self.told[last].report.at_ms >= sent);
        let (behind, has_begun) = self.behind(path, answered);
        // An answer that changes nothing that is said only forbids orders.
        let is_idle = answered && has_begun == self.behind(path, false).1;
        let (speed, began) = self.runs[self.run()];
        let moved = speed * ((sent - began) / STEP_MS);
        let report = Report {
            path: name(path),
            at_ms: sent + if late { LATE_MS } else { 50 },
            counters: Counters { up: moved, down: moved.min(SIZE) },
            started: !has_begun,
        };
        (!is_waiting && !is_idle).then_some(Told { report, run: self.run(), behind })
    }

    fn hear(&mut self, told: Told) {
        for place in places(told.behind) {
            self.without[place] = None;
        }
        self.without.push(Some(self.books.clone()));
        let newest = self.told.len();
        for without in self.without[..newest].iter_mut().flatten() {
            without.book(&told.report, DEFAULT_SKEW_MS);
        }
        self.books.book(&told.report, DEFAULT_SKEW_MS);
        self.told.push(told);
    }

    /// Holds the books to every last report, to the truth, and to all being told again.
    fn check(&self, tally: &mut Tally) {
        self.check_truth(&self.books);
        for (told, without) in self.told.iter().zip(&self.without) {
            assert_eq!(booked(&self.books, &told.report), self.books, "{:?} again: {self:#?}", told.report);
            if let Some(without) = without {
                self.check_last(&booked(without, &told.report), tally);
            }
        }
        tally.histories += 1;
    }

    fn check_truth(&self, books: &Session) {
        let (claimed, truth) = (books.claimed(), self.truth());
        let is_true = claimed.up <= truth.up && claimed.down <= truth.down;
        assert!(is_true, "{claimed:?} of {truth:?}: {self:#?}");
    }

    /// What a point between a segment's ends forbade is forgotten with it: an order in which it was known
    /// when it mattered has claimed more, and nothing else may differ.
    fn check_last(&self, books: &Session, tally: &mut Tally) {
        tally.lasts += 1;
        if *books != self.books {
            assert_eq!(but_for_claimed(books), but_for_claimed(&self.books), "{self:#?}");
            self.check_truth(books);
            let (one, other) = (books.claimed(), self.books.claimed());
            let apart = one.up.abs_diff(other.up).max(one.down.abs_diff(other.down));
            tally.differ += 1;
            tally.most_apart = tally.most_apart.max(apart);
        }
    }

    /// Of each run the highest counters that were told.
    fn truth(&self) -> Counters {
        let mut highest = [Counters::default(); MOST_RESTARTS + 1];
        for told in &self.told {
            let run = &mut highest[told.run];
            run.up = run.up.max(told.report.counters.up);
            run.down = run.down.max(told.report.counters.down);
        }
        let total = |of: fn(&Counters) -> u64| highest.iter().map(of).sum();
        Counters { up: total(|run| run.up), down: total(|run| run.down) }
    }

    /// Whether this is the beginning of histories of another part.
    fn is_of_another(&self, part: Part, tally: &mut Tally) -> bool {
        let is_beginning = self.now == BEGAN_MS + BEGINNING * STEP_MS;
        tally.beginnings += u64::from(is_beginning);
        is_beginning && tally.beginnings % part.of != part.number
    }

    /// Plays everything that may follow in so many steps.
    fn play(&self, steps: u32, part: Part, tally: &mut Tally) {
        if self.is_of_another(part, tally) {
            return;
        }
        for step in self.steps().into_iter().filter(|step| steps > 1 || step.says.is_some()) {
            let Some(next) = self.and(step) else { continue };
            if step.says.is_some() {
                next.check(tally);
            }
            if steps > 1 {
                next.play(steps - 1, part, tally);
            }
        }
    }
}

/// All that further bookings depend on, but for what they need not claim any more.
fn but_for_claimed(books: &Session) -> String {
    let all = format!("{books:?}");
    all.rsplit_once("claimed:").unwrap().0.to_owned()
}

fn booked(books: &Session, report: &Report) -> Session {
    let mut books = books.clone();
    books.book(report, DEFAULT_SKEW_MS);
    books
}

fn name(path: usize) -> Path {
    Path(u32::try_from(path).unwrap())
}

/// The places of a set's bits.
fn places(set: usize) -> impl Iterator<Item = usize> {
    (0..usize::BITS as usize).filter(move |place| set >> place & 1 == 1)
}

#[test]
fn no_order_of_booking_changes_the_books_or_exceeds_the_truth() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |told| told.parse().unwrap());
    let longest = u32::try_from(number("CLAIMS_REPORTS", 4)).unwrap();
    let part = Part { number: number("CLAIMS_PART", 0), of: number("CLAIMS_PARTS", 1) };
    let mut tally = Tally::default();
    for speed in SPEEDS {
        History::of_nothing(speed, longest > 6).play(longest, part, &mut tally);
    }
    println!("up to {longest} reports: {tally:?}");
    assert!(tally.histories > 100 && tally.differ == 0, "{tally:?}");
}
