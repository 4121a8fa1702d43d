//! A hybrid torrent's second info hash in Redis: its snapshots are folded into the first one's.
//!
//! `tracker:folding` notes what is under way, from before the search until after it: meanwhile the recorder
//! has a session folded before it books on it. Whoever finds a note does the rest, so none is lost by a kill.

use std::collections::HashMap;

use contract::{InfoHash, Keys};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value, cmd};
use service::redis::stream;

use super::snapshots::fold_torrents;
use crate::entry::EntryId;

/// Pairs noted in one step.
const CHUNK: usize = 1000;

/// KEYS: aliases, notes. ARGV: v2, v1 and so on. A torrent with two second names has one note at a time. What
/// is no alias any more needs none.
const NOTE: &str = r"
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HSETNX', KEYS[2], ARGV[i + 1], ARGV[i])
  end
end
local notes, valid = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #notes, 2 do
  if redis.call('HGET', KEYS[1], notes[i + 1]) == notes[i] then
    valid[#valid + 1] = notes[i + 1]
    valid[#valid + 1] = notes[i]
  else
    redis.call('HDEL', KEYS[2], notes[i])
  end
end
return valid
";

/// KEYS: notes. ARGV: v1, v2.
const FORGET: &str = r"
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
";

/// Notes that these v2 info hashes are to be folded into their v1 info hashes, if Redis has them as aliases;
/// returns all that is noted. An entry that Redis takes from now on has no second name.
///
/// # Errors
/// Redis's own.
pub async fn note(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    pairs: &[(InfoHash, InfoHash)],
) -> RedisResult<HashMap<InfoHash, InfoHash>> {
    let mut noted = HashMap::new();
    // Without a pair the notes are read nevertheless.
    for chunk in pairs.chunks(CHUNK).chain(pairs.is_empty().then_some(pairs)) {
        let mut call = cmd("EVAL");
        call.arg(NOTE).arg(2).arg(keys.torrent_alias()).arg(keys.folding());
        for (v2, v1) in chunk {
            call.arg(v2.hex().as_str()).arg(v1.hex().as_str());
        }
        let names: Vec<String> = call.query_async(connection).await?;
        let names: Vec<Option<InfoHash>> = names.iter().map(|name| name.parse().ok()).collect();
        noted = names.chunks(2).filter_map(|pair| Some((pair[0]?, (*pair.get(1)?)?))).collect();
    }
    Ok(noted)
}

/// Folds the snapshots of what is noted, and takes the notes away; how many snapshots there were.
///
/// # Errors
/// Redis's own; the notes stay.
pub async fn fold(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    noted: &HashMap<InfoHash, InfoHash>,
) -> RedisResult<u64> {
    let folded = fold_torrents(connection, &keys.snapshot_prefix(), noted, &mut |_| {}).await?;
    for (v2, v1) in noted {
        let mut call = cmd("EVAL");
        call.arg(FORGET).arg(1).arg(keys.folding()).arg(v1.hex().as_str()).arg(v2.hex().as_str());
        call.query_async::<()>(connection).await?;
    }
    Ok(folded)
}

/// The last entry of a stream; `None` while there is none.
///
/// # Errors
/// Redis's own.
pub async fn last_entry(
    connection: &mut MultiplexedConnection,
    stream: &str,
) -> RedisResult<Option<EntryId>> {
    let mut range = cmd("XREVRANGE");
    range.arg(stream).arg(&["+", "-", "COUNT", "1"]);
    let last = range.query_async::<Value>(connection).await?;
    Ok(stream::entries(&last)?.first().map(|entry| entry.id))
}
