//! The least story: of all ways to sort a session's segments into runs, one with the smallest total.
//!
//! Segments are placed one after the other in the order in which they began, best first (A*): a partial story
//! is judged by its total so far and by what the segments ahead must add to it at least. Two partial stories
//! whose open runs hold the same segments have the same future, so only the smaller one is gone on with.
//! Usually there is one segment and nothing to search. A search that takes too long ends with the bound that
//! it has reached: less than the least is claimed too late, never too much.
use std::cmp::{Ordering, Reverse};
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};

use crate::segment::Segment;
use crate::span::{Members, Span, spans};
use crate::story::{Run, Story};

/// Partial stories looked at: some milliseconds. Only clients that restart many times on four paths within a
/// skew come near it.
const MOST_LOOKED_AT: usize = 3000;

/// What the search needs to know of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// At most 64, in any order.
    pub(crate) segments: &'a [Segment],
    pub(crate) skew_ms: u64,
    /// The first segment's run began before anybody was listening: it counts from its lowest counter and not
    /// from zero.
    pub(crate) has_baseline: bool,
}

/// What all stories agree is over: no report that is still to come can be of these runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Over {
    /// The segments in which the counter has not stood at zero, as bits of their places.
    pub(crate) segments: Members,
    pub(crate) moved: u64,
    /// When the first of the other runs began, in the story where that was last.
    pub(crate) next_began: u64,
}

/// The least total for one of the two counters.
pub(crate) fn least_total(scene: Scene<'_>, which: usize) -> u64 {
    if let [only] = scene.segments {
        let low = if only.started && !scene.has_baseline { 0 } else { only.start.counters[which] };
        return only.end.counters[which] - low;
    }
    if let [first, second] = scene.segments
        && first.path != second.path
    {
        return least_of_two([Span::of(first, 0, which), Span::of(second, 1, which)], scene);
    }
    let spans = spans(scene.segments, which);
    if let Some(total) = sum_of_falls(&spans, scene.has_baseline) {
        return total;
    }
    let mut search = Search::new(&spans, scene);
    search.least().unwrap_or_else(|| {
        search.unexplained = Unexplained::GoesOn;
        search.least().unwrap_or(0)
    })
}

/// Two paths that have said one thing each: the usual session of several, without a search.
fn least_of_two([first, second]: [Span; 2], scene: Scene<'_>) -> u64 {
    let (known, own) = (Run::of(&first, 0), Run::of(&second, 1));
    let moved = |run: Run, is_first: bool| run.moved(is_first && scene.has_baseline);
    let in_order = |early: Run, late: Run| {
        let fits = second.started && early.end <= late.begin.saturating_add(scene.skew_ms);
        fits.then(|| moved(early, true).saturating_add(moved(late, false)))
    };
    let joined = (!first.clashes(&second, scene.skew_ms)).then(|| moved(known.with(&second, 1), true));
    let stories = [joined, in_order(known, own), in_order(own, known)];
    let unexplained = || moved(known, true).saturating_add(own.high - own.lowest);
    stories.into_iter().flatten().min().unwrap_or_else(unexplained)
}

/// The total of a session whose only path has fallen again and again, which leaves one story.
fn sum_of_falls(spans: &[Span], has_baseline: bool) -> Option<u64> {
    let all_fell =
        spans.iter().enumerate().all(|(at, span)| at == 0 || span.fell && span.previous == Some(at - 1));
    let moved = |(at, span): (usize, &Span)| Run::of(span, at).moved(has_baseline && at == 0);
    all_fell.then(|| spans.iter().enumerate().map(moved).fold(0, u64::saturating_add))
}

/// The segments of each run that is not over for what comes at `next_at` or later, where one story is left.
pub(crate) fn open_runs(scene: Scene<'_>, which: usize, next_at: u64) -> Option<Vec<Members>> {
    let spans = spans(scene.segments, which);
    let search = Search::new(&spans, scene);
    let stories = search.stories(next_at)?;
    let [story] = stories.as_slice() else { return None };
    Some(story.open(next_at, scene.skew_ms).iter().map(|run| search.segments_of(run.members)).collect())
}

/// What is over for what comes at `next_at` or later. Stories may differ in what they make of segments where
/// the counter has stood at zero, as a seeder's `downloaded` does through all restarts.
pub(crate) fn over(scene: Scene<'_>, which: usize, next_at: u64) -> Option<Over> {
    let spans = spans(scene.segments, which);
    let search = Search::new(&spans, scene);
    let stories = search.stories(next_at)?;
    let mut all = stories.iter().map(|story| search.over(story, which, next_at));
    let first = all.next()?;
    all.try_fold(first, |known, other| {
        let agree = (known.segments, known.moved) == (other.segments, other.moved);
        agree.then(|| Over { next_began: known.next_began.max(other.next_began), ..known })
    })
}

