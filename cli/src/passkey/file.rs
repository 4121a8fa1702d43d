//! Whole files of passkeys: `import` adds them, `replace` makes them the whitelist.
//!
//! A replacement is loaded beside the set in force and renamed over it, so that the tracker sees the old whitelist or the
//! new one and never a part of either.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use clap::Args;
use contract::Passkey;
use serde::Serialize;

use super::{CHUNK, add_chunk};
use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::count;
use crate::output::{Report, note};
use crate::{Answer, progress};

/// A file beyond this is no list of passkeys: ten million fit.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Bad lines named in the error; the rest are counted.
const MAX_BAD_LINES_SHOWN: usize = 20;
/// How long a half-loaded replacement outlives a killed `trackerctl`.
const ABANDONED_AFTER_SECS: u32 = 3600;

/// Where passkeys come from.
#[derive(Debug, Args)]
struct Source {
    /// One passkey per line; blank lines and lines that begin with # are skipped. `-` reads from stdin.
    #[arg(value_name = "FILE")]
    file: String,
    /// Leave invalid lines out instead of refusing the file.
    #[arg(long)]
    skip_invalid: bool,
}

/// Adds a file.
#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    source: Source,
}

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
struct Imported {
    read: u64,
    added: u64,
    already_there: u64,
    skipped_invalid: u64,
}

impl Report for Imported {
    fn text(&self) -> String {
        let read = count(self.read, "passkey", "passkeys");
        format!("{read} read: {} added, {} there already", self.added, self.already_there)
            + &skipped(self.skipped_invalid)
    }
}

/// Adds every passkey of a file.
pub(crate) async fn import(command: &Import, context: &Context) -> Result<Answer, Failure> {
    let (passkeys, skipped_invalid) = command.source.read()?;
    let mut redis = context.redis().await?;
    let bar = progress::bar("importing", passkeys.len() as u64);
    let mut added = 0;
    for chunk in passkeys.chunks(CHUNK) {
        added += add_chunk(&mut redis, &context.keys.passkeys(), chunk).await?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    let read = passkeys.len() as u64;
    context.output.show(&Imported { read, added, already_there: read - added, skipped_invalid })?;
    Ok(Answer::Done)
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

fn skipped(invalid: u64) -> String {
    if invalid == 0 {
        return String::new();
    }
    format!(", {} skipped", count(invalid, "invalid line", "invalid lines"))
}

/// Makes a file's passkeys the whole whitelist.
pub(crate) async fn replace(command: &Replace, context: &Context) -> Result<Answer, Failure> {
    let (passkeys, skipped_invalid) = command.source.read()?;
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

impl Source {
    /// All passkeys of the file, and how many invalid lines were skipped.
    fn read(&self) -> Result<(Vec<Passkey>, u64), Failure> {
        let unreadable = |error: io::Error| Failure::usage(format!("cannot read {}: {error}", self.file));
        let input: Box<dyn Read> = match self.file.as_str() {
            "-" => Box::new(io::stdin()),
            path => Box::new(File::open(path).map_err(unreadable)?),
        };
        let lines = Lines::read(BufReader::new(input.take(MAX_FILE_BYTES + 1))).map_err(unreadable)?;
        if lines.bytes > MAX_FILE_BYTES {
            return Err(Failure::usage(format!("{} is larger than 1 GiB: no list of passkeys", self.file)));
        }
        match lines.bad.is_empty() || self.skip_invalid {
            true => Ok((lines.passkeys, lines.bad.len() as u64)),
            false => Err(self.refusal(&lines.bad)),
        }
    }

    fn refusal(&self, bad: &[u64]) -> Failure {
        for line in bad.iter().take(MAX_BAD_LINES_SHOWN) {
            note(&format!("{}:{line}: {}", self.file, contract::IdError::NotAPasskey));
        }
        let lines = count(bad.len() as u64, "line is", "lines are");
        Failure::usage(format!("{lines} invalid, nothing was written; --skip-invalid leaves them out"))
    }
}

/// What a file holds.
#[derive(Default)]
struct Lines {
    passkeys: Vec<Passkey>,
    /// Line numbers, from 1.
    bad: Vec<u64>,
    bytes: u64,
}

impl Lines {
    fn read(mut input: impl BufRead) -> io::Result<Self> {
        let mut lines = Self::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let length = input.read_until(b'\n', &mut line)?;
            if length == 0 {
                break;
            }
            lines.bytes += length as u64;
            let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            match Passkey::from_bytes(text) {
                Ok(passkey) => lines.passkeys.push(passkey),
                Err(_) => lines.bad.push(number),
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_comments_and_line_endings_of_other_systems_are_skipped() {
        let lines = Lines::read(&b"\xef\xbb\xbfa1\r\n\n# users\n  b2  \nc 3\nd4"[..]).unwrap();
        let read: Vec<&str> = lines.passkeys.iter().map(Passkey::reveal).collect();
        assert_eq!(read, ["a1", "b2", "d4"]);
        assert_eq!(lines.bad, [5]);
    }
}
