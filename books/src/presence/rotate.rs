//! A rotated passkey's sessions, in guards, leases and sets, become the new one's, and those of a hybrid
//! torrent's second info hash the first one's.
//!
//! Once the alias is in Redis, `apply.lua` brings every entry of the old name to the new one, so what is
//! moved here does not come back. Entry ids decide between two guards of one session, so it does not matter
//! which came first.

use std::collections::HashMap;
use std::sync::LazyLock;

use contract::{InfoHash, Keys, Passkey};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script, cmd};

use super::aliases::torrent_aliases;
use super::{LEASES_A_CALL, SESSIONS_A_CALL, bases};

static ROTATE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("rotate.lua")));

/// Moves every session of `old` to `new` and returns how many there were. The alias must be in Redis already.
///
/// # Errors
/// Redis's own; what was moved is moved, and doing it again does the rest.
pub async fn rotate(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    (old, new): (&Passkey, &Passkey),
) -> RedisResult<u64> {
    let guards = guards(keys, old);
    let (mut cursor, mut moved) = (0u64, 0);
    loop {
        let mut scan = cmd("HSCAN");
        scan.arg(&guards).arg(cursor).arg("COUNT").arg(SESSIONS_A_CALL);
        let (next, found): (u64, Vec<(String, String)>) = scan.query_async(connection).await?;
        let renamed = found
            .into_iter()
            .map(|(session, _)| [old.reveal().to_owned(), session.clone(), new.reveal().to_owned(), session]);
        moved += rename(connection, keys, &renamed.collect::<Vec<_>>()).await?;
        cursor = next;
        if cursor == 0 {
            return Ok(moved);
        }
    }
}

/// Moves the sessions of hybrid torrents' second info hashes to the first ones', where that has not been done
/// since the alias is there, and returns how many there were. What is done is noted beside the guards: a
/// Redis that goes back to before it knows nothing of it either.
///
/// # Errors
/// Redis's own; what was moved is moved, and doing it again does the rest.
pub async fn follow_torrent_aliases(connection: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<u64> {
    let mut left = torrent_aliases(connection, keys).await?;
    let done: HashMap<String, String> = cmd("HGETALL").arg(renamed(keys)).query_async(connection).await?;
    left.retain(|v2, v1| done.get(&*v2.hex()).is_none_or(|done| *done != *v1.hex()));
    if left.is_empty() {
        return Ok(0);
    }
    let moved = rename_torrents(connection, keys, &left).await?;
    let mut note = cmd("HSET");
    note.arg(renamed(keys));
    left.iter().for_each(|(v2, v1)| {
        note.arg(&*v2.hex()).arg(&*v1.hex());
    });
    note.exec_async(connection).await?;
    Ok(moved)
}

/// How many second info hashes [`follow_torrent_aliases`] has dealt with, and how many there are.
///
/// # Errors
/// Redis's own.
pub async fn followed_torrent_aliases(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> RedisResult<(u64, u64)> {
    redis::pipe().hlen(renamed(keys)).hlen(keys.torrent_alias()).query_async(connection).await
}

fn renamed(keys: &Keys) -> String {
    keys.presence("renamed")
}

/// Moves every session of these v2 info hashes to the v1 info hash and returns how many there were. The
/// aliases must be in Redis already. Each session has a lease, so all leases are searched.
async fn rename_torrents(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    v1_of: &HashMap<InfoHash, InfoHash>,
) -> RedisResult<u64> {
    let renamed = |(lease, _): (String, f64)| {
        let (passkey, session) = lease.split_once(':')?;
        let (torrent, client) = session.split_once(':')?;
        let v1 = v1_of.get(&torrent.parse::<InfoHash>().ok()?)?;
        let passkey = passkey.to_owned();
        Some([passkey.clone(), session.to_owned(), passkey, format!("{}:{client}", v1.hex())])
    };
    let (mut cursor, mut moved) = (0u64, 0);
    loop {
        let mut scan = cmd("ZSCAN");
        scan.arg(keys.presence("lease")).arg(cursor).arg("COUNT").arg(LEASES_A_CALL);
        let (next, found): (u64, Vec<(String, f64)>) = scan.query_async(connection).await?;
        let renamed: Vec<[String; 4]> = found.into_iter().filter_map(renamed).collect();
        moved += rename(connection, keys, &renamed).await?;
        cursor = next;
        if cursor == 0 {
            return Ok(moved);
        }
    }
}

async fn rename(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    sessions: &[[String; 4]],
) -> RedisResult<u64> {
    let mut moved = 0;
    for chunk in sessions.chunks(SESSIONS_A_CALL) {
        let mut call = ROTATE.prepare_invoke();
        call.arg(&bases(keys)[..]).arg(chunk.as_flattened());
        moved += call.invoke_async::<u64>(connection).await?;
    }
    Ok(moved)
}

/// How many sessions of a passkey are remembered.
///
/// # Errors
/// Redis's own.
pub async fn count_sessions(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    passkey: &Passkey,
) -> RedisResult<u64> {
    cmd("HLEN").arg(guards(keys, passkey)).query_async(connection).await
}

fn guards(keys: &Keys, passkey: &Passkey) -> String {
    keys.presence(&format!("guard:{}", passkey.reveal()))
}
