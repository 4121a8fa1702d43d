//! The least total of all stories, found by trying them: from what a client does, and not from how the books
//! find it. It keeps every report, gives nothing up and knows no better way than to look.
//!
//! A stretch is what a path says from a `started` or a fall to the next: one run's. A story gives each
//! stretch to a run. Runs follow each other, but for a skew; a path's stretches are of ever later runs, of
//! another one behind a fall; what a path says is not below what another of its run said a skew before; and
//! a run that is not the first begins with a `started`, from zero, or with a fall. (Where a run begins with a
//! fall, the oracle lets all of them count from their lowest: no client here falls without a `started`.)

use std::cmp::Ordering;

/// What a report says of one counter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    pub(crate) path: u32,
    pub(crate) at_ms: u64,
    pub(crate) counter: u64,
    pub(crate) started: bool,
}

const SKEW_MS: u64 = 120_000;
/// A fall by less is a correction, unless the client says `started`.
const WOBBLE: u64 = 1 << 20;
/// Partial stories: some seconds.
const MOST_TRIED: usize = 20_000;

struct Stretch {
    said: Vec<Said>,
    fell: bool,
}

impl Stretch {
    fn first(&self) -> Said {
        self.said[0]
    }

    fn last_at(&self) -> u64 {
        self.said[self.said.len() - 1].at_ms
    }

    fn highest(&self) -> u64 {
        self.said.iter().map(|said| said.counter).max().unwrap()
    }

    /// Whether both can be of one run.
    fn agrees(&self, other: &Self) -> bool {
        let denies = |early: &Said, late: &Said| {
            early.at_ms + SKEW_MS < late.at_ms && late.counter + WOBBLE <= early.counter
        };
        let is_one_path = self.first().path == other.first().path;
        is_one_path
            || !self.said.iter().any(|one| other.said.iter().any(|two| denies(one, two) || denies(two, one)))
    }
}

/// In the order in which they begin. The reports are in order of arrival.
fn stretches(reports: &[Said]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for said in reports {
        let last = stretches.iter_mut().rfind(|stretch| stretch.first().path == said.path);
        let below = last.as_ref().map_or(0, |last| last.highest().saturating_sub(said.counter));
        let fell = below >= WOBBLE || said.started && below > 0;
        match last {
            Some(last) if !fell && !said.started => last.said.push(*said),
            _ => stretches.push(Stretch { said: vec![*said], fell }),
        }
    }
    stretches
}

/// All that can be told with the first stretches: runs in their order, each with its stretches.
type Story = Vec<Vec<usize>>;

/// A client's stretches, and which of them can be of one run, or of two in this order.
pub(crate) struct Oracle {
    stretches: Vec<Stretch>,
    agree: Vec<Vec<bool>>,
    before: Vec<Vec<bool>>,
    /// Every fall is a `started`, so every run but the first is from zero.
    from_zero: bool,
}

impl Oracle {
    pub(crate) fn of(reports: &[Said]) -> Self {
        let stretches = stretches(reports);
        let is_one_path = |one: &Stretch, two: &Stretch| one.first().path == two.first().path;
        let pairs = |holds: &dyn Fn(usize, usize) -> bool| -> Vec<Vec<bool>> {
            let row = |one| (0..stretches.len()).map(|two| holds(one, two)).collect();
            (0..stretches.len()).map(row).collect()
        };
        // Of one path a fall is between two of one run at least where one has fallen since the other.
        let falls = |one: usize, two: usize| {
            let path = stretches[one].first().path;
            stretches[one.min(two) + 1..=one.max(two)].iter().any(|s| s.fell && s.first().path == path)
        };
        let agree = pairs(&|one, two| match is_one_path(&stretches[one], &stretches[two]) {
            true => !falls(one, two),
            false => stretches[one].agrees(&stretches[two]),
        });
        let before = pairs(&|one, two| {
            let (early, late) = (&stretches[one], &stretches[two]);
            let in_order = !is_one_path(early, late) || one < two;
            in_order && early.last_at() <= late.first().at_ms + SKEW_MS
        });
        let from_zero = stretches.iter().all(|stretch| stretch.first().started || !stretch.fell);
        Self { stretches, agree, before, from_zero }
    }

    /// What a story's runs have moved at least, whatever it gives to them yet.
    fn total(&self, story: &Story) -> u64 {
        let moved = |(place, run): (usize, &Vec<usize>)| {
            let highest = run.iter().map(|at| self.stretches[*at].highest()).max().unwrap();
            let lowest = run.iter().map(|at| self.stretches[*at].first().counter).min().unwrap();
            if place > 0 && self.from_zero { highest } else { highest - lowest }
        };
        story.iter().enumerate().map(moved).sum()
    }

    /// Whether a stretch can stand in that run of the story.
    fn fits(&self, story: &Story, at: usize, stretch: usize) -> bool {
        story.iter().enumerate().all(|(run, members)| {
            members.iter().all(|other| match run.cmp(&at) {
                Ordering::Less => self.before[*other][stretch],
                Ordering::Equal => *other == stretch || self.agree[*other][stretch],
                Ordering::Greater => self.before[stretch][*other],
            })
        })
    }

    /// All stories of at most this total that also give this stretch to a run.
    fn continuations(&self, story: &Story, next: usize, most: u64) -> Vec<Story> {
        let begun = (0..=story.len()).map(|run| {
            let mut story = story.clone();
            story.insert(run, vec![next]);
            (run, story)
        });
        let joined = (0..story.len()).map(|run| {
            let mut story = story.clone();
            story[run].push(next);
            (run, story)
        });
        let all = begun.chain(joined).filter(|(run, story)| self.fits(story, *run, next));
        all.map(|(_, story)| story).filter(|story| self.total(story) <= most).collect()
    }

    /// Whether each run begins as runs do.
    fn begins_well(&self, story: &Story) -> bool {
        story.iter().all(|run| {
            let earliest = *run.iter().min().unwrap();
            earliest == 0 || self.stretches[earliest].first().started || self.stretches[earliest].fell
        })
    }

    /// Whether there is a story of at most this total. The stretch that has the fewest places comes next: an
    /// order of trying that leaves nothing out. `None` when that takes too long.
    pub(crate) fn explains(&self, most: u64) -> Option<bool> {
        let mut open = vec![(Story::new(), (0..self.stretches.len()).collect::<Vec<_>>())];
        for _ in 0..MOST_TRIED {
            let Some((story, mut left)) = open.pop() else { return Some(false) };
            if left.is_empty() {
                if self.begins_well(&story) {
                    return Some(true);
                }
                continue;
            }
            let of = |stretch: &usize| self.continuations(&story, *stretch, most);
            let all = left.iter().map(of).enumerate();
            let (place, next) = all.min_by_key(|(_, stories)| stories.len()).unwrap();
            left.remove(place);
            open.extend(next.into_iter().map(|story| (story, left.clone())));
        }
        None
    }
}
