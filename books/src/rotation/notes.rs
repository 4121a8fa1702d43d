//! The notes about a rotation in Redis: the alias, for good, and a mark for as long as snapshots are being
//! moved.

use contract::{Keys, Passkey};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use super::{Refusal, RotationError};
use crate::ledger::Intent;

/// KEYS: aliases, whitelist, rotations under way. ARGV: old, new, whether the ledger knows the old one,
/// whether to begin. The new one is allowed if the old one is: a rotation admits nobody who was turned away.
const BEGIN: &str = r"
local aliases, old, new = KEYS[1], ARGV[1], ARGV[2]
if redis.call('HEXISTS', aliases, new) == 1 then return 'new' end
local known = redis.call('HGET', aliases, old)
if known and known ~= new then return 'old' end
local under_way = redis.call('HGETALL', KEYS[3])
for i = 1, #under_way, 2 do
  if under_way[i] == old or (under_way[i] == new and under_way[i + 1] ~= old) then return 'unfinished' end
end
local allowed = redis.call('SISMEMBER', KEYS[2], old) == 1
if not (known or allowed or ARGV[3] == '1') then return 'unknown' end
if ARGV[4] == '0' then return 'ok' end
redis.call('HSET', KEYS[3], new, old)
if allowed then redis.call('SADD', KEYS[2], new) end
local all = redis.call('HGETALL', aliases)
for i = 1, #all, 2 do
  if all[i + 1] == old then redis.call('HSET', aliases, all[i], new) end
end
redis.call('HSET', aliases, old, new)
return 'ok'
";

/// Begins the rotation, in one step, or only says whether it may begin: from then on whatever names the old
/// passkey is booked on the new one. `known`: whether the ledger knows the old one.
pub(super) async fn begin(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    (old, new): (&Passkey, &Passkey),
    known: bool,
    intent: Intent,
) -> Result<(), RotationError> {
    let mut command = redis::cmd("EVAL");
    command.arg(BEGIN).arg(3).arg(keys.passkey_alias()).arg(keys.passkeys()).arg(keys.rotating());
    command.arg(old.reveal()).arg(new.reveal());
    command.arg(u8::from(known)).arg(u8::from(intent == Intent::Act));
    Err(match command.query_async::<String>(connection).await?.as_str() {
        "ok" => return Ok(()),
        "new" => Refusal::NewWasRotated,
        "old" => Refusal::OldWasRotated,
        "unfinished" => Refusal::Unfinished,
        _ => Refusal::Unknown,
    }
    .into())
}

/// Ends it: nothing is left under the old passkey, and nothing can be written there any more.
pub(super) async fn finish(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    new: &Passkey,
) -> RedisResult<()> {
    redis::cmd("HDEL").arg(keys.rotating()).arg(new.reveal()).query_async(connection).await
}
