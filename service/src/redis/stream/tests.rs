//! What is read does not depend on where it lies or where its bytes are cut, and nothing is guessed.

use proptest::prelude::*;
use redis::{RedisResult, Value};

use super::*;

/// All of it at once.
fn in_place(bytes: &[u8]) -> RedisResult<(Vec<RawEntry>, Progress)> {
    let mut entries = Vec::new();
    let visit = |id, fields: Option<&[Pair<'_>]>| entries.push(RawEntry::new(id, fields));
    let progress = NewEntries::default().read(bytes, visit)?;
    Ok((entries, progress))
}

fn from_values(bytes: &[u8]) -> Vec<RawEntry> {
    let mut entries = Vec::new();
    read(&redis::parse_redis_value(bytes).unwrap(), |id, fields| entries.push(RawEntry::new(id, fields)))
        .unwrap();
    entries
}

fn bulk(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

/// The reply that holds these entries.
fn written(entries: &[(u64, Option<Fields>)]) -> Vec<u8> {
    let mut reply = format!("*1\r\n*2\r\n$6\r\nstream\r\n*{}\r\n", entries.len()).into_bytes();
    for (ms, fields) in entries {
        reply.extend([b"*2\r\n".to_vec(), bulk(format!("{ms}-0").as_bytes())].concat());
        match fields {
            None => reply.extend(b"*-1\r\n"),
            Some(fields) => {
                reply.extend(format!("*{}\r\n", 2 * fields.len()).as_bytes());
                fields.iter().for_each(|(name, value)| reply.extend([bulk(name), bulk(value)].concat()));
            }
        }
    }
    reply
}

fn text(text: &str) -> Value {
    Value::BulkString(text.into())
}

fn two_entries() -> Value {
    Value::Array(vec![
        Value::Array(vec![text("1-0"), Value::Nil]),
        Value::Nil,
        Value::Array(vec![text("2-0"), Value::Array(vec![text("a"), text("b")])]),
    ])
}

#[test]
fn a_deleted_entry_reads_as_one_without_fields() {
    let entries = entries(&two_entries()).unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[0].id, &entries[0].fields), (EntryId::at_ms(1), &None));
    assert_eq!(entries[1].fields, Some(vec![(b"a".to_vec(), b"b".to_vec())]));
}

#[test]
fn a_claim_says_where_it_goes_on() {
    let reply = Value::Array(vec![text("7-1"), two_entries(), Value::Array(vec![text("3-0")])]);
    let mut ids = Vec::new();
    let cursor = claimed(&reply, |id, _| ids.push(id.ms)).unwrap();
    assert_eq!((cursor, ids), (EntryId { ms: 7, seq: 1 }, vec![1, 2, 3]), "the deleted one, too");
    assert!(claimed(&two_entries(), |_, _| ()).is_err());
}

#[test]
fn a_stream_reads_the_same_in_both_protocols() {
    let pair = (text("stream"), two_entries());
    let third = Value::Map(vec![pair.clone()]);
    let second = Value::Array(vec![Value::Array(vec![pair.0, pair.1])]);
    let ids = |reply: &Value| {
        let mut ids = Vec::new();
        read(reply, |id, _| ids.push(id.ms)).map(|()| ids)
    };
    assert_eq!(ids(&second).unwrap(), [1, 2]);
    assert_eq!(ids(&third).unwrap(), [1, 2]);
    assert_eq!(ids(&Value::Nil).unwrap(), [0_u64; 0]);
}

#[test]
fn another_form_is_an_error_and_not_a_panic() {
    assert!(entries(&Value::Int(5)).is_err());
    assert!(entries(&Value::Array(vec![Value::Array(vec![Value::Int(5)])])).is_err());
    assert!(entries(&Value::Array(vec![Value::Array(vec![text("1-0"), Value::Int(5)])])).is_err());
}

#[test]
fn no_entries_are_a_whole_reply() {
    for nil in [&b"*-1\r\n"[..], b"*0\r\n", b"*1\r\n*2\r\n$1\r\ns\r\n*0\r\n"] {
        let whole = Progress { taken: nil.len(), whole: true };
        assert_eq!(in_place(nil).unwrap(), (Vec::new(), whole), "{}", nil.escape_ascii());
    }
}

#[test]
fn what_is_no_such_reply_is_an_error() {
    for foreign in [
        &b"+OK\r\n"[..],
        b":5\r\n",
        b"*2\r\n*2\r\n",
        b"*1\r\n*3\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$1\r\nx\r\n*0\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*3\r\n",
        b"*9999999999",
        b"*-2\r\n",
        b"*1\rx",
    ] {
        assert!(in_place(foreign).is_err(), "{}", foreign.escape_ascii());
    }
}

fn fields() -> impl Strategy<Value = Fields> {
    let text = || proptest::collection::vec(any::<u8>(), 0..12);
    proptest::collection::vec((text(), text()), 0..5)
}

proptest! {
    #[test]
    fn it_reads_what_the_redis_crate_reads_wherever_the_bytes_are_cut(
        entries in proptest::collection::vec((any::<u64>(), proptest::option::of(fields())), 0..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = written(&entries);
        let (whole, progress) = in_place(&bytes).unwrap();
        prop_assert_eq!(progress, Progress { taken: bytes.len(), whole: true });
        prop_assert_eq!(&whole, &from_values(&bytes));

        let (mut reply, mut pieces) = (NewEntries::default(), Vec::new());
        let mut visit = |id, fields: Option<&[Pair<'_>]>| pieces.push(RawEntry::new(id, fields));
        let first = reply.read(&bytes[..cut.index(bytes.len())], &mut visit).unwrap();
        prop_assert!(!first.whole);
        let second = reply.read(&bytes[first.taken..], &mut visit).unwrap();
        prop_assert_eq!(second, Progress { taken: bytes.len() - first.taken, whole: true });
        prop_assert_eq!(pieces, whole);
    }
}
