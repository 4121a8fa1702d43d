//! A stream entry: a traffic event with its place in the stream.

use contract::TrafficEvent;

pub use contract::EntryId;
pub use service::redis::stream::Fields;

/// A traffic event with its place in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where the stream holds it.
    pub id: EntryId,
    /// What it says.
    pub event: TrafficEvent,
}
