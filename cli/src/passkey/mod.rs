//! `trackerctl passkey`: the whitelist that the tracker asks before it admits an announce.

mod file;
mod generate;

use clap::Subcommand;
use contract::Passkey;
use serde::Serialize;

use crate::Answer;
use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::count;
use crate::output::{Report, note};

/// Members per command: large enough to save round trips, small enough not to hold Redis up.
const CHUNK: usize = 1000;

/// Who may announce.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  trackerctl passkey add Zk3vQ8rT\n  trackerctl passkey check Zk3vQ8rT")]
pub(crate) enum Command {
    /// Allow passkeys to announce.
    #[command(after_help = "Example:\n  trackerctl passkey add Zk3vQ8rT p4sXw2Lm")]
    Add {
        /// 1 to 64 of the characters 0-9 A-Z a-z _ -
        #[arg(required = true, value_name = "PASSKEY")]
        passkeys: Vec<String>,
    },
    /// Withdraw passkeys. The tracker obeys within a second.
    #[command(after_help = "Example:\n  trackerctl passkey remove Zk3vQ8rT")]
    Remove {
        /// The passkeys to withdraw.
        #[arg(required = true, value_name = "PASSKEY")]
        passkeys: Vec<String>,
    },
    /// Say whether a passkey may announce; exit code 1 when it may not.
    #[command(after_help = "Example:\n  trackerctl passkey check Zk3vQ8rT && echo allowed")]
    Check {
        /// The passkey to look up.
        passkey: String,
    },
    /// Print all passkeys, one per line, in no order. One that is added or removed meanwhile may be missing or shown twice.
    #[command(
        after_help = "Example:\n  trackerctl passkey list --limit 100\n  trackerctl passkey list > backup.txt"
    )]
    List {
        /// Stop after so many.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Print how many passkeys there are.
    #[command(after_help = "Example:\n  trackerctl passkey count")]
    Count,
    /// Add the passkeys of a file. Nothing is written unless every line is valid.
    #[command(after_help = "Example:\n  trackerctl passkey import users.txt\n  \
                            sqlite3 site.db 'select passkey from users' | trackerctl passkey import -")]
    Import(file::Import),
    /// Make a file's passkeys the whole whitelist, in one step.
    #[command(after_help = "Example:\n  trackerctl passkey replace users.txt")]
    Replace(file::Replace),
    /// Draw new passkeys of 32 characters from the system's random source.
    #[command(after_help = "Example:\n  trackerctl passkey generate --count 5 --add")]
    Generate(generate::Generate),
}

/// Carries one command out.
pub(crate) async fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Add { passkeys } => add(&passkeys, context).await,
        Command::Remove { passkeys } => remove(&passkeys, context).await,
        Command::Check { passkey } => check(&passkey, context).await,
        Command::List { limit } => list(limit.unwrap_or(u64::MAX), context).await,
        Command::Count => show_count(context).await,
        Command::Import(import) => file::import(&import, context).await,
        Command::Replace(replace) => file::replace(&replace, context).await,
        Command::Generate(generate) => generate::run(&generate, context).await,
    }
}

/// Reads a passkey that the operator gave. The error does not repeat it: a typing mistake away from it is a real one.
pub(crate) fn parse(text: &str) -> Result<Passkey, Failure> {
    text.parse().map_err(|error| Failure::usage(format!("this is no passkey: {error}")))
}

fn parse_all(texts: &[String]) -> Result<Vec<Passkey>, Failure> {
    let numbered = texts.iter().enumerate();
    numbered
        .map(|(index, text)| {
            let place = index + 1;
            text.parse().map_err(|error| Failure::usage(format!("argument {place} is no passkey: {error}")))
        })
        .collect()
}

#[derive(Serialize)]
struct Added {
    added: u64,
    already_there: u64,
}

impl Report for Added {
    fn text(&self) -> String {
        format!("{} added, {} there already", count(self.added, "passkey", "passkeys"), self.already_there)
    }
}

async fn add(texts: &[String], context: &Context) -> Result<Answer, Failure> {
    let passkeys = parse_all(texts)?;
    let mut redis = context.redis().await?;
    let added = add_chunk(&mut redis, &context.keys.passkeys(), &passkeys).await?;
    context.output.show(&Added { added, already_there: passkeys.len() as u64 - added })?;
    Ok(Answer::Done)
}

/// Adds members to a set; how many were new.
async fn add_chunk(redis: &mut Redis, set: &str, passkeys: &[Passkey]) -> Result<u64, Failure> {
    let mut command = redis::cmd("SADD");
    command.arg(set);
    for passkey in passkeys {
        command.arg(passkey.reveal());
    }
    redis.query(&command).await
}

#[derive(Serialize)]
struct Removed {
    removed: u64,
    not_there: u64,
}

impl Report for Removed {
    fn text(&self) -> String {
        format!("{} removed, {} not there", count(self.removed, "passkey", "passkeys"), self.not_there)
    }
}

async fn remove(texts: &[String], context: &Context) -> Result<Answer, Failure> {
    let passkeys = parse_all(texts)?;
    let mut command = redis::cmd("SREM");
    command.arg(context.keys.passkeys());
    for passkey in &passkeys {
        command.arg(passkey.reveal());
    }
    let removed: u64 = context.redis().await?.query(&command).await?;
    context.output.show(&Removed { removed, not_there: passkeys.len() as u64 - removed })?;
    Ok(Answer::Done)
}

#[derive(Serialize)]
struct Checked {
    known: bool,
}

impl Report for Checked {
    fn text(&self) -> String {
        if self.known { "known: may announce".into() } else { "unknown: may not announce".into() }
    }
}

async fn check(text: &str, context: &Context) -> Result<Answer, Failure> {
    let passkey = parse(text)?;
    let command = redis::Cmd::sismember(context.keys.passkeys(), passkey.reveal());
    let known: bool = context.redis().await?.query(&command).await?;
    context.output.show(&Checked { known })?;
    Ok(if known { Answer::Done } else { Answer::No })
}

#[derive(Serialize)]
struct Count {
    passkeys: u64,
}

impl Report for Count {
    fn text(&self) -> String {
        self.passkeys.to_string()
    }
}

async fn show_count(context: &Context) -> Result<Answer, Failure> {
    let passkeys: u64 = context.redis().await?.query(&redis::Cmd::scard(context.keys.passkeys())).await?;
    context.output.show(&Count { passkeys })?;
    Ok(Answer::Done)
}

async fn list(limit: u64, context: &Context) -> Result<Answer, Failure> {
    let mut redis = context.redis().await?;
    let mut list = context.output.list();
    let (mut cursor, mut foreign) = (0u64, 0u64);
    loop {
        let mut scan = redis::cmd("SSCAN");
        scan.arg(context.keys.passkeys()).arg(cursor).arg("COUNT").arg(CHUNK);
        let (next, members): (u64, Vec<Vec<u8>>) = redis.query(&scan).await?;
        for member in members {
            match Passkey::from_bytes(&member) {
                _ if list.len() >= limit => break,
                Ok(passkey) => list.push(passkey.reveal())?,
                Err(_) => foreign += 1,
            }
        }
        cursor = next;
        if cursor == 0 || list.len() >= limit {
            break;
        }
    }
    list.finish()?;
    if foreign > 0 {
        note(&format!(
            "{} of the set are no passkeys and are not shown",
            count(foreign, "member", "members")
        ));
    }
    Ok(Answer::Done)
}
