//! Stream entries as Redis sends them, and the announce that each one tells of.

use contract::{EventError, TrafficEvent};
use redis::Value;

/// One entry of any stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `<milliseconds>-<sequence>`.
    pub(crate) id: String,
    /// Names and values as written.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// The announce, or which field prevents reading it.
    pub(crate) fn event(&self) -> Result<TrafficEvent, EventError> {
        TrafficEvent::from_fields(self.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
    }
}

/// The entries of an XRANGE or XREVRANGE reply.
pub(crate) fn from_range(reply: Value) -> Vec<Entry> {
    array(reply).into_iter().filter_map(entry).collect()
}

/// The entries of an XREAD reply for one stream; a read that timed out has none.
pub(crate) fn from_read(reply: Value) -> Vec<Entry> {
    let first_stream = array(reply).into_iter().next().map(array).unwrap_or_default();
    first_stream.into_iter().nth(1).map(from_range).unwrap_or_default()
}

/// An entry of which only the id is left (trimmed while it was pending) has no fields.
fn entry(value: Value) -> Option<Entry> {
    let mut parts = array(value).into_iter();
    let id = String::from_utf8(bytes(parts.next()?)?).ok()?;
    let mut fields = Vec::new();
    let mut words = parts.next().map(array).unwrap_or_default().into_iter().filter_map(bytes);
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        fields.push((name, value));
    }
    Some(Entry { id, fields })
}

fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        _ => Vec::new(),
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn range_and_read_replies_hold_the_same_entries() {
        let raw = Value::Array(vec![
            Value::Array(vec![bulk("1-0"), Value::Array(vec![bulk("a"), bulk("b")])]),
            Value::Array(vec![bulk("2-0"), Value::Nil]),
        ]);
        let entries = from_range(raw.clone());
        assert_eq!(entries[0], Entry { id: "1-0".into(), fields: vec![(b"a".to_vec(), b"b".to_vec())] });
        assert!(entries[1].fields.is_empty());
        let read = Value::Array(vec![Value::Array(vec![bulk("stream"), raw])]);
        assert_eq!(from_read(read), entries);
        assert!(from_read(Value::Nil).is_empty());
    }
}
