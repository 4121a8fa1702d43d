//! The seconds that a user has already earned on one torrent, as a short list of spans.
//!
//! Two clients of one user seed the same second once: each announce claims a span, and only what no earlier
//! span covers is earned. A union does not depend on the order in which its parts arrive.

use super::varint;

/// Disjoint spans of unix seconds, `start..end`, oldest first, never touching.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spans(Vec<(i64, i64)>);

/// More gaps than this in one torrent's history are not remembered one by one.
const MAX_SPANS: usize = 512;

impl Spans {
    /// Covers `start..end` and returns how many of its seconds were not covered before.
    pub fn add(&mut self, start: i64, end: i64) -> i64 {
        if start >= end {
            return 0;
        }
        let from = self.0.partition_point(|span| span.1 < start);
        let until = self.0.partition_point(|span| span.0 <= end);
        let touched = &self.0[from..until];
        let covered: i64 = touched.iter().map(|span| (span.1.min(end) - span.0.max(start)).max(0)).sum();
        let merged = (
            touched.first().map_or(start, |span| span.0.min(start)),
            touched.last().map_or(end, |span| span.1.max(end)),
        );
        self.0.splice(from..until, [merged]);
        self.shorten();
        end - start - covered
    }

    /// Covers what the other list covers and returns how many of its seconds were not covered before.
    pub fn merge(&mut self, other: &Self) -> i64 {
        other.0.iter().map(|(start, end)| self.add(*start, *end)).sum()
    }

    /// Closes the oldest gap when the list is full. Nobody is paid for the gap; an event so late that it
    /// falls into it earns nothing, which is the price of a bounded row.
    fn shorten(&mut self) {
        if self.0.len() > MAX_SPANS {
            self.0[0].1 = self.0[1].1;
            self.0.remove(1);
        }
    }

    /// The form in which the ledger keeps it: start, then gap and length by turns, each as LEB128.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 6);
        let mut position = 0;
        for (start, end) in &self.0 {
            varint::write(&mut bytes, (start - position).unsigned_abs());
            varint::write(&mut bytes, (end - start).unsigned_abs());
            position = *end;
        }
        bytes
    }

    /// Reads the ledger's form; `None` when it is damaged.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let read = |bytes: &mut &[u8]| i64::try_from(varint::read(bytes)?).ok();
        let (mut spans, mut position) = (Vec::new(), 0_i64);
        while !bytes.is_empty() {
            let start = position.checked_add(read(&mut bytes)?)?;
            let end = start.checked_add(read(&mut bytes)?)?;
            spans.push((start, end));
            position = end;
        }
        Some(Self(spans))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_second_is_earned_once() {
        let mut spans = Spans::default();
        assert_eq!(spans.add(100, 200), 100);
        assert_eq!(spans.add(100, 200), 0);
        assert_eq!(spans.add(150, 250), 50);
        assert_eq!(spans.add(300, 400), 100);
        assert_eq!(spans.add(0, 1000), 1000 - 250);
        assert_eq!(spans, Spans(vec![(0, 1000)]));
    }

    #[test]
    fn neighbours_become_one_span() {
        let mut spans = Spans::default();
        spans.add(100, 200);
        spans.add(200, 300);
        spans.add(50, 100);
        assert_eq!(spans, Spans(vec![(50, 300)]));
        assert_eq!(spans.add(70, 70), 0);
    }

    #[test]
    fn the_list_stays_bounded_and_the_closed_gap_pays_nobody() {
        let mut spans = Spans::default();
        let earned: i64 = (0..2000).map(|i| spans.add(i * 10, i * 10 + 5)).sum();
        assert_eq!(earned, 2000 * 5);
        assert_eq!(spans.0.len(), MAX_SPANS);
        assert_eq!(spans.add(6, 9), 0);
    }

    #[test]
    fn damaged_bytes_are_refused_without_a_panic() {
        assert_eq!(Spans::from_bytes(&[0x80]), None);
        assert_eq!(Spans::from_bytes(&[0xff; 30]), None);
        assert_eq!(Spans::from_bytes(&[]), Some(Spans::default()));
    }

    proptest! {
        #[test]
        fn the_union_does_not_depend_on_the_order(mut claims in proptest::collection::vec((0..500_i64, 1..60_i64), 0..40)) {
            let fill = |claims: &[(i64, i64)]| {
                let mut spans = Spans::default();
                let earned: i64 = claims.iter().map(|(start, len)| spans.add(*start, start + len)).sum();
                (spans, earned)
            };
            let forward = fill(&claims);
            let mut seconds = std::collections::HashSet::new();
            claims.iter().for_each(|(start, len)| seconds.extend(*start..start + len));
            prop_assert_eq!(usize::try_from(forward.1).unwrap(), seconds.len());
            prop_assert_eq!(Spans::from_bytes(&forward.0.to_bytes()), Some(forward.0.clone()));
            claims.reverse();
            prop_assert_eq!(&fill(&claims), &forward);
            claims.sort_unstable();
            prop_assert_eq!(&fill(&claims), &forward);
        }
    }
}
