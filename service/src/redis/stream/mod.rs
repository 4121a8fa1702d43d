//! The one reader of stream entries in Redis' replies, for everybody who reads a stream: consumer, books and
//! trackers that share their swarms. `XREAD`, `XREADGROUP`, `XRANGE` and `XAUTOCLAIM` wrap the same entries
//! in different ways; whatever else comes is an error, never a guess.
//!
//! It reads from two places by the same rules. Nearly all readers have a reply as the redis crate read it
//! ([`range`], [`read`], [`claimed`]). The consumer's new entries, a thousand at a time, are read in place as
//! their bytes arrive ([`NewEntries`] over [`super::Wire`]), without a copy or an allocation for each field:
//! 0.89 us of a consumer's core for an entry, seven times less than through the redis crate's values, which
//! was more than all else that a consumer does with an entry but commit it (docs/performance.md).

mod bytes;
#[cfg(test)]
mod tests;
mod values;

use contract::EntryId;
use redis::{RedisError, RedisResult, Value};

use self::bytes::Cursor;
use self::values::Walk;
use super::Progress;
use super::reply::unexpected;

/// A name and a value where they lie.
pub type Pair<'a> = (&'a [u8], &'a [u8]);
/// An entry's names and values as Redis holds them, in order.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// An entry taken out of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEntry {
    /// Its place in the stream.
    pub id: EntryId,
    /// Names and values; `None` for an entry that was deleted while it was pending.
    pub fields: Option<Fields>,
}

