//! What `XREADGROUP` answers about one stream, read in place: entry by entry as the bytes arrive, without a
//! copy or an allocation for each field. Protocol 2, which is what [`service::redis::Wire`] speaks.
//!
//! A reply is nil, or one pair of the stream's name and its entries; an entry is a pair of its id and a flat
//! array of names and values, or nil once it is deleted. Whatever else comes is an error, never a guess.

use redis::RedisResult;
use service::redis::Progress;

use crate::batch::Batch;
use crate::resp::{Cursor, Stuck};
use books::entry::EntryId;
use books::reply::unexpected;

/// A reply that is being read.
#[derive(Debug, Default)]
pub struct StreamReply {
    /// Entries that are still to come; `None` before the reply has said how many there are.
    left: Option<usize>,
}

impl StreamReply {
    /// Adds the entries that are there as a whole to the batch, and says how far it came. Bytes that it has
    /// not taken must be shown again, with more behind them.
    ///
    /// # Errors
    /// When this is no such reply.
    pub fn read(&mut self, bytes: &[u8], batch: &mut Batch) -> RedisResult<Progress> {
        let mut cursor = Cursor::new(bytes);
        match self.entries(&mut cursor, batch) {
            Ok(taken) => Ok(Progress { taken, whole: true }),
            Err((taken, Stuck::Unfinished)) => Ok(Progress { taken, whole: false }),
            Err((_, Stuck::Wrong(expected))) => Err(unexpected(expected)),
        }
    }

    /// Where the reply ends, or where it goes on and why that cannot be read.
    fn entries(&mut self, cursor: &mut Cursor<'_>, batch: &mut Batch) -> Result<usize, (usize, Stuck)> {
        let mut left = match self.left {
            Some(left) => left,
            None => head(cursor).map_err(|stuck| (0, stuck))?,
        };
        let (mut taken, mut fields) = (cursor.at(), Vec::with_capacity(USUAL_FIELDS));
        let mut outcome = Ok(());
        while left > 0 && outcome.is_ok() {
            outcome = entry(cursor, &mut fields, batch);
            if outcome.is_ok() {
                (left, taken) = (left - 1, cursor.at());
            }
        }
        self.left = Some(left);
        outcome.map(|()| taken).map_err(|stuck| (taken, stuck))
    }
}

/// Those of a traffic event.
const USUAL_FIELDS: usize = 16;

/// How many entries follow.
fn head(cursor: &mut Cursor<'_>) -> Result<usize, Stuck> {
    match cursor.length(b'*')? {
        None | Some(0) => return Ok(0),
        Some(1) => {}
        Some(_) => return Err(Stuck::Wrong("entries of one stream were expected")),
    }
    if cursor.length(b'*')? != Some(2) {
        return Err(Stuck::Wrong("a stream's name and entries were expected"));
    }
    cursor.text()?;
    Ok(cursor.length(b'*')?.unwrap_or(0))
}

/// Reads one entry into the batch. `fields` is room that is used again.
fn entry<'a>(
    cursor: &mut Cursor<'a>,
    fields: &mut Vec<(&'a [u8], &'a [u8])>,
    batch: &mut Batch,
) -> Result<(), Stuck> {
    if cursor.length(b'*')? != Some(2) {
        return Err(Stuck::Wrong("an entry's id and fields were expected"));
    }
    let id = EntryId::from_bytes(cursor.text()?).ok_or(Stuck::Wrong("an entry id was expected"))?;
    let Some(count) = cursor.length(b'*')? else {
        batch.gone.push(id);
        return Ok(());
    };
    if count % 2 != 0 {
        return Err(Stuck::Wrong("names and values by turns were expected"));
    }
    fields.clear();
    for _ in 0..count / 2 {
        fields.push((cursor.text()?, cursor.text()?));
    }
    batch.add(id, fields.iter().copied());
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redis::Value;

    use super::*;
    use books::entry::Fields;
    use books::reply;

    /// All of it at once.
    fn read(bytes: &[u8]) -> RedisResult<(Batch, Progress)> {
        let mut batch = Batch::default();
        StreamReply::default().read(bytes, &mut batch).map(|progress| (batch, progress))
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

    fn by_the_redis_crate(bytes: &[u8]) -> Batch {
        let Value::Array(mut streams) = redis::parse_redis_value(bytes).unwrap() else { panic!("no array") };
        let mut stream = reply::array(streams.remove(0)).unwrap();
        Batch::of(reply::entries(stream.pop().unwrap()).unwrap())
    }

    #[test]
    fn no_entries_are_a_whole_reply() {
        for nil in [&b"*-1\r\n"[..], b"*0\r\n", b"*1\r\n*2\r\n$1\r\ns\r\n*0\r\n"] {
            let whole = Progress { taken: nil.len(), whole: true };
            assert_eq!(read(nil).unwrap(), (Batch::default(), whole), "{}", nil.escape_ascii());
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
            assert!(read(foreign).is_err(), "{}", foreign.escape_ascii());
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
            let (whole, progress) = read(&bytes).unwrap();
            prop_assert_eq!(progress, Progress { taken: bytes.len(), whole: true });
            prop_assert_eq!(&whole, &by_the_redis_crate(&bytes));

            let (mut reply, mut pieces) = (StreamReply::default(), Batch::default());
            let first = reply.read(&bytes[..cut.index(bytes.len())], &mut pieces).unwrap();
            prop_assert!(!first.whole);
            let second = reply.read(&bytes[first.taken..], &mut pieces).unwrap();
            prop_assert_eq!(second, Progress { taken: bytes.len() - first.taken, whole: true });
            prop_assert_eq!(pieces, whole);
        }
    }
}
