//! Moves the session snapshots of a rotated passkey to the new one.
//!
//! While the rotation is noted in Redis, `record.lua` folds a session before it books on it, so nothing
//! depends on when this gets to a snapshot: it only brings the silent sessions along.

use std::sync::LazyLock;

use contract::Passkey;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};

/// Snapshots that one script call folds: below a millisecond of Redis.
const CHUNK: usize = 200;
/// Keys that one step of the search looks at.
const SCAN_STEP: usize = 1000;

const FOLD_ALL: &str = "local folded = 0
     for i = 2, #ARGV do
       if fold(ARGV[1] .. ':' .. ARGV[i], KEYS[1] .. ':' .. ARGV[i]) then folded = folded + 1 end
     end
     return folded";

static SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[contract::FOLD_SNAPSHOT, FOLD_ALL].concat()));

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
    looked: &mut dyn FnMut(u64),
) -> RedisResult<u64> {
    let (from, to) = (format!("{prefix}{}", old.reveal()), format!("{prefix}{}", new.reveal()));
    let mut folded = 0;
    search(connection, &from, looked, async |connection, sessions| {
        for chunk in sessions.chunks(CHUNK) {
            let mut call = SCRIPT.key(&to);
            folded += call.arg(&from).arg(chunk).invoke_async::<u64>(connection).await?;
        }
        Ok(())
    })
    .await?;
    Ok(folded)
}

/// How many snapshots `old` has. Arguments as for [`fold_snapshots`].
///
/// # Errors
/// Redis's own.
pub async fn count_snapshots(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    old: &Passkey,
    looked: &mut dyn FnMut(u64),
) -> RedisResult<u64> {
    let mut found = 0;
    let from = format!("{prefix}{}", old.reveal());
    search(connection, &from, looked, async |_, sessions| {
        found += sessions.len() as u64;
        Ok(())
    })
    .await?;
    Ok(found)
}

/// Hands over the sessions, `<infohash>:<peer_id>`, of all snapshots whose names begin with `from`. SCAN
/// shows every key that is there from the beginning to the end; some of them twice.
async fn search(
    connection: &mut MultiplexedConnection,
    from: &str,
    looked: &mut dyn FnMut(u64),
    mut take: impl AsyncFnMut(&mut MultiplexedConnection, &[String]) -> RedisResult<()>,
) -> RedisResult<()> {
    let (pattern, mut cursor) = (format!("{}:*", literal(from)), 0u64);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_STEP);
        let (next, names): (u64, Vec<String>) = scan.query_async(connection).await?;
        let sessions: Vec<String> = names.iter().filter_map(|name| session(name, from)).collect();
        take(connection, &sessions).await?;
        looked(SCAN_STEP as u64);
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

fn session(name: &str, from: &str) -> Option<String> {
    Some(name.strip_prefix(from)?.strip_prefix(':')?.to_owned())
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
