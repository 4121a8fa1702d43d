//! How many sessions seed and leech, over all users, and a few users picked for a closer look.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use contract::{Keys, Passkey};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script, cmd};

static COUNT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("count.lua")));

/// Leases looked at by one call: about a millisecond.
const LEASES_A_CALL: usize = 500;
/// Calls of one count at most: ten million sessions.
const MOST_CALLS: usize = 20_000;

/// Sessions in the sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Sessions that seed, over all users.
    pub seeding: u64,
    /// Sessions that leech, over all users.
    pub leeching: u64,
}

/// Counts all sessions, a bounded number at a time; what changes meanwhile may be missed or counted.
///
/// # Errors
/// Redis's own.
pub async fn census(connection: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<Census> {
    let (mut census, mut cursor) = (Census::default(), "0".to_owned());
    for _ in 0..MOST_CALLS {
        let mut call = COUNT.prepare_invoke();
        call.arg(keys.presence("guard:")).arg(keys.presence("lease")).arg(&cursor).arg(LEASES_A_CALL);
        let (next, seeding, leeching): (String, u64, u64) = call.invoke_async(connection).await?;
        census.seeding += seeding;
        census.leeching += leeching;
        if next == "0" {
            break;
        }
        cursor = next;
    }
    Ok(census)
}

/// Up to `count` users at random, the busier the likelier.
///
/// # Errors
/// Redis's own.
pub async fn sample(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    count: usize,
) -> RedisResult<BTreeSet<Passkey>> {
    let mut pick = cmd("ZRANDMEMBER");
    pick.arg(keys.presence("lease")).arg(count);
    let sessions: Vec<String> = pick.query_async(connection).await?;
    Ok(sessions.iter().filter_map(|session| session.split(':').next()?.parse().ok()).collect())
}
