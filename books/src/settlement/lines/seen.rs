//! The part of a line that was seen: nearly always all of it up to a point.

use super::super::varint;

/// Pieces beyond a gap that are remembered one by one. A gap is filled within seconds, or never: its entry is
/// lost.
const MOST_PIECES: usize = 16;

/// Places from 0 on: `0..upto`, and what was seen beyond a gap, lowest first, never touching.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) upto: u64,
    beyond: Vec<(u64, u64)>,
}

impl Seen {
    /// Marks `from..to`.
    pub(super) fn mark(&mut self, from: u64, to: u64) {
        if from <= self.upto {
            self.upto = self.upto.max(to);
        } else if from < to {
            self.put_beyond(from, to);
        }
        self.close_gap();
        if self.beyond.len() > MOST_PIECES {
            // Rather nothing than twice: what comes for the oldest gap later counts as seen.
            self.upto = self.beyond[0].0;
            self.close_gap();
        }
    }

    fn put_beyond(&mut self, from: u64, to: u64) {
        let first = self.beyond.partition_point(|piece| piece.1 < from);
        let until = self.beyond.partition_point(|piece| piece.0 <= to);
        let touched = &self.beyond[first..until];
        let whole = (
            touched.first().map_or(from, |piece| piece.0.min(from)),
            touched.last().map_or(to, |piece| piece.1.max(to)),
        );
        self.beyond.splice(first..until, [whole]);
    }

    fn close_gap(&mut self) {
        let touched = self.beyond.iter().take_while(|piece| piece.0 <= self.upto).count();
        let ends = self.beyond.drain(..touched).map(|piece| piece.1);
        self.upto = ends.fold(self.upto, u64::max);
    }

    /// Whether all of `from..to` was seen.
    pub(super) fn holds(&self, from: u64, to: u64) -> bool {
        to <= self.upto || self.beyond.iter().any(|piece| piece.0 <= from && to <= piece.1)
    }

    /// How much was seen.
    pub(super) fn len(&self) -> u64 {
        self.beyond.iter().fold(self.upto, |len, piece| len.saturating_add(piece.1 - piece.0))
    }

    /// The pieces, lowest first.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        std::iter::once((0, self.upto)).chain(self.beyond.iter().copied())
    }

    /// Marks what the other has marked.
    pub(super) fn merge(&mut self, other: &Self) {
        other.pieces().for_each(|(from, to)| self.mark(from, to));
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        varint::write(bytes, self.upto);
        varint::write(bytes, self.beyond.len() as u64);
        let mut position = self.upto;
        for (from, to) in &self.beyond {
            varint::write(bytes, from - position);
            varint::write(bytes, to - from);
            position = *to;
        }
    }

    pub(super) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut seen = Self { upto: varint::read(bytes)?, beyond: Vec::new() };
        let mut position = seen.upto;
        for _ in 0..varint::read(bytes)? {
            let from = position.checked_add(varint::read(bytes)?)?;
            position = from.checked_add(varint::read(bytes)?)?;
            seen.beyond.push((from, position));
        }
        Some(seen)
    }
}

/// How much all these pieces cover together.
pub(super) fn union_of(mut pieces: Vec<(u64, u64)>) -> u64 {
    pieces.sort_unstable();
    let (mut covered, mut position) = (0_u64, 0);
    for (from, to) in pieces {
        covered = covered.saturating_add(to.saturating_sub(from.max(position)));
        position = position.max(to);
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gaps_stay_bounded_and_the_oldest_counts_as_seen() {
        let mut seen = Seen::default();
        (1..=100).for_each(|piece| seen.mark(piece * 10, piece * 10 + 5));
        assert_eq!(seen.beyond.len(), MOST_PIECES);
        assert_eq!(seen.pieces().last(), Some((1000, 1005)));
        let before = seen.len();
        seen.mark(0, 700);
        assert_eq!(seen.len(), before);
    }

    proptest! {
        #[test]
        fn what_is_seen_is_the_union_in_any_order(
            mut pieces in proptest::collection::vec((0..200_u64, 0..30_u64), 0..12),
        ) {
            let see = |pieces: &[(u64, u64)]| {
                let mut seen = Seen::default();
                pieces.iter().for_each(|(from, len)| seen.mark(*from, from + len));
                seen
            };
            let seen = see(&pieces);
            let mut places = std::collections::HashSet::new();
            pieces.iter().for_each(|(from, len)| places.extend(*from..from + len));
            prop_assert_eq!(seen.len(), places.len() as u64);
            prop_assert_eq!(union_of(pieces.iter().map(|(from, len)| (*from, from + len)).collect()), seen.len());
            let mut bytes = Vec::new();
            seen.write(&mut bytes);
            prop_assert_eq!(Seen::read(&mut bytes.as_slice()), Some(seen.clone()));
            pieces.reverse();
            prop_assert_eq!(see(&pieces), seen);
        }
    }
}
