//! The stream of shared visits: its key, the form of its entries, and from which time on entries are kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contract::EntryId;
use service::redis::stream::Pair;

/// The field of an entry that holds the batch.
pub(super) const FIELD: &str = "visits";

/// The stream's key and limits, shared by sender and reader.
#[derive(Debug)]
pub(super) struct VisitStream {
    pub(super) key: String,
    pub(super) peer_lifetime: Duration,
    pub(super) max_bytes: u64,
    /// Entries from before are not wanted, in Redis' Unix milliseconds: there is no room for them.
    full_since: AtomicU64,
}

impl VisitStream {
    pub(super) fn new(key: String, peer_lifetime: Duration, max_bytes: u64) -> Self {
        Self { key, peer_lifetime, max_bytes, full_since: AtomicU64::new(0) }
    }

    /// Peers seen before this time are gone.
    pub(super) fn horizon(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(u64::try_from(self.peer_lifetime.as_millis()).unwrap_or(u64::MAX))
    }

    /// The time from which on entries are kept.
    pub(super) fn oldest_wanted(&self, now_ms: u64) -> u64 {
        self.horizon(now_ms).max(self.full_since.load(Ordering::Relaxed))
    }

    pub(super) fn set_full_since(&self, unix_ms: u64) {
        self.full_since.store(unix_ms, Ordering::Relaxed);
    }
}

/// An entry of the stream. Its batch is `None` when it has no such field: any program can write into the
/// stream.
#[derive(Debug)]
pub(super) struct VisitEntry {
    pub(super) id: EntryId,
    pub(super) batch: Option<Vec<u8>>,
}

impl VisitEntry {
    pub(super) fn new(id: EntryId, fields: Option<&[Pair<'_>]>) -> Self {
        let batch = fields.unwrap_or_default().iter().find(|(name, _)| *name == FIELD.as_bytes());
        Self { id, batch: batch.map(|(_, batch)| batch.to_vec()) }
    }
}
