//! Which of two reports of one session is the newer: the one that reached a tracker later, and of two in one
//! millisecond the one whose entry is newer.
//!
//! Not the entry's id alone: a report that waited on a slow path or in a spool gets a newer entry than what
//! its client said since. Entries that do not say when they arrived are placed by their ids.

use arrayvec::ArrayString;

use crate::entry::{Entry, EntryId};

/// A report's place among those of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it reached a tracker, in milliseconds of the site's clock.
    pub at_ms: u64,
    /// Where the stream holds it.
    pub id: EntryId,
}

/// As many digits as the largest `at_ms` has.
const DIGITS: usize = 20;
/// That, and an ordered entry id.
pub(super) const TEXT: usize = DIGITS + 40;

impl Place {
    /// Where an entry's report belongs.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let arrived = entry.event.claim.map(|claim| claim.at_ms);
        Self { at_ms: arrived.unwrap_or(entry.id.ms), id: entry.id }
    }

    /// Unix seconds of the site's clock at which it arrived.
    pub(super) fn unix_seconds(self) -> u64 {
        self.at_ms / 1000
    }

    /// A text whose order is the places' order, for scripts.
    #[must_use]
    pub fn ordered(self) -> ArrayString<TEXT> {
        let mut text = ArrayString::new();
        text.push_str(&EntryId::at_ms(self.at_ms).ordered()[..DIGITS]);
        text.push_str(&self.id.ordered());
        text
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let (at, id) = text.split_at_checked(DIGITS)?;
        let (ms, seq) = id.split_at_checked(DIGITS)?;
        let id = EntryId { ms: ms.parse().ok()?, seq: seq.parse().ok()? };
        Some(Self { at_ms: at.parse().ok()?, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_ordered_as_the_places_are_and_can_be_read() {
        let place = |at_ms, ms, seq| Place { at_ms, id: EntryId { ms, seq } };
        let rising =
            [place(9, 99, 0), place(10, 1, 9), place(10, 1, 10), place(10, 2, 0), place(u64::MAX, 0, 0)];
        assert!(rising.is_sorted());
        assert!(rising.map(|place| place.ordered().to_string()).is_sorted());
        assert_eq!(rising.map(|place| Place::read(&place.ordered())), rising.map(Some));
        assert_eq!(Place::read("7"), None);
    }
}
