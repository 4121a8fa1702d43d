//! The id of a stream entry. It orders the entries of the whole stream, so everything that must not depend on
//! the order of arrival is decided by it.

use std::fmt;
use std::str::FromStr;

use arrayvec::ArrayString;
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

    /// Reads the text form from a Redis reply.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        match text.iter().position(|byte| *byte == b'-') {
            Some(at) => Some(Self { ms: number(&text[..at])?, seq: number(&text[at + 1..])? }),
            None => number(text).map(Self::at_ms),
        }
    }

    /// The text form, without an allocation: a thousand of them acknowledge a batch.
    #[must_use]
    pub fn text(self) -> ArrayString<TEXT_CAPACITY> {
        let (mut text, mut digits) = (ArrayString::new(), itoa::Buffer::new());
        text.push_str(digits.format(self.ms));
        text.push('-');
        text.push_str(digits.format(self.seq));
        text
    }

    /// A text whose order is the ids' order, so that a script compares them without arithmetic (Lua has only
    /// doubles).
    #[must_use]
    pub fn ordered(self) -> ArrayString<40> {
        let (mut text, mut digits) = (ArrayString::new(), itoa::Buffer::new());
        for number in [self.ms, self.seq] {
            let number = digits.format(number);
            text.push_str(&ZEROS[number.len()..]);
            text.push_str(number);
        }
        text
    }
}

/// As many as the largest number has digits.
const ZEROS: &str = "00000000000000000000";

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Two numbers of at most 20 digits and what parts them.
const TEXT_CAPACITY: usize = 41;

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl FromStr for EntryId {
    type Err = EntryIdError;

    fn from_str(text: &str) -> Result<Self, EntryIdError> {
        Self::from_bytes(text.as_bytes()).ok_or(EntryIdError)
    }
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
        for text in ["x-1", "", "-", "1-", "-1", "+1-0", "18446744073709551616-0"] {
            assert!(text.parse::<EntryId>().is_err(), "{text}");
        }
    }

    #[test]
    fn both_texts_hold_the_largest_and_the_smallest_id() {
        assert_eq!(EntryId::default().text().as_str(), "0-0");
        assert_eq!(EntryId::LAST.text().as_str(), "18446744073709551615-18446744073709551615");
        assert_eq!(EntryId::LAST.ordered().as_str(), "1844674407370955161518446744073709551615");
        assert_eq!(EntryId { ms: 7, seq: 10 }.ordered().as_str(), "0000000000000000000700000000000000000010");
    }
}
