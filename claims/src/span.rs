//! What one counter of one path says in one run: segments of the other counter's falls put together again.

use crate::WOBBLE_BYTES;
use crate::segment::{Path, Segment, fell};

/// A set of spans, as bits.
pub(crate) type Members = u64;
/// What one counter says in one or more segments that are certainly of the same run.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) path: Path,
    pub(crate) started: bool,
    /// The path's counter was higher before: this is a later run than the span before on this path.
    pub(crate) fell: bool,
    /// The span before on this path.
    pub(crate) previous: Option<usize>,
    /// (at, counter) of its points.
    points: Vec<(u64, u64)>,
    /// The segments that it is made of, as bits of their places.
    pub(crate) segments: Members,
}

pub(crate) fn spans(segments: &[Segment], which: usize) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::with_capacity(segments.len());
    for (place, segment) in segments.iter().enumerate() {
        let previous = spans.iter().rposition(|span| span.path == segment.path);
        let first = segment.start.counters[which];
        let fell = previous.is_some_and(|at| fell(spans[at].last().1, first, segment.started));
        match previous.map(|at| &mut spans[at]) {
            // The other counter fell here. This one goes on, in the same run.
            Some(span) if !segment.started && !fell => {
                let (_, highest) = span.last();
                span.points.extend(points(segment, which).map(|(at, counter)| (at, counter.max(highest))));
                span.segments |= 1 << place;
            }
            _ => spans.push(Span { fell, previous, ..Span::of(segment, place, which) }),
        }
    }
    spans
}

fn points(segment: &Segment, which: usize) -> impl Iterator<Item = (u64, u64)> {
    segment.points().map(move |point| (point.at, point.counters[which]))
}

impl Span {
    /// The first of its path.
    pub(crate) fn of(segment: &Segment, place: usize, which: usize) -> Self {
        Self {
            path: segment.path,
            started: segment.started,
            fell: false,
            previous: None,
            points: points(segment, which).collect(),
            segments: 1 << place,
        }
    }

    pub(crate) fn first(&self) -> (u64, u64) {
        self.points[0]
    }

    pub(crate) fn last(&self) -> (u64, u64) {
        self.points[self.points.len() - 1]
    }

    /// What a run of its own adds.
    pub(crate) fn worth(&self, from_zero: bool) -> u64 {
        if from_zero { self.last().1 } else { self.last().1 - self.first().1 }
    }

    /// Whether both cannot be of one run: one path was lower than the other had been a skew before.
    pub(crate) fn clashes(&self, other: &Self, skew: u64) -> bool {
        let below = |early: &(u64, u64), late: &(u64, u64)| {
            early.0.saturating_add(skew) < late.0 && early.1 >= late.1.saturating_add(WOBBLE_BYTES)
        };
        let pairs = || self.points.iter().flat_map(|a| other.points.iter().map(move |b| (a, b)));
        self.path != other.path && pairs().any(|(a, b)| below(a, b) || below(b, a))
    }
}
