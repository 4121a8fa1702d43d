//! Dead letters: entries that cannot be decoded or that the ledger refuses. They are moved aside with their
//! error, so that the batch around them settles, tried again a few times, and then given up to the `failed`
//! stream for an operator.
//!
//! Both streams are unbounded on purpose: what is in them is somebody's traffic, and their length is a
//! metric.

mod retry;

use std::sync::LazyLock;

use contract::Keys;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script, Value, cmd};
use service::redis::stream;

pub use retry::{Retried, Retrier, RetryError, retry};

use crate::entry::{EntryId, Fields};

/// Appends to the dead letters and acknowledges, but only what is still pending: whoever else handles the
/// same entry must not bury it twice. Append first: a Redis without memory refuses that, and then nothing has
/// been taken away.
static BURY: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then return 0 end
         redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
         redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
         return 1",
    )
});

/// The two streams of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetters {
    /// The consumer still tries these again on its schedule.
    Waiting,
    /// The consumer has given these up; only an operator tries them again.
    Failed,
}

impl DeadLetters {
    /// The stream's key.
    #[must_use]
    pub fn key(self, keys: &Keys) -> String {
        match self {
            Self::Waiting => keys.dead_letters(),
            Self::Failed => keys.failed(),
        }
    }
}

/// An entry in one of these streams, with what the consumer noted about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The letter's id in the stream of dead letters.
    pub id: EntryId,
    /// The entry's id in the traffic stream, under which it is settled; `None` when the note cannot be read.
    pub entry_id: Option<EntryId>,
    /// Why the entry could not be settled. Names fields, never their values.
    pub error: String,
    /// How often it was tried again.
    pub count: u32,
    /// Unix seconds when the letter was added to its stream.
    pub at: u64,
    /// The entry's own fields.
    pub fields: Fields,
}

/// The fields added behind the entry's own.
const NOTES: [&str; 4] = ["_entry_id", "_error", "_count", "_at"];

/// A script can pass on about 8000 values. No entry of ours has twenty fields; what is beyond this is
/// somebody's noise.
const MAX_FIELDS: usize = 1000;

impl DeadLetter {
    fn read(id: EntryId, mut fields: Fields) -> Self {
        // The notes are the last pairs: an entry of somebody else's may have fields of the same names.
        let notes = fields.split_off(fields.len().saturating_sub(NOTES.len()));
        let note = |name: &str| {
            let found = notes.iter().find(|(key, _)| key == name.as_bytes());
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        Self {
            id,
            entry_id: note("_entry_id").parse().ok(),
            error: note("_error"),
            count: note("_count").parse().unwrap_or(0),
            at: note("_at").parse().unwrap_or(0),
            fields,
        }
    }
}

/// An entry of the traffic stream that cannot be settled and goes to the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenEntry {
    /// Its id in the traffic stream.
    pub id: EntryId,
    /// Its fields as they were read.
    pub fields: Fields,
    /// Why it cannot be decoded, or why the ledger refuses it.
    pub error: String,
}

/// Moves a pending entry of `stream` to the dead letters and acknowledges it, in one step. `false` when it
/// was not pending any more. `now` is in unix seconds.
///
/// # Errors
/// Redis's own; then the entry is still pending.
pub async fn bury(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    (stream, group): (&str, &str),
    broken: &BrokenEntry,
    now: u64,
) -> RedisResult<bool> {
    let mut call = BURY.prepare_invoke();
    call.key(stream).key(keys.dead_letters()).arg(group).arg(broken.id.to_string());
    add_fields(&mut call, &broken.fields, Some(broken.id), &broken.error, (0, now));
    call.invoke_async(connection).await
}

fn add_fields(
    call: &mut redis::ScriptInvocation<'_>,
    fields: &Fields,
    entry_id: Option<EntryId>,
    error: &str,
    (count, now): (u32, u64),
) {
    for (name, value) in fields.iter().take(MAX_FIELDS) {
        call.arg(name.as_slice()).arg(value.as_slice());
    }
    let entry_id = entry_id.map(|id| id.to_string()).unwrap_or_default();
    let notes = [entry_id, error.to_owned(), count.to_string(), now.to_string()];
    for (name, value) in NOTES.iter().zip(notes) {
        call.arg(*name).arg(value);
    }
}

/// Up to `count` letters after `after`, oldest first.
///
/// # Errors
/// Redis's own.
pub async fn list(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    stream: DeadLetters,
    after: Option<EntryId>,
    count: usize,
) -> RedisResult<Vec<DeadLetter>> {
    let from = after.map_or_else(|| "-".to_owned(), |id| id.next().to_string());
    let mut command = cmd("XRANGE");
    command.arg(stream.key(keys)).arg(from).arg("+").arg("COUNT").arg(count);
    let entries = stream::entries(&command.query_async::<Value>(connection).await?)?;
    Ok(entries.into_iter().map(|raw| DeadLetter::read(raw.id, raw.fields.unwrap_or_default())).collect())
}

/// Letters looked at for the oldest entry among them; they are in the order in which they were put aside.
const MOST_LOOKED_AT: usize = 1000;

/// The oldest entry of the traffic stream that is a letter of either kind; the last id when there is none,
/// `None` when there are too many to tell.
///
/// # Errors
/// Redis's own.
pub async fn oldest_entry(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> RedisResult<Option<EntryId>> {
    let mut oldest = EntryId::LAST;
    for stream in [DeadLetters::Waiting, DeadLetters::Failed] {
        let letters = list(connection, keys, stream, None, MOST_LOOKED_AT).await?;
        if letters.len() == MOST_LOOKED_AT {
            return Ok(None);
        }
        oldest = letters.iter().filter_map(|letter| letter.entry_id).fold(oldest, Ord::min);
    }
    Ok(Some(oldest))
}

/// How many letters a stream holds.
///
/// # Errors
/// Redis's own.
pub async fn count(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    stream: DeadLetters,
) -> RedisResult<u64> {
    cmd("XLEN").arg(stream.key(keys)).query_async(connection).await
}

/// Removes letters for good and returns how many there were.
///
/// # Errors
/// Redis's own.
pub async fn discard(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    stream: DeadLetters,
    ids: &[EntryId],
) -> RedisResult<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    cmd("XDEL").arg(stream.key(keys)).arg(ids).query_async(connection).await
}
