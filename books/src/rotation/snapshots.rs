//! Moves session snapshots to the sessions' new names: those of a rotated passkey, or of a hybrid torrent's
//! second info hash.
//!
//! While that is noted in Redis, `record.lua` has a session folded before it books on it, so nothing depends
//! on when this gets to a snapshot: it only brings the silent sessions along. Both compute the fold with
//! `claims` and have Redis write it only if both snapshots are still what it was computed from.

use std::collections::HashMap;
use std::sync::LazyLock;

use claims::{DEFAULT_SKEW_MS, Snapshot};
use contract::{InfoHash, Passkey};
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, Script};

/// Sessions that one script call folds: about a millisecond of Redis.
const CHUNK: usize = 100;
/// Keys that one step of the search looks at.
const SCAN_STEP: usize = 1000;
/// How often a session is folded again that was booked on meanwhile.
const MOST_TRIES: u32 = 20;

static READ: LazyLock<Script> = LazyLock::new(|| {
    let all = "local all = {} for i, key in ipairs(KEYS) do all[i] = whole(key) or '' end return all";
    Script::new(&[contract::WHOLE_SNAPSHOT, all].concat())
});
static FOLD: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[contract::WHOLE_SNAPSHOT, include_str!("fold.lua")].concat()));

/// A snapshot's name, and what it becomes.
type Renamed = (String, String);

/// Folds every snapshot of `old` into its session's under `new` and returns how many there were. `prefix` is
/// what snapshot keys begin with, the site's prefix included. `looked` is told, now and then, how
/// many keys were searched since the last time.
///
/// # Errors
/// Redis's own; what was folded is folded, and doing it again does the rest.
pub async fn fold_snapshots(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    (old, new): (&Passkey, &Passkey),
    looked: &mut (dyn FnMut(u64) + Send),
) -> RedisResult<u64> {
    let (from, to) = (format!("{prefix}{}:", old.reveal()), format!("{prefix}{}:", new.reveal()));
    let renamed = |name: &str| Some(format!("{to}{}", name.strip_prefix(&from)?));
    fold_all(connection, &format!("{}*", literal(&from)), &renamed, looked).await
}

/// Folds every snapshot of these v2 info hashes into its session's under the v1 info hash. Otherwise as
/// [`fold_snapshots`].
///
/// # Errors
/// Redis's own; what was folded is folded, and doing it again does the rest.
pub(super) async fn fold_torrents(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    v1_of: &HashMap<InfoHash, InfoHash>,
    looked: &mut (dyn FnMut(u64) + Send),
) -> RedisResult<u64> {
    let renamed = |name: &str| {
        let (user, session) = name.strip_prefix(prefix)?.split_once(':')?;
        let (torrent, client) = session.split_once(':')?;
        let v1 = v1_of.get(&torrent.parse::<InfoHash>().ok()?)?;
        Some(format!("{prefix}{user}:{}:{client}", v1.hex()))
    };
    let torrent = match v1_of.keys().next() {
        None => return Ok(0),
        Some(only) if v1_of.len() == 1 => only.hex().to_string(),
        Some(_) => "*".to_owned(),
    };
    fold_all(connection, &format!("{}*:{torrent}:*", literal(prefix)), &renamed, looked).await
}

/// How many snapshots `old` has. Arguments as for [`fold_snapshots`].
///
/// # Errors
/// Redis's own.
pub async fn count_snapshots(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    old: &Passkey,
    looked: &mut (dyn FnMut(u64) + Send),
) -> RedisResult<u64> {
    let (mut cursor, mut found) = (Some(0), 0);
    let pattern = format!("{}:*", literal(&format!("{prefix}{}", old.reveal())));
    while let Some(at) = cursor {
        let (next, names) = search(connection, &pattern, at).await?;
        found += names.len() as u64;
        looked(SCAN_STEP as u64);
        cursor = next;
    }
    Ok(found)
}

