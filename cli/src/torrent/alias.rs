//! Two info hashes of one hybrid torrent.
//!
//! The tracker follows an alias one step only. A chain or a circle would book a torrent under a name that
//! nobody looks for, so neither can be made here.

use clap::Args;
use contract::InfoHash;
use serde::Serialize;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::listed::parse;
use crate::output::Report;

/// Which hash stands for which.
#[derive(Debug, Args)]
pub(crate) struct Alias {
    /// The v2 info hash, cut to its first 20 bytes: 40 hex digits.
    #[arg(value_name = "V2")]
    v2: String,
    /// The v1 info hash that it is booked on.
    #[arg(value_name = "V1", required_unless_present = "remove", conflicts_with = "remove")]
    v1: Option<String>,
    /// Take the alias away instead.
    #[arg(long)]
    remove: bool,
}

#[derive(Serialize)]
struct Aliased {
    v2: InfoHash,
    v1: Option<InfoHash>,
    changed: bool,
}

impl Report for Aliased {
    fn text(&self) -> String {
        match (self.v1, self.changed) {
            (Some(v1), true) => format!("{} is booked on {v1}", self.v2),
            (Some(v1), false) => format!("{} was booked on {v1} already", self.v2),
            (None, true) => format!("{} is booked on itself", self.v2),
            (None, false) => format!("{} was booked on itself already", self.v2),
        }
    }
}

/// Sets an alias unless it would make a chain; -1 when it would, else 1 if something changed. The note in the
/// same step has the recorder fold a session before it books on it; a consumer moves the silent ones.
const SET: &str = r"
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1 then return -1 end
for _, target in ipairs(redis.call('HVALS', KEYS[1])) do
  if target == ARGV[1] then return -1 end
end
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSETNX', KEYS[2], ARGV[2], ARGV[1])
return 1
";

/// Sets or removes one alias.
pub(crate) async fn run(command: &Alias, context: &Context) -> Result<Answer, Failure> {
    let v2: InfoHash = parse(&command.v2)?;
    let v1 = command.v1.as_deref().map(parse::<InfoHash>).transpose()?;
    let key = context.keys.torrent_alias();
    let mut request = match v1 {
        Some(v1) if v1 == v2 => return Err(Failure::usage("V2 and V1 are the same info hash")),
        Some(_) => redis::cmd("EVAL"),
        None => redis::cmd("HDEL"),
    };
    match v1 {
        Some(v1) => request
            .arg(SET)
            .arg(2)
            .arg(key)
            .arg(context.keys.folding())
            .arg(v2.hex().as_str())
            .arg(v1.hex().as_str()),
        None => request.arg(key).arg(v2.hex().as_str()),
    };
    match context.redis().await?.query::<i64>(&request).await? {
        -1 => Err(Failure::usage("V1 has an alias itself, or V2 is what another stands for: one step only")),
        changed => {
            context.output.show(&Aliased { v2, v1, changed: changed > 0 })?;
            Ok(Answer::Done)
        }
    }
}
