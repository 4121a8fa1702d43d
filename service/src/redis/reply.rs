//! The parts of a reply that say how something is (`XINFO`, `XPENDING`), straight from `redis::Value`: these
//! replies differ between Redis versions and between the protocols 2 and 3, so only what is needed is read,
//! by name. Entries are read by [`super::stream`].

use contract::EntryId;
use redis::{ErrorKind, RedisError, RedisResult, Value};

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

/// The value under `name` in a reply of names and values by turns.
#[must_use]
pub fn named<'a>(flat: &'a [Value], name: &str) -> Option<&'a Value> {
    flat.chunks_exact(2)
        .find(|pair| matches!(&pair[0], Value::BulkString(key) if key == name.as_bytes()))
        .map(|pair| &pair[1])
}