/// The segments in which the counter has stood at zero.
pub(crate) fn silent(segments: &[Segment], which: usize) -> Members {
    let silent = segments.iter().enumerate().filter(|(_, segment)| segment.end.counters[which] == 0);
    silent.fold(0, |members, (place, _)| members | 1 << place)
}

struct Search<'a> {
    spans: &'a [Span],
    scene: Scene<'a>,
    /// For each span the earlier ones that it cannot share a run with.
    clashes: Vec<Members>,
    /// What becomes of a story that does not explain the next span.
    unexplained: Unexplained,
}

/// What becomes of a story that does not explain the next span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unexplained {
    /// It is dropped: another one does.
    Dropped,
    /// No story does, so this is nothing that a client does: the newest run goes on with it.
    GoesOn,
}

impl<'a> Search<'a> {
    fn new(spans: &'a [Span], scene: Scene<'a>) -> Self {
        let clashing = |(place, span): (usize, &Span)| {
            let earlier = spans[..place].iter().enumerate();
            let clashing = earlier.filter(|(_, other)| other.clashes(span, scene.skew_ms));
            clashing.fold(0, |members, (other, _)| members | 1 << other)
        };
        Self {
            spans,
            scene,
            clashes: spans.iter().enumerate().map(clashing).collect(),
            unexplained: Unexplained::Dropped,
        }
    }

    /// `None` when no story explains all spans.
    fn least(&self) -> Option<u64> {
        let mut frontier = BinaryHeap::from([Node::root()]);
        let mut known = HashMap::new();
        let mut looked_at = 0;
        while let Some(node) = frontier.pop() {
            if node.placed == self.spans.len() || looked_at == MOST_LOOKED_AT {
                return Some(node.bound);
            }
            looked_at += 1;
            let next_at = self.spans.get(node.placed + 1).map_or(u64::MAX, |span| span.first().0);
            for story in self.continuations(&node.story, node.placed) {
                let (future, total) = (self.future(&story, next_at), self.total(&story));
                if is_better(known.entry((node.placed + 1, future)), total) {
                    let bound = total.saturating_add(self.ahead(&story, node.placed + 1));
                    let serial = known.len();
                    let bound = bound.max(node.bound);
                    frontier.push(Node { bound, placed: node.placed + 1, serial, story });
                }
            }
        }
        None
    }

    fn total(&self, story: &Story) -> u64 {
        story.total_of(story.runs.len(), self.scene.has_baseline)
    }

    /// What a story's continuations depend on: which spans are in each open run, and whether the first of
    /// these is the first of all.
    fn future(&self, story: &Story, next_at: u64) -> Vec<Members> {
        let open = story.open(next_at, self.scene.skew_ms);
        let is_first = Members::from(open.len() == story.runs.len());
        open.iter().map(|run| run.members).chain([is_first]).collect()
    }

    /// One story for each future that there is at `next_at`, the least. What comes may be older than some of
    /// the spans, out of a spool: runs that were over before these are not over for it. `None`: too many.
    fn stories(&self, next_at: u64) -> Option<Vec<Story>> {
        let mut stories = vec![Story::default()];
        for (place, _) in self.spans.iter().enumerate() {
            let next_at = self.spans.get(place + 1).map_or(next_at, |span| span.first().0.min(next_at));
            let mut best: HashMap<Vec<Members>, Story> = HashMap::new();
            for story in stories.iter().flat_map(|story| self.continuations(story, place)) {
                match best.entry(self.future(&story, next_at)) {
                    Entry::Occupied(known) if self.total(known.get()) <= self.total(&story) => {}
                    Entry::Occupied(mut known) => {
                        known.insert(story);
                    }
                    Entry::Vacant(slot) => {
                        slot.insert(story);
                    }
                }
            }
            if best.len() > MOST_LOOKED_AT {
                return None;
            }
            stories = best.into_values().collect();
        }
        Some(stories)
    }

    fn over(&self, story: &Story, which: usize, next_at: u64) -> Over {
        let open = story.open(next_at, self.scene.skew_ms);
        let over = &story.runs[..story.runs.len() - open.len()];
        let segments = self.segments_of(over.iter().fold(0, |members, run| members | run.members));
        Over {
            segments: segments & !silent(self.scene.segments, which),
            moved: story.total_of(over.len(), self.scene.has_baseline),
            next_began: open.iter().map(|run| run.begin).min().unwrap_or(u64::MAX),
        }
    }

    fn segments_of(&self, members: Members) -> Members {
        let spans = self.spans.iter().enumerate().filter(|(place, _)| members >> place & 1 == 1);
        spans.fold(0, |segments, (_, span)| segments | span.segments)
    }

