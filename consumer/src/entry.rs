//! A stream entry and its id. The id orders the entries of the whole stream, so everything that must not depend on
//! the order of arrival is decided by it.

use std::fmt::{self, Write};
use std::str::FromStr;

use arrayvec::ArrayString;
use contract::TrafficEvent;
use thiserror::Error;

/// A Redis stream entry id, ordered as Redis orders it: by milliseconds, then by sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EntryId {
    /// Unix milliseconds at which Redis took the entry.
    pub ms: u64,
    /// Position among the entries of one millisecond.
    pub seq: u64,
}

/// The text is not an entry id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected a stream entry id such as 1700000000000-0")]
pub struct EntryIdError;

impl EntryId {
    /// The largest id there can be.
    pub const LAST: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The first id of a millisecond.
    #[must_use]
    pub const fn at_ms(ms: u64) -> Self {
        Self { ms, seq: 0 }
    }

    /// The smallest id after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.seq.checked_add(1) {
            Some(seq) => Self { ms: self.ms, seq },
            None => Self { ms: self.ms.saturating_add(1), seq: 0 },
        }
    }

    /// Unix seconds at which Redis took the entry.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.ms / 1000
    }

    /// The text form, without an allocation.
    #[must_use]
    pub fn text(self) -> ArrayString<TEXT_CAPACITY> {
        let mut text = ArrayString::new();
        // The capacity holds every id.
        write!(text, "{self}").unwrap_or_default();
        text
    }

    /// Reads the text form from a Redis reply.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        std::str::from_utf8(text).ok()?.parse().ok()
    }
}

/// Two numbers of at most 20 digits and what parts them.
const TEXT_CAPACITY: usize = 41;

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = EntryIdError;

    fn from_str(text: &str) -> Result<Self, EntryIdError> {
        let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
        let number = |digits: &str| digits.parse().map_err(|_| EntryIdError);
        Ok(Self { ms: number(ms)?, seq: number(seq)? })
    }
}

/// An entry's field and value pairs as Redis holds them, in order.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A traffic event with its place in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where the stream holds it.
    pub id: EntryId,
    /// What it says.
    pub event: TrafficEvent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_order_by_number_and_not_by_text() {
        let id = |text: &str| text.parse::<EntryId>().unwrap();
        assert!(id("9-0") < id("10-0"));
        assert!(id("10-9") < id("10-10"));
        assert_eq!(id("10-9").next(), id("10-10"));
        assert_eq!(EntryId { ms: 1, seq: u64::MAX }.next(), id("2-0"));
        assert_eq!(id("77"), EntryId::at_ms(77));
        assert_eq!(EntryId::LAST.text().parse(), Ok(EntryId::LAST));
        assert!("x-1".parse::<EntryId>().is_err());
    }
}
