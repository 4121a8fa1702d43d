//! A client as it is seen from its own side: it pauses and resumes, announces over several paths with delays
//! and losses, and knows what it has moved. Written after what libtorrent does: one announce at a time on
//! each path, `started` until it is answered, counters from zero in each run under the same peer id,
//! `stopped` at the end on each path that had an answer, the next run a second to an hour later.

use claims::{Counters, Path, Report};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// How a client lives, and how its network treats it.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// What a path's delay is drawn from, in milliseconds.
    pub lags_ms: &'static [u64],
    /// Announces that never arrive, of a hundred.
    pub lost_percent: f64,
    /// Answers that never arrive, of a hundred: the report was heard, and the client says it again.
    pub unanswered_percent: f64,
    /// What the number of its runs is drawn from.
    pub runs: &'static [u32],
    /// What there is to download.
    pub sizes: &'static [u64],
    /// Whether a `completed` may be told a little higher than what is said afterwards.
    pub rounds_up: bool,
}

const UP_TO_3_S: &[u64] = &[50, 500, 3000];
const UP_TO_40_S: &[u64] = &[50, 500, 3000, 10_000, 40_000];

/// The lives that the rule was first measured with: one counter, and one announce of twenty is lost.
pub const USUAL: Life = Life {
    lags_ms: UP_TO_3_S,
    lost_percent: 5.0,
    unanswered_percent: 0.0,
    runs: &[1, 1, 2, 3],
    sizes: &[0],
    rounds_up: false,
};
/// The same on slow networks.
pub const SLOW: Life = Life { lags_ms: UP_TO_40_S, ..USUAL };
/// Many restarts, and downloads that are over before a path has said `started`.
pub const HARSH: Life = Life {
    runs: &[1, 2, 3, 4, 5],
    sizes: &[1 << 22, 1 << 24, 1 << 26, 1 << 32, u64::MAX >> 8],
    unanswered_percent: 5.0,
    rounds_up: true,
    ..USUAL
};
/// The same on slow networks.
pub const HARSH_AND_SLOW: Life = Life { lags_ms: UP_TO_40_S, ..HARSH };
/// Forever pausing and resuming.
pub const RESTLESS: Life = Life { lags_ms: &[50, 3000, 40_000], runs: &[4, 8, 16], ..USUAL };

/// Downloads now and then, seeds, and comes back again and again.
pub const RETURNING: Life = Life { runs: &[8, 16, 24], sizes: &[0, 0, 0, 1 << 26], ..HARSH_AND_SLOW };

/// What reached the trackers, and what was really moved.
#[derive(Debug)]
pub struct Story {
    /// In the order of arrival.
    pub reports: Vec<Report>,
    /// The bytes of all runs, each up to the highest counter that reached a tracker.
    pub moved: Counters,
    /// The first report's counters: the baseline, which nobody is credited.
    pub baseline: Counters,
    /// How many paths it used.
    pub paths: usize,
    /// Those reports whose answers never arrived.
    pub given_up: Vec<Report>,
}

/// What a path does when nothing delays it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Start,
    Go,
    Complete,
    Stop,
}

/// By how much a `completed` is too high.
const ROUNDED_UP: u64 = 1 << 19;

struct Run {
    began: u64,
    ends: u64,
    /// Bytes a millisecond.
    speed_up: u64,
    speed_down: u64,
    /// What there is to download.
    size: u64,
    rounds_up: bool,
}

impl Run {
    fn counters_at(&self, now: u64) -> Counters {
        let lived = now.min(self.ends) - self.began.min(now);
        Counters { up: self.speed_up * lived, down: (self.speed_down * lived).min(self.size) }
    }

    fn told_at(&self, now: u64, completed: bool) -> Counters {
        let Counters { up, down } = self.counters_at(now);
        let more = if self.rounds_up && completed { ROUNDED_UP } else { 0 };
        Counters { up, down: down + more }
    }
}