async fn fold_all(
    connection: &mut MultiplexedConnection,
    pattern: &str,
    renamed: &(dyn Fn(&str) -> Option<String> + Sync),
    looked: &mut (dyn FnMut(u64) + Send),
) -> RedisResult<u64> {
    let (mut cursor, mut folded) = (Some(0), 0);
    while let Some(at) = cursor {
        let (next, names) = search(connection, pattern, at).await?;
        let named = names.into_iter().filter_map(|name| Some((renamed(&name)?, name)));
        let named: Vec<Renamed> = named.map(|(new, old)| (old, new)).collect();
        for chunk in named.chunks(CHUNK) {
            folded += fold(connection, chunk.to_vec()).await?;
        }
        looked(SCAN_STEP as u64);
        cursor = next;
    }
    Ok(folded)
}

/// Some of the keys of a pattern, and where the search goes on; `None` at its end. SCAN shows every key that
/// is there from the beginning to the end; some of them twice.
async fn search(
    connection: &mut MultiplexedConnection,
    pattern: &str,
    cursor: u64,
) -> RedisResult<(Option<u64>, Vec<String>)> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_STEP);
    let (next, names): (u64, Vec<String>) = scan.query_async(connection).await?;
    Ok(((next != 0).then_some(next), names))
}

/// Folds these snapshots, again where a tracker was faster, and returns how many there were.
async fn fold(connection: &mut MultiplexedConnection, mut left: Vec<Renamed>) -> RedisResult<u64> {
    let mut folded = 0;
    for _ in 0..MOST_TRIES {
        if left.is_empty() {
            return Ok(folded);
        }
        let done = try_to_fold(connection, &mut left).await?;
        folded += done;
    }
    if left.is_empty() {
        return Ok(folded);
    }
    Err(RedisError::from((ErrorKind::Client, "snapshots changed whenever they were to be moved")))
}

async fn try_to_fold(
    connection: &mut MultiplexedConnection,
    sessions: &mut Vec<Renamed>,
) -> RedisResult<u64> {
    let mut call = READ.prepare_invoke();
    for (old, new) in &*sessions {
        call.key(old).key(new);
    }
    let read: Vec<Vec<u8>> = call.invoke_async(connection).await?;
    let read: HashMap<&Renamed, &[Vec<u8>]> = sessions.iter().zip(read.chunks(2)).collect();
    let there: Vec<&Renamed> = sessions.iter().filter(|session| !read[session][0].is_empty()).collect();
    if there.is_empty() {
        sessions.clear();
        return Ok(0);
    }
    let mut call = FOLD.prepare_invoke();
    for session in &there {
        let Folded { deed, session: together } = Folded::of(read[*session]);
        call.key(&session.0).key(&session.1).arg(read[*session]).arg(deed).arg(together);
    }
    let answers: Vec<i8> = call.invoke_async(connection).await?;
    let changed = there.iter().zip(&answers).filter(|(_, answer)| **answer == 0);
    let changed: Vec<Renamed> = changed.map(|(session, _)| (*session).clone()).collect();
    *sessions = changed;
    Ok(answers.iter().filter(|answer| **answer == 1).count() as u64)
}

/// What becomes of two snapshots.
struct Folded {
    /// As the script knows it.
    deed: &'static str,
    /// Both in one.
    session: Vec<u8>,
}

impl Folded {
    /// Of what is kept of a session under its old name and its new one. What cannot be read is nothing, as it
    /// is for the recorder.
    fn of(kept: &[Vec<u8>]) -> Self {
        let read = |place: usize| kept.get(place).and_then(|kept| Snapshot::read(kept).ok());
        let only = |deed| Self { deed, session: Vec::new() };
        match (read(0), read(1)) {
            (None, Some(_)) => only("drop"),
            (_, None) => only("move"),
            (Some(old), Some(new)) => {
                let deed = if old.newest_ms > new.newest_ms { "old" } else { "new" };
                Self { deed, session: old.fold(new, DEFAULT_SKEW_MS).encode() }
            }
        }
    }
}

/// A site's key prefix may hold what means something in a pattern.
fn literal(text: &str) -> String {
    let special = |c: char| matches!(c, '*' | '?' | '[' | ']' | '\\' | '^');
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_means_itself_in_a_pattern() {
        assert_eq!(literal("a[1]*:tracker:last:k_1-"), "a\\[1\\]\\*:tracker:last:k_1-");
    }
}
