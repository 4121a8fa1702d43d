//! `passkey replace`: makes a file's passkeys the whitelist.
//!
//! A replacement is loaded beside the set in force and renamed over it, so that the tracker sees the old
//! whitelist or the new one and never a part of either.

use clap::Args;
use contract::Passkey;
use serde::Serialize;

use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::count;
use crate::listed::{CHUNK, Source, skipped};
use crate::output::Report;
use crate::{Answer, progress};

/// How long a half-loaded replacement outlives a killed `trackerctl`.
const ABANDONED_AFTER_SECS: u32 = 3600;

/// Replaces the whitelist.
#[derive(Debug, Args)]
pub(crate) struct Replace {
    #[command(flatten)]
    source: Source,
    /// Accept a file without a single passkey: nobody may announce any more.
    #[arg(long)]
    allow_empty: bool,
}

#[derive(Serialize)]
struct Replaced {
    passkeys: u64,
    added: u64,
    removed: u64,
    skipped_invalid: u64,
}

impl Report for Replaced {
    fn text(&self) -> String {
        let now = count(self.passkeys, "passkey", "passkeys");
        format!("{now} in force: {} added, {} removed", self.added, self.removed)
            + &skipped(self.skipped_invalid)
    }
}

/// Makes a file's passkeys the whole whitelist.
pub(crate) async fn run(command: &Replace, context: &Context) -> Result<Answer, Failure> {
    let (passkeys, skipped_invalid) = command.source.read::<Passkey>()?;
    if passkeys.is_empty() && !command.allow_empty {
        let message = "the file holds no passkey: nobody could announce; --allow-empty if that is wanted";
        return Err(Failure::usage(message));
    }
    let mut redis = context.redis().await?;
    let in_force = context.keys.passkeys();
    let loading = format!("{in_force}:replacing:{:016x}", rand::random::<u64>());
    let loaded = load_beside(&mut redis, &in_force, &loading, &passkeys).await?;
    let before = swap(&mut redis, &in_force, &loading, loaded.distinct).await?;
    context.output.show(&Replaced {
        passkeys: loaded.distinct,
        added: loaded.distinct - loaded.kept,
        removed: before.saturating_sub(loaded.kept),
        skipped_invalid,
    })?;
    Ok(Answer::Done)
}

/// What went into the new set.
struct Loaded {
    distinct: u64,
    /// Those of them that the set in force held when they were loaded.
    kept: u64,
}

async fn load_beside(
    redis: &mut Redis,
    in_force: &str,
    loading: &str,
    passkeys: &[Passkey],
) -> Result<Loaded, Failure> {
    let bar = progress::bar("loading", passkeys.len() as u64);
    let (mut loaded, mut seen) = (Loaded { distinct: 0, kept: 0 }, std::collections::HashSet::new());
    for chunk in passkeys.chunks(CHUNK) {
        let fresh: Vec<&str> =
            chunk.iter().filter(|passkey| seen.insert(**passkey)).map(Passkey::reveal).collect();
        bar.inc(chunk.len() as u64);
        if fresh.is_empty() {
            continue;
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("SADD").arg(loading).arg(&fresh);
        pipeline.cmd("EXPIRE").arg(loading).arg(ABANDONED_AFTER_SECS).ignore();
        pipeline.cmd("SMISMEMBER").arg(in_force).arg(&fresh);
        let (added, known): (u64, Vec<u64>) = redis.pipe(&pipeline).await?;
        loaded.distinct += added;
        loaded.kept += known.iter().sum::<u64>();
    }
    bar.finish_and_clear();
    Ok(loaded)
}

/// Renames the loaded set over the one in force, if it is still whole; gives the size of the old one.
/// UNLINK first: it frees a large old set outside Redis' main thread, which RENAME would not.
const SWAP: &str = r"
if redis.call('SCARD', KEYS[2]) ~= tonumber(ARGV[1]) then
  return redis.error_reply('ERR the loaded passkeys are no longer complete; nothing was replaced')
end
local before = redis.call('SCARD', KEYS[1])
redis.call('UNLINK', KEYS[1])
if tonumber(ARGV[1]) > 0 then
  redis.call('PERSIST', KEYS[2])
  redis.call('RENAME', KEYS[2], KEYS[1])
end
return before
";

async fn swap(redis: &mut Redis, in_force: &str, loading: &str, distinct: u64) -> Result<u64, Failure> {
    let mut command = redis::cmd("EVAL");
    redis.query(command.arg(SWAP).arg(2).arg(in_force).arg(loading).arg(distinct)).await
}
