//! The stream itself: where it is, how its entries are named, and how far back anybody wants it.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{RedisResult, Value};

/// The field of an entry that holds the batch.
pub(super) const FIELD: &str = "visits";

/// What sender and reader agree on.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: String,
    pub(super) peer_lifetime: Duration,
    pub(super) max_bytes: u64,
    /// Entries from before are not wanted, in Redis' Unix milliseconds: there is no room for them.
    full_since: AtomicU64,
}

impl Stream {
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

/// An entry's id: Redis' clock when it was appended, and a number within that millisecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryId {
    pub(super) unix_ms: u64,
    pub(super) number: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.unix_ms, self.number)
    }
}

impl FromStr for EntryId {
    type Err = redis::RedisError;

    fn from_str(text: &str) -> RedisResult<Self> {
        let id = text.split_once('-').and_then(|(unix_ms, number)| {
            Some(Self { unix_ms: unix_ms.parse().ok()?, number: number.parse().ok()? })
        });
        id.ok_or_else(|| (redis::ErrorKind::UnexpectedReturnType, "an entry's id is not two numbers").into())
    }
}

/// An entry as Redis gives it; `None` for the batch when the entry has no such field.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    pub(super) batch: Option<Vec<u8>>,
}

/// Reads a list of entries, as XRANGE answers. Fields may be anything: others can write into the stream too.
pub(super) fn entries(reply: Vec<(String, Vec<Value>)>) -> RedisResult<Vec<Entry>> {
    let entry = |(id, fields): (String, Vec<Value>)| Ok(Entry { id: id.parse()?, batch: batch(fields) });
    reply.into_iter().map(entry).collect()
}

fn batch(fields: Vec<Value>) -> Option<Vec<u8>> {
    let mut fields = fields.into_iter();
    while let Some(name) = fields.next() {
        let value = fields.next();
        if matches!(&name, Value::BulkString(name) if name == FIELD.as_bytes())
            && let Some(Value::BulkString(batch)) = value
        {
            return Some(batch);
        }
    }
    None
}
