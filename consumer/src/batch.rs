//! The entries that one read of the stream brings: events, entries that cannot be decoded, and ids whose
//! entries are gone.

use books::dead_letters::BrokenEntry;
use books::entry::{Entry, EntryId, Fields};
use contract::{EventError, TrafficEvent};
use service::redis::stream::Pair;

/// Entries that this consumer must finish: settle or bury, then acknowledge.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Entries that are traffic events.
    pub entries: Vec<Entry>,
    /// Entries that cannot be decoded.
    pub broken: Vec<BrokenEntry>,
    /// Ids whose entries were deleted from the stream while they were pending.
    pub gone: Vec<EntryId>,
}

impl Batch {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries of all three kinds, each of which must be finished.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() + self.broken.len() + self.gone.len()
    }

    /// Adds an entry as it was read; without fields, it is gone.
    pub fn add(&mut self, id: EntryId, fields: Option<&[Pair<'_>]>) {
        let Some(fields) = fields else { return self.gone.push(id) };
        match TrafficEvent::from_fields(fields.iter().copied()) {
            Ok(event) => self.entries.push(Entry { id, event }),
            Err(error) => self.broken.push(broken(id, fields, &error)),
        }
    }

    /// Adds what another batch holds.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.entries.append(&mut other.entries);
        self.broken.append(&mut other.broken);
        self.gone.append(&mut other.gone);
    }
}

#[cold]
fn broken(id: EntryId, fields: &[Pair<'_>], error: &EventError) -> BrokenEntry {
    let fields: Fields = fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    BrokenEntry { id, fields, error: error.to_string() }
}
