//! Limits that both frontends hold clients to: peers per reply, torrents per scrape, addresses and counters
//! that are believed. Pure.

use wire::http::query::BadQuery;

use crate::announce::{MAX_COUNTER, Refusal};
use crate::traffic::EventField;

/// Bytes of a text that is kept of a client: the names of clients and their libraries are shorter.
const MAX_TEXT: usize = 64;

/// The operator's limits, from the frontend's part of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Peers for a client that does not say how many.
    pub default_numwant: usize,
    /// Peers in one reply, at most.
    pub max_numwant: usize,
    /// Torrents in one scrape at most; more are ignored.
    pub max_scrape_infohashes: usize,
    /// Whether an address that the client claims is believed.
    pub spoofing: Spoofing,
    /// What is read besides, because the operator wants to see it.
    pub event_fields: EventFields,
}

/// What is read of a client besides what every event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFields {
    /// Its `User-Agent`.
    pub agent: bool,
    /// Its `key`.
    pub key: bool,
    /// Bytes that it threw away.
    pub corrupt: bool,
}

impl EventFields {
    /// Nothing besides.
    pub const NONE: Self = Self { agent: false, key: false, corrupt: false };

    /// Those that are listed.
    #[must_use]
    pub fn of(listed: &[EventField]) -> Self {
        let has = |field| listed.contains(&field);
        Self { agent: has(EventField::Agent), key: has(EventField::Key), corrupt: has(EventField::Corrupt) }
    }
}

/// Whether a client may name another address than the one it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoofing {
    /// The address in the request counts.
    Allowed,
    /// The connection's address counts.
    Ignored,
}

impl Limits {
    /// How many peers a client gets that asks for `wanted`; a negative number means that it leaves it to us.
    #[must_use]
    pub fn num_want(&self, wanted: i64) -> usize {
        usize::try_from(wanted).map_or(self.default_numwant, |wanted| wanted.min(self.max_numwant))
    }
}

/// `uploaded` or `downloaded`, at most [`MAX_COUNTER`].
///
/// # Errors
/// The refusal to show the client when the number cannot be true.
pub fn counter(name: &'static str, bytes: u64) -> Result<u64, Refusal> {
    if bytes > MAX_COUNTER { Err(BadQuery::Parameter(name).into()) } else { Ok(bytes) }
}

/// `left`, clamped to `i64::MAX`: clients without metadata send -1 or `u64::MAX`.
#[must_use]
pub fn left(bytes: u64) -> u64 {
    bytes.min(i64::MAX.unsigned_abs())
}

/// A client's own words, as far as they may be kept: no control characters, which would reach terminals and
/// other programs' files, and not much. `None` when nothing is left.
#[must_use]
pub fn text(bytes: &[u8]) -> Option<String> {
    let mut kept = String::new();
    for letter in String::from_utf8_lossy(bytes).chars().filter(|letter| !letter.is_control()) {
        if kept.len() + letter.len_utf8() > MAX_TEXT {
            break;
        }
        kept.push(letter);
    }
    (!kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_words_are_kept_without_control_characters_and_not_for_long() {
        assert_eq!(text(b"qBittorrent/5.0.2").as_deref(), Some("qBittorrent/5.0.2"));
        assert_eq!(text(b"a\x1b[2J\r\nb\xff").as_deref(), Some("a[2Jb\u{fffd}"));
        assert_eq!(text("\u{9b}é".repeat(100).as_bytes()).unwrap(), "é".repeat(32));
        assert_eq!((text(b""), text(b"\n")), (None, None));
    }
}
