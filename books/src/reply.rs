//! Reading stream replies straight from `redis::Value`: the typed conversions would build a map of strings
//! per entry.

use redis::{ErrorKind, RedisError, RedisResult, Value};

use crate::entry::{EntryId, Fields};

/// One entry of a reply. Without fields: it was deleted while it was pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEntry {
    /// Its place in the stream.
    pub id: EntryId,
    /// Names and values in order; `None` for a deleted entry.
    pub fields: Option<Fields>,
}

/// The error for a reply of another form than the command has.
#[must_use]
pub fn unexpected(what: &'static str) -> RedisError {
    (ErrorKind::UnexpectedReturnType, "Redis answered in an unexpected form", what.to_owned()).into()
}

/// The elements of an array; none of a nil.
///
/// # Errors
/// When the reply has another form.
pub fn array(value: Value) -> RedisResult<Vec<Value>> {
    match value {
        Value::Array(items) | Value::Set(items) => Ok(items),
        // Protocol 3 sends as a map what protocol 2 sends as an array of keys and values.
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(k, v)| [k, v]).collect()),
        Value::Nil => Ok(Vec::new()),
        _ => Err(unexpected("an array was expected")),
    }
}

/// The bytes of a string.
///
/// # Errors
/// When the reply has another form.
pub fn bytes(value: Value) -> RedisResult<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(unexpected("a string was expected")),
    }
}

/// A number; `None` for nil.
#[must_use]
pub fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// An entry id; `None` for nil.
#[must_use]
pub fn id(value: &Value) -> Option<EntryId> {
    match value {
        Value::BulkString(text) => EntryId::from_bytes(text),
        Value::SimpleString(text) => text.parse().ok(),
        _ => None,
    }
}

/// The entries of `XRANGE`, of one stream in `XREADGROUP`, or of `XAUTOCLAIM`. Skips the nil that Redis 6
/// sends in place of a claimed entry that is gone.
///
/// # Errors
/// When the reply has another form.
pub fn entries(value: Value) -> RedisResult<Vec<RawEntry>> {
    array(value)?.into_iter().filter(|entry| *entry != Value::Nil).map(entry).collect()
}

fn entry(value: Value) -> RedisResult<RawEntry> {
    let mut parts = array(value)?.into_iter();
    let id = parts.next().as_ref().and_then(id).ok_or_else(|| unexpected("an entry id was expected"))?;
    let fields = match parts.next() {
        None | Some(Value::Nil) => None,
        Some(flat) => Some(pairs(array(flat)?)?),
    };
    Ok(RawEntry { id, fields })
}

fn pairs(flat: Vec<Value>) -> RedisResult<Fields> {
    let mut fields = Vec::with_capacity(flat.len() / 2);
    let mut flat = flat.into_iter();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        fields.push((bytes(name)?, bytes(value)?));
    }
    Ok(fields)
}

/// The value under `name` in a reply of names and values by turns.
#[must_use]
pub fn named<'a>(flat: &'a [Value], name: &str) -> Option<&'a Value> {
    flat.chunks_exact(2)
        .find(|pair| matches!(&pair[0], Value::BulkString(key) if key == name.as_bytes()))
        .map(|pair| &pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn a_deleted_entry_reads_as_one_without_fields() {
        let reply = Value::Array(vec![
            Value::Array(vec![bulk("1-0"), Value::Nil]),
            Value::Nil,
            Value::Array(vec![bulk("2-0"), Value::Array(vec![bulk("a"), bulk("b")])]),
        ]);
        let entries = entries(reply).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].id, &entries[0].fields), (EntryId::at_ms(1), &None));
        assert_eq!(entries[1].fields, Some(vec![(b"a".to_vec(), b"b".to_vec())]));
    }

    #[test]
    fn another_form_is_an_error_and_not_a_panic() {
        assert!(entries(Value::Int(5)).is_err());
        assert!(entries(Value::Array(vec![Value::Array(vec![Value::Int(5)])])).is_err());
    }
}
