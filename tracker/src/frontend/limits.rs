//! Limits that both frontends hold clients to: peers per reply, torrents per scrape, addresses and counters
//! that are believed. Pure.

use wire::http::query::BadQuery;

use crate::announce::{MAX_COUNTER, Refusal};

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
