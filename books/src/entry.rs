//! A stream entry: a traffic event with its place in the stream.

use contract::TrafficEvent;

pub use contract::EntryId;
pub use service::redis::stream::Fields;

/// A traffic event with its place in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where the stream holds it.
    pub id: EntryId,
    /// The event that its fields were decoded to.
    pub event: TrafficEvent,
}

/// Reads an entry's fields as a traffic event.
///
/// # Errors
/// A sentence that says what is wrong with them.
pub fn decode(fields: &Fields) -> Result<TrafficEvent, String> {
    TrafficEvent::from_fields(fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
        .map_err(|error| error.to_string())
}
