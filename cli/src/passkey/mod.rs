//! `trackerctl passkey`: the whitelist that the tracker asks before it admits an announce.

mod generate;
mod replace;
mod rotate;
mod sealed;

use clap::Subcommand;
use contract::Passkey;
use serde::Serialize;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::listed::{self, Import};
use crate::output::{Report, note};

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
    /// Print all passkeys, one per line, in no order. One that is added or removed meanwhile may be missing
    /// or shown twice.
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
    Import(Import),
    /// Make a file's passkeys the whole whitelist, in one step.
    #[command(after_help = "Example:\n  trackerctl passkey replace users.txt")]
    Replace(replace::Replace),
    /// Draw new passkeys of 32 characters from the system's random source.
    #[command(after_help = "Example:\n  trackerctl passkey generate --count 5 --add")]
    Generate(generate::Generate),
    /// Give a user a new passkey, with everything that the old one has. The old one goes on working until it
    /// is removed.
    #[command(after_help = "Example:\n  trackerctl passkey rotate Zk3vQ8rT p4sXw2Lm --dry-run\n  \
                            trackerctl passkey rotate Zk3vQ8rT p4sXw2Lm\n  trackerctl passkey remove Zk3vQ8rT   # weeks later")]
    Rotate(rotate::Rotate),
    /// Seal a passkey into a credential, as the site does for its announce URLs.
    #[command(
        after_help = "Example:\n  export SEEDBOOK_ENCRYPTION_KEY=...   # or --key-file /etc/seedbook/key\n  \
                            trackerctl passkey seal Zk3vQ8rT --fd 17"
    )]
    Seal(sealed::Seal),
    /// Open a credential and show what it says; exit code 1 when the key does not open it.
    #[command(
        after_help = "Example:\n  trackerctl passkey open AAECAwQF... --key-file /etc/seedbook/key --max-age 30d"
    )]
    Open(sealed::Open),
}

/// Carries one command out.
pub(crate) async fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Add { passkeys } => listed::add::<Passkey>(&passkeys, context).await,
        Command::Remove { passkeys } => remove(&passkeys, context).await,
        Command::Check { passkey } => listed::check::<Passkey>(&passkey, "announce", context).await,
        Command::List { limit } => listed::list::<Passkey>(limit.unwrap_or(u64::MAX), context).await,
        Command::Count => show_count(context).await,
        Command::Import(import) => listed::import::<Passkey>(&import, context).await,
        Command::Replace(replace) => replace::run(&replace, context).await,
        Command::Generate(generate) => generate::run(&generate, context).await,
        Command::Rotate(rotate) => rotate::run(&rotate, context).await,
        Command::Seal(seal) => sealed::seal(&seal, context),
        Command::Open(open) => sealed::open(&open, context),
    }
}

/// Withdraws passkeys. Those that were rotated keep their alias: what they announced may still be on its way.
async fn remove(passkeys: &[String], context: &Context) -> Result<Answer, Failure> {
    let answer = listed::remove::<Passkey>(passkeys, context).await?;
    let mut aliases = redis::cmd("HMGET");
    aliases.arg(context.keys.passkey_alias()).arg(passkeys);
    let aliases: Vec<Option<String>> = context.redis().await?.query(&aliases).await?;
    let rotated = aliases.iter().flatten().count() as u64;
    if rotated > 0 {
        let were = crate::human::count(rotated, "passkey was", "passkeys were");
        note(&format!("{were} rotated: what is still on its way from before is booked on the new one"));
    }
    Ok(answer)
}

/// Reads a passkey that the operator gave.
pub(crate) fn parse(text: &str) -> Result<Passkey, Failure> {
    listed::parse(text)
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