    /// All stories that go on with the next span.
    fn continuations(&self, story: &Story, place: usize) -> Vec<Story> {
        let span = &self.spans[place];
        if story.runs.is_empty() {
            return vec![story.insert(0, Run::of(span, place))];
        }
        let last = span.previous.map(|previous| story.run_of(previous));
        let joined = last.map_or(0, |run| if span.fell { run + 1 } else { run });
        let mut stories: Vec<Story> =
            (joined..story.runs.len()).filter_map(|run| self.join(story, run, place)).collect();
        if span.started || span.fell {
            let time = (span.first().0, span.last().0);
            let fits = |at: &usize| story.fits(time, *at, *at, self.scene.skew_ms);
            let begun = (last.map_or(0, |run| run + 1)..=story.runs.len()).filter(fits);
            stories.extend(begun.map(|at| story.insert(at, Run::of(span, place))));
        }
        if stories.is_empty() && self.unexplained == Unexplained::GoesOn {
            stories.push(self.force(story, place));
        }
        stories
    }

    fn join(&self, story: &Story, at: usize, place: usize) -> Option<Story> {
        if story.runs[at].members & self.clashes[place] != 0 {
            return None;
        }
        let run = story.runs[at].with(&self.spans[place], place);
        let fits = story.fits((run.begin, run.end), at, at + 1, self.scene.skew_ms);
        fits.then(|| story.replace(at, run))
    }

    /// Lets the newest run go on. Where even that makes no sense, another begins where this span does, and
    /// what is in front of it is nobody's.
    fn force(&self, story: &Story, place: usize) -> Story {
        let (newest, span) = (story.runs.len() - 1, &self.spans[place]);
        if story.runs[newest].members & self.clashes[place] == 0 {
            story.replace(newest, story.runs[newest].with(span, place))
        } else {
            story.insert(newest + 1, Run { from_zero: false, ..Run::of(span, place) })
        }
    }

    /// What the spans from `place` on add to the story at least. A path that falls is in a later run each
    /// time, so what it reaches between its falls is reached by different runs, in their order: of those that
    /// are there, or of new ones.
    fn ahead(&self, story: &Story, place: usize) -> u64 {
        // A run that another path may begin without a `started` need not count from zero.
        let begins_unheard = |span: &Span| span.fell && !span.started;
        let all_are_heard =
            self.unexplained == Unexplained::Dropped && !self.spans[place..].iter().any(begins_unheard);
        let of_path = |first: usize| self.path_ahead(story, first, all_are_heard);
        let is_next_of_path = |at: &usize| self.spans[*at].previous.is_none_or(|previous| previous < place);
        (place..self.spans.len()).filter(is_next_of_path).map(of_path).max().unwrap_or(0)
    }

    /// The same for one path whose next span is `first`. `least[n]`: what its first n heights add at least
    /// with the runs looked at so far.
    fn path_ahead(&self, story: &Story, first: usize, all_are_heard: bool) -> u64 {
        let heights = self.heights(first, all_are_heard);
        let mut least: Vec<u64> = vec![0];
        for height in &heights {
            least.push(least[least.len() - 1].saturating_add(*height));
        }
        let last = self.spans[first].previous.map(|previous| story.run_of(previous));
        let from = last.map_or(0, |run| if self.spans[first].fell { run + 1 } else { run });
        for run in &story.runs[from..] {
            let before = least.clone();
            for (n, height) in heights.iter().enumerate() {
                let with_run = before[n].saturating_add(height.saturating_sub(run.high));
                let with_new = least[n].saturating_add(*height);
                least[n + 1] = least[n + 1].min(with_run).min(with_new);
            }
        }
        least[heights.len()]
    }

    /// What a path reaches from its span `first` on, between its falls, in runs of their own.
    fn heights(&self, first: usize, all_are_heard: bool) -> Vec<u64> {
        let path = self.spans[first].path;
        let mut heights: Vec<u64> = Vec::new();
        let mut from_zero = false;
        for (at, span) in self.spans.iter().enumerate().skip(first).filter(|(_, span)| span.path == path) {
            if span.fell || at == first {
                from_zero = span.started && all_are_heard && !self.scene.has_baseline;
                heights.push(0);
            }
            if let Some(height) = heights.last_mut() {
                *height = (*height).max(span.worth(from_zero));
            }
        }
        heights
    }
}

fn is_better(known: Entry<'_, (usize, Vec<Members>), u64>, total: u64) -> bool {
    match known {
        Entry::Occupied(mut known) => {
            let better = total < *known.get();
            if better {
                known.insert(total);
            }
            better
        }
        Entry::Vacant(slot) => {
            slot.insert(total);
            true
        }
    }
}

/// A partial story in the search.
struct Node {
    /// No story that goes on from here has a smaller total.
    bound: u64,
    placed: usize,
    /// Makes the order of equal nodes the same in every process.
    serial: usize,
    story: Story,
}

impl Node {
    fn root() -> Self {
        Self { bound: 0, placed: 0, serial: 0, story: Story::default() }
    }

    fn rank(&self) -> (Reverse<u64>, usize, Reverse<usize>) {
        (Reverse(self.bound), self.placed, Reverse(self.serial))
    }
}

impl Ord for Node {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Node {}
