//! `stream tail`: the newest announces, and with `--follow` those that come.

use clap::Args;
use contract::TrafficEvent;
use redis::Value;
use serde::Serialize;

use super::entry::{Entry, from_range, from_read};
use crate::Answer;
use crate::connect::{Context, Patience, Redis};
use crate::failure::Failure;
use crate::human::{bytes, entry_time, masked};
use crate::output::{Format, Report, json_line, line, table};
use crate::user::client_name;

/// Entries per read while following.
const READ_COUNT: u32 = 1000;
const BLOCK_MS: u32 = 1000;
const HEADER: [&str; 9] = ["added", "passkey", "torrent", "client", "event", "up", "down", "left", "seconds"];

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// How many of the newest to begin with.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=100_000))]
    lines: u32,
    /// Go on with those that come, until interrupted.
    #[arg(short, long)]
    follow: bool,
    /// Show passkeys in full instead of their first characters.
    #[arg(long)]
    show_passkeys: bool,
}

#[derive(Serialize)]
struct Seen {
    id: String,
    added: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Announce(Box<Announce>),
    Unreadable { error: String },
}

#[derive(Serialize)]
struct Announce {
    passkey: String,
    infohash: String,
    peer_id: String,
    client: String,
    ip: String,
    port: u16,
    event: &'static str,
    du: u64,
    dd: u64,
    left: u64,
    ts: u64,
    dt: u64,
    interval: u32,
    min_interval: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    fd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pd: Option<String>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Newest(Vec<Seen>);

impl Report for Newest {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "no announce in the stream".into();
        }
        table(&HEADER, &[5, 6, 7, 8], self.0.iter().map(Seen::row))
    }
}

/// Shows the newest announces.
pub(crate) async fn run(command: &Tail, context: &Context) -> Result<Answer, Failure> {
    let mut redis = context.redis_with(Patience::Endless).await?;
    let entries = newest(&mut redis, command.lines, context).await?;
    if command.follow {
        return follow(&mut redis, entries, command, context).await;
    }
    let seen = entries.iter().map(|entry| Seen::new(entry, command.show_passkeys)).collect();
    context.output.show(&Newest(seen))?;
    Ok(Answer::Done)
}

async fn newest(redis: &mut Redis, limit: u32, context: &Context) -> Result<Vec<Entry>, Failure> {
    let mut command = redis::cmd("XREVRANGE");
    command.arg(context.keys.traffic()).arg("+").arg("-").arg("COUNT").arg(limit);
    let reply: Value = redis.query(&command).await?;
    let mut entries = from_range(reply);
    entries.reverse();
    Ok(entries)
}

async fn follow(
    redis: &mut Redis,
    mut entries: Vec<Entry>,
    command: &Tail,
    context: &Context,
) -> Result<Answer, Failure> {
    // With nothing shown yet, the stream's own last id: `$` would miss what comes between two reads.
    let mut last = match entries.last() {
        Some(entry) => entry.id.clone(),
        None => newest(redis, 1, context).await?.pop().map_or_else(|| "0-0".into(), |entry| entry.id),
    };
    loop {
        for entry in &entries {
            let seen = Seen::new(entry, command.show_passkeys);
            match context.output.format() {
                Format::Text => line(&seen.row().join("  "))?,
                Format::Json => json_line(&seen)?,
            }
        }
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(READ_COUNT).arg("BLOCK").arg(BLOCK_MS);
        read.arg("STREAMS").arg(context.keys.traffic()).arg(&last);
        let reply: Value = redis.query(&read).await?;
        entries = from_read(reply);
        if let Some(entry) = entries.last() {
            last.clone_from(&entry.id);
        }
    }
}

impl Seen {
    fn new(entry: &Entry, show_passkeys: bool) -> Self {
        let content = match entry.event() {
            Ok(event) => Content::Announce(Box::new(Announce::new(&event, show_passkeys))),
            Err(error) => Content::Unreadable { error: error.to_string() },
        };
        Self { id: entry.id.clone(), added: entry_time(&entry.id), content }
    }

    fn row(&self) -> Vec<String> {
        let mut row = vec![self.added.clone()];
        match &self.content {
            Content::Announce(announce) => row.extend(announce.cells()),
            Content::Unreadable { error } => row.push(format!("cannot be read: {error}")),
        }
        row
    }
}

impl Announce {
    fn new(event: &TrafficEvent, show_passkeys: bool) -> Self {
        let passkey = &event.passkey;
        Self {
            passkey: if show_passkeys { passkey.reveal().to_owned() } else { masked(passkey) },
            infohash: event.info_hash.to_string(),
            peer_id: event.peer_id.to_string(),
            client: client_name::of(&event.peer_id),
            ip: event.ip.to_string(),
            port: event.port,
            event: event.event.as_str(),
            du: event.du,
            dd: event.dd,
            left: event.left,
            ts: event.ts,
            dt: event.dt,
            interval: event.interval,
            min_interval: event.min_interval,
            fd: event.fd.clone(),
            pd: event.pd.clone(),
        }
    }

    fn cells(&self) -> [String; 8] {
        [
            self.passkey.clone(),
            self.infohash.clone(),
            self.client.clone(),
            self.event.to_owned(),
            bytes(self.du),
            bytes(self.dd),
            bytes(self.left),
            self.dt.to_string(),
        ]
    }
}