impl RawEntry {
    /// Copies an entry out of its reply.
    #[must_use]
    pub fn new(id: EntryId, fields: Option<&[Pair<'_>]>) -> Self {
        let copied = |fields: &[Pair<'_>]| {
            fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
        };
        Self { id, fields: fields.map(copied) }
    }
}

/// All entries of `XRANGE` or `XREVRANGE`.
///
/// # Errors
/// When this is no such reply.
pub fn entries(reply: &Value) -> RedisResult<Vec<RawEntry>> {
    let mut entries = Vec::new();
    range(reply, |id, fields| entries.push(RawEntry::new(id, fields)))?;
    Ok(entries)
}

/// Visits the entries of `XRANGE` or `XREVRANGE`.
///
/// # Errors
/// When this is no such reply.
pub fn range(reply: &Value, mut visit: impl FnMut(EntryId, Option<&[Pair<'_>]>)) -> RedisResult<()> {
    let mut walk = Walk::new(reply);
    all(&mut walk, &mut visit).map_err(RedisError::from)
}

/// Visits the entries of `XREAD` or `XREADGROUP` of one stream.
///
/// # Errors
/// When this is no such reply.
pub fn read(reply: &Value, mut visit: impl FnMut(EntryId, Option<&[Pair<'_>]>)) -> RedisResult<()> {
    let mut walk = Walk::new(reply);
    let mut left = one_stream(&mut walk)?;
    some(&mut walk, &mut left, &mut visit, |_| ()).map_err(RedisError::from)
}

/// Visits the entries that `XAUTOCLAIM` took over, and says where the next call goes on. Ids that it dropped
/// from the pending entries, because their entries are gone, need nobody any more.
///
/// # Errors
/// When this is no such reply.
pub fn claimed(reply: &Value, mut visit: impl FnMut(EntryId, Option<&[Pair<'_>]>)) -> RedisResult<EntryId> {
    let mut walk = Walk::new(reply);
    let parts = match walk.array()? {
        Some(parts @ (2 | 3)) => parts,
        _ => return Err(unexpected("a cursor and claimed entries were expected")),
    };
    let cursor = id(&mut walk)?;
    all(&mut walk, &mut visit)?;
    // Since 7.0 entries that were deleted while they were pending are told apart, and pending no longer.
    let deleted = if parts == 3 { walk.array()?.unwrap_or(0) } else { 0 };
    for _ in 0..deleted {
        visit(id(&mut walk)?, None);
    }
    Ok(cursor)
}

/// A reply of `XREADGROUP` about one stream that is being read as its bytes arrive.
#[derive(Debug, Default)]
pub struct NewEntries {
    /// Entries that are still to come; `None` before the reply has said how many there are.
    left: Option<usize>,
}

impl NewEntries {
    /// Visits the entries that are there as a whole, and says how far it came. Bytes that it has not taken
    /// must be shown again, with more behind them.
    ///
    /// # Errors
    /// When this is no such reply.
    pub fn read(
        &mut self,
        bytes: &[u8],
        mut visit: impl FnMut(EntryId, Option<&[Pair<'_>]>),
    ) -> RedisResult<Progress> {
        let mut cursor = Cursor::new(bytes);
        let mut taken = 0;
        let read = match self.left {
            Some(left) => Ok(left),
            None => one_stream(&mut cursor),
        };
        let read = read.and_then(|mut left| {
            taken = cursor.at();
            let read = some(&mut cursor, &mut left, &mut visit, |cursor| taken = cursor.at());
            self.left = Some(left);
            read
        });
        match read {
            Ok(()) => Ok(Progress { taken, whole: true }),
            Err(Stuck::Unfinished) => Ok(Progress { taken, whole: false }),
            Err(wrong) => Err(wrong.into()),
        }
    }
}

/// Why an element cannot be read.
#[derive(Debug, Clone, Copy)]
enum Stuck {
    /// Its end is not there yet.
    Unfinished,
    /// It is none, and what was expected.
    Wrong(&'static str),
}

impl From<Stuck> for RedisError {
    fn from(stuck: Stuck) -> Self {
        match stuck {
            Stuck::Unfinished => unexpected("the end of the reply was expected"),
            Stuck::Wrong(expected) => unexpected(expected),
        }
    }
}

/// A reply, one element after another, wherever it lies.
trait Elements<'a> {
    /// The length of an array, whose elements come next; `None` for nil.
    fn array(&mut self) -> Result<Option<usize>, Stuck>;

    /// A string.
    fn text(&mut self) -> Result<&'a [u8], Stuck>;
}

/// How many entries of the one stream follow: nil, or one pair of the stream's name and its entries.
fn one_stream<'a>(elements: &mut impl Elements<'a>) -> Result<usize, Stuck> {
    match elements.array()? {
        None | Some(0) => return Ok(0),
        Some(1) => {}
        Some(_) => return Err(Stuck::Wrong("entries of one stream were expected")),
    }
    if elements.array()? != Some(2) {
        return Err(Stuck::Wrong("a stream's name and entries were expected"));
    }
    elements.text()?;
    Ok(elements.array()?.unwrap_or(0))
}

/// Visits a list of entries.
fn all<'a>(
    elements: &mut impl Elements<'a>,
    visit: &mut impl FnMut(EntryId, Option<&[Pair<'_>]>),
) -> Result<(), Stuck> {
    let mut left = elements.array()?.unwrap_or(0);
    some(elements, &mut left, visit, |_| ())
}

/// Visits entries until none is left; `done` hears of each that was read as a whole.
fn some<'a, E: Elements<'a>>(
    elements: &mut E,
    left: &mut usize,
    visit: &mut impl FnMut(EntryId, Option<&[Pair<'_>]>),
    mut done: impl FnMut(&E),
) -> Result<(), Stuck> {
    let mut fields = Vec::with_capacity(USUAL_FIELDS);
    while *left > 0 {
        entry(elements, &mut fields, visit)?;
        *left -= 1;
        done(elements);
    }
    Ok(())
}

/// Those of a traffic event.
const USUAL_FIELDS: usize = 16;

/// Visits one entry: a pair of its id and a flat array of names and values, or nil once it is deleted. Redis
/// 6 claims a deleted entry as a nil without an id: there is nothing to visit. `fields` is room that is used
/// again.
fn entry<'a>(
    elements: &mut impl Elements<'a>,
    fields: &mut Vec<Pair<'a>>,
    visit: &mut impl FnMut(EntryId, Option<&[Pair<'_>]>),
) -> Result<(), Stuck> {
    match elements.array()? {
        Some(2) => {}
        None => return Ok(()),
        Some(_) => return Err(Stuck::Wrong("an entry's id and fields were expected")),
    }
    let id = id(elements)?;
    let Some(count) = elements.array()? else {
        visit(id, None);
        return Ok(());
    };
    if count % 2 != 0 {
        return Err(Stuck::Wrong("names and values by turns were expected"));
    }
    fields.clear();
    for _ in 0..count / 2 {
        fields.push((elements.text()?, elements.text()?));
    }
    visit(id, Some(fields));
    Ok(())
}

fn id<'a>(elements: &mut impl Elements<'a>) -> Result<EntryId, Stuck> {
    EntryId::from_bytes(elements.text()?).ok_or(Stuck::Wrong("an entry id was expected"))
}
