//! What Redis knows of a rotation: the alias, and for as long as snapshots are being moved, that they are.

use books::ledger::{Intent, Rotated};
use contract::{Keys, Passkey};

use crate::connect::Redis;
use crate::failure::Failure;

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
/// passkey is booked on the new one. `ledger`: what the ledger has of the old one.
pub(super) async fn begin(
    redis: &mut Redis,
    keys: &Keys,
    (old, new): (&Passkey, &Passkey),
    ledger: &Rotated,
    intent: Intent,
) -> Result<(), Failure> {
    let mut command = redis::cmd("EVAL");
    command.arg(BEGIN).arg(3).arg(keys.passkey_alias()).arg(keys.passkeys()).arg(keys.rotating());
    command.arg(old.reveal()).arg(new.reveal());
    command.arg(u8::from(ledger.known)).arg(u8::from(intent == Intent::Act));
    let refusal = match redis.query::<String>(&command).await?.as_str() {
        "ok" => return Ok(()),
        "new" => "the new passkey was itself rotated to another one",
        "old" => "the old passkey was rotated to another one already",
        "unfinished" => "another rotation with one of these passkeys was broken off: repeat that one first",
        _ => "the old passkey is neither on the whitelist nor in the ledger",
    };
    Err(Failure::usage(refusal))
}

/// Ends it: nothing is left under the old passkey, and nothing can be written there any more.
pub(super) async fn finish(
    redis: &mut Redis,
    keys: &Keys,
    (_, new): (&Passkey, &Passkey),
) -> Result<(), Failure> {
    redis.query(redis::cmd("HDEL").arg(keys.rotating()).arg(new.reveal())).await
}
