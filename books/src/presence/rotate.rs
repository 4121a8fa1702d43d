//! A rotated passkey's sessions, in guards, leases and sets, become the new one's.
//!
//! Once the alias is in Redis, `apply.lua` brings every entry of the old passkey to the new one, so what is
//! moved here does not come back. Entry ids decide between two guards of one session, so it does not matter
//! which came first.

use std::sync::LazyLock;

use contract::{Keys, Passkey};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script, cmd};

use super::{SESSIONS_A_CALL, bases};

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
    let (bases, mut cursor, mut moved) = (bases(keys), 0u64, 0);
    loop {
        let mut scan = cmd("HSCAN");
        scan.arg(&guards).arg(cursor).arg("COUNT").arg(SESSIONS_A_CALL);
        let (next, found): (u64, Vec<(String, String)>) = scan.query_async(connection).await?;
        for chunk in found.chunks(SESSIONS_A_CALL) {
            let mut call = ROTATE.prepare_invoke();
            call.arg(&bases[..]).arg(old.reveal()).arg(new.reveal());
            for (session, _) in chunk {
                call.arg(session);
            }
            moved += call.invoke_async::<u64>(connection).await?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(moved);
        }
    }
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
