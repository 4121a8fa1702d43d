//! A client as it is seen from its own side: it pauses and resumes, announces over several paths with delays
//! and losses, and knows what it has moved. Written after what libtorrent does: one announce at a time on
//! each path, `started` until it is answered, counters from zero in each run under the same peer id,
//! `stopped` at the end on each path that had an answer, the next run a second to an hour later.

use claims::{Counters, Path, Report};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// How a client's network treats it.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// What a path's delay is drawn from, in milliseconds.
    pub lags_ms: &'static [u64],
    /// Announces that never arrive, of a hundred, at most.
    pub most_lost_percent: f64,
    /// What the number of its runs is drawn from.
    pub runs: &'static [u32],
}

pub const QUICK: Network = Network { lags_ms: &[50, 500, 3000], most_lost_percent: 5.0, runs: &[1, 1, 2, 3] };
pub const SLOW: Network =
    Network { lags_ms: &[50, 500, 3000, 10_000, 40_000], most_lost_percent: 5.0, runs: &[1, 1, 2, 3] };
/// Forever pausing and resuming.
pub const RESTLESS: Network =
    Network { lags_ms: &[50, 3000, 40_000], most_lost_percent: 5.0, runs: &[4, 8, 16] };

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
}

/// What a path does when nothing delays it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Start,
    Go,
    Stop,
}

struct Run {
    began: u64,
    ends: u64,
    /// Bytes a millisecond.
    speed_up: u64,
    speed_down: u64,
    /// What there is to download.
    size: u64,
}

impl Run {
    fn counters_at(&self, now: u64) -> Counters {
        let lived = now.min(self.ends) - self.began.min(now);
        Counters { up: self.speed_up * lived, down: (self.speed_down * lived).min(self.size) }
    }
}

/// Draws a client.
pub fn client(seed: u64, network: Network) -> Story {
    let mut rng = SmallRng::seed_from_u64(seed);
    let paths = *[1, 2, 2, 3, 4].choose(&mut rng).unwrap();
    let lags: Vec<u64> = (0..paths).map(|_| *network.lags_ms.choose(&mut rng).unwrap()).collect();
    let lost = rng.random_range(0.0..=network.most_lost_percent) / 100.0;
    let mut free_at = vec![0; paths];
    let (mut now, mut reports, mut moved) = (1_000_000, Vec::new(), Counters::default());
    for _ in 0..*network.runs.choose(&mut rng).unwrap() {
        let run = draw_run(&mut rng, now);
        let said = announces(&mut rng, &run, (&lags, lost), &mut free_at);
        let highest = |of: fn(&Report) -> u64| said.iter().map(of).max().unwrap_or(0);
        moved.up += highest(|report| report.counters.up);
        moved.down += highest(|report| report.counters.down);
        reports.extend(said);
        now = run.ends + [1000, 5000, 200_000, 4_000_000].choose(&mut rng).unwrap();
    }
    reports.sort_by_key(|report: &Report| (report.at_ms, report.path));
    let baseline = reports.first().map(|first| first.counters).unwrap_or_default();
    Story { reports, moved, baseline, paths }
}

fn draw_run(rng: &mut SmallRng, began: u64) -> Run {
    let length = [2000, 8000, 60_000, 600_000, 7_200_000].choose(rng).unwrap();
    let speed = |rng: &mut SmallRng| *[0, 10, 1000, 20_000].choose(rng).unwrap();
    Run {
        began,
        ends: began + length,
        speed_up: speed(rng),
        speed_down: speed(rng),
        size: *[1 << 26, 1 << 32, u64::MAX >> 8].choose(rng).unwrap(),
    }
}

fn announces(rng: &mut SmallRng, run: &Run, (lags, lost): (&[u64], f64), free_at: &mut [u64]) -> Vec<Report> {
    let mut wishes = Vec::new();
    for path in 0..lags.len() {
        wishes.push((run.began, Wish::Start, path));
        let mut next = run.began + rng.random_range(60_000..1_800_000);
        while next < run.ends {
            wishes.push((next, Wish::Go, path));
            next += rng.random_range(60_000..1_800_000);
        }
        if rng.random_bool(0.5) {
            wishes.push((rng.random_range(run.began..run.ends), Wish::Go, path));
        }
        wishes.push((run.ends, Wish::Stop, path));
    }
    wishes.sort();
    let (mut answered, mut said) = (vec![false; lags.len()], Vec::new());
    for (wanted, wish, path) in wishes {
        let sent = wanted.max(free_at[path]);
        let too_late = wish != Wish::Stop && sent > run.ends;
        if too_late || (wish == Wish::Stop && !answered[path]) {
            continue;
        }
        if rng.random_bool(lost) {
            free_at[path] = sent + 30_000;
            continue;
        }
        let arrived = sent + lags[path] * rng.random_range(20..150) / 100;
        free_at[path] = arrived + 10;
        said.push(Report {
            path: Path(u32::try_from(path).unwrap()),
            at_ms: arrived,
            counters: run.counters_at(sent),
            started: !answered[path],
        });
        answered[path] = true;
    }
    said
}