/// Draws a client.
pub fn client(seed: u64, life: Life) -> Story {
    let mut rng = SmallRng::seed_from_u64(seed);
    let paths = *[1, 2, 2, 3, 4].choose(&mut rng).unwrap();
    let lags: Vec<u64> = (0..paths).map(|_| *life.lags_ms.choose(&mut rng).unwrap()).collect();
    let mut free_at = vec![0; paths];
    let mut given_up = Vec::new();
    let (mut now, mut reports, mut moved) = (1_000_000, Vec::new(), Counters::default());
    for _ in 0..*life.runs.choose(&mut rng).unwrap() {
        let run = draw_run(&mut rng, now, life);
        let said = announces(&mut rng, &run, (&lags, life), &mut free_at);
        let highest = |of: fn(&Report) -> u64| said.iter().map(|(report, _)| of(report)).max().unwrap_or(0);
        moved.up += highest(|report| report.counters.up);
        moved.down += highest(|report| report.counters.down);
        given_up.extend(said.iter().filter(|(_, answered)| !answered).map(|(report, _)| *report));
        reports.extend(said.iter().map(|(report, _)| *report));
        now = run.ends + [1000, 5000, 200_000, 4_000_000].choose(&mut rng).unwrap();
    }
    reports.sort_by_key(|report: &Report| (report.at_ms, report.path));
    let baseline = reports.first().map(|first| first.counters).unwrap_or_default();
    Story { reports, moved, baseline, paths, given_up }
}

fn draw_run(rng: &mut SmallRng, began: u64, life: Life) -> Run {
    let length = [2000, 8000, 60_000, 600_000, 7_200_000].choose(rng).unwrap();
    let speed = |rng: &mut SmallRng| *[0, 10, 1000, 20_000].choose(rng).unwrap();
    Run {
        began,
        ends: began + length,
        speed_up: speed(rng),
        speed_down: speed(rng),
        size: *life.sizes.choose(rng).unwrap(),
        rounds_up: life.rounds_up && rng.random_bool(0.5),
    }
}

/// What the client would announce if nothing were in the way.
fn wishes(rng: &mut SmallRng, run: &Run, paths: usize) -> Vec<(u64, Wish, usize)> {
    let mut wishes = Vec::new();
    for path in 0..paths {
        wishes.push((run.began, Wish::Start, path));
        let mut next = run.began + rng.random_range(60_000..1_800_000);
        while next < run.ends {
            wishes.push((next, Wish::Go, path));
            next += rng.random_range(60_000..1_800_000);
        }
        if rng.random_bool(0.5) {
            let wish = if rng.random_bool(0.5) { Wish::Go } else { Wish::Complete };
            wishes.push((rng.random_range(run.began..run.ends), wish, path));
        }
        wishes.push((run.ends, Wish::Stop, path));
    }
    wishes.sort();
    wishes
}

/// What arrives of it, and whether it is answered.
fn announces(
    rng: &mut SmallRng,
    run: &Run,
    (lags, life): (&[u64], Life),
    free_at: &mut [u64],
) -> Vec<(Report, bool)> {
    let (mut answered, mut said) = (vec![false; lags.len()], Vec::new());
    for (wanted, wish, path) in wishes(rng, run, lags.len()) {
        let sent = wanted.max(free_at[path]);
        let too_late = wish != Wish::Stop && sent > run.ends;
        if too_late || (wish == Wish::Stop && !answered[path]) {
            continue;
        }
        if rng.random_bool(life.lost_percent / 100.0) {
            free_at[path] = sent + 30_000;
            continue;
        }
        let arrived = sent + lags[path] * rng.random_range(20..150) / 100;
        free_at[path] = arrived + 10;
        let report = Report {
            path: Path(u32::try_from(path).unwrap()),
            at_ms: arrived,
            counters: run.told_at(sent, answered[path] && wish == Wish::Complete),
            started: !answered[path],
        };
        let is_answered = !rng.random_bool(life.unanswered_percent / 100.0);
        said.push((report, is_answered));
        answered[path] |= is_answered;
    }
    said
}
