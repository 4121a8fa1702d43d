//! `trackerctl`: what an operator of Seedbook asks and changes from a shell.
//!
//! One module per command group. Results go to stdout, everything else to stderr; the exit code is part of
//! the answer.

mod announce;
mod check;
mod completions;
mod connect;
mod failure;
mod human;
mod ledger;
mod limits;
mod listed;
mod load;
mod output;
mod passkey;
mod presence;
mod progress;
mod promotion;
mod spool;
mod stream;
mod torrent;
mod user;
mod when;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use contract::Keys;
use contract::config::ServiceUrl;

use crate::connect::Context;
use crate::failure::Failure;
use crate::output::{Format, Output};

/// Looks after a Seedbook tracker: passkeys, the traffic stream, what users seed and were credited.
#[derive(Debug, Parser)]
#[command(
    name = "trackerctl",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 the answer is no, 2 usage, 3 a service is unreachable.\n\n\
                  Example:\n  trackerctl passkey generate --add\n  trackerctl --json stream info"
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
struct Globals {
    /// The Redis that tracker and consumer share.
    #[arg(long, global = true, value_name = "URL", env = "REDIS_URL", hide_env_values = true)]
    #[arg(default_value = "redis://127.0.0.1:6379/0", help_heading = "Global options")]
    redis: ServiceUrl,
    /// The ledger's database.
    #[arg(long, global = true, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    #[arg(default_value = "sqlite://data/ledger.db", help_heading = "Global options")]
    database: ServiceUrl,
    /// What every Redis key of this site begins with.
    #[arg(long, global = true, value_name = "PREFIX", env = "KEY_PREFIX")]
    #[arg(default_value = "", hide_default_value = true, help_heading = "Global options")]
    key_prefix: String,
    /// The consumer group that settles the stream.
    #[arg(long, global = true, value_name = "NAME")]
    #[arg(default_value = "site", help_heading = "Global options")]
    group: String,
    /// Print one JSON document instead of text.
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Who may announce.
    #[command(subcommand)]
    Passkey(passkey::Command),
    /// Which torrents may be announced, and which two info hashes are one torrent.
    #[command(subcommand)]
    Torrent(torrent::Command),
    /// The traffic stream between tracker and consumer.
    #[command(subcommand)]
    Stream(stream::Command),
    /// Announces that a tracker keeps on disk while Redis takes none.
    #[command(subcommand)]
    Spool(spool::Command),
    /// What one user seeds, leeches and was credited.
    #[command(subcommand)]
    User(user::Command),
    /// Factors on credit.
    #[command(subcommand)]
    Promotion(promotion::Command),
    /// The database of what was settled.
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// The sets of who seeds and leeches what.
    #[command(subcommand)]
    Presence(presence::Command),
    /// Announce to a tracker as a client does.
    Announce(announce::Announce),
    /// Ask a tracker how many seed and leech torrents.
    Scrape(announce::Scrape),
    /// Put announces on a tracker and measure it.
    Load(load::Options),
    /// Check a configuration file.
    Check(check::Check),
    /// Print a completion script for a shell.
    Completions(completions::Completions),
}

/// How a command that did its work answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Exit code 0.
    Done,
    /// Exit code 1: the question was answered, with no.
    No,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = context(cli.globals);
    let answer = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Output)
        .and_then(|runtime| runtime.block_on(run(cli.command, &context)));
    match answer {
        Ok(Answer::Done) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(failure) => {
            output::explain(&failure);
            failure.exit_code()
        }
    }
}

fn context(globals: Globals) -> Context {
    Context {
        redis: globals.redis,
        database: globals.database,
        keys: Keys::new(globals.key_prefix),
        group: globals.group,
        output: Output::new(if globals.json { Format::Json } else { Format::Text }),
    }
}

async fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Passkey(command) => passkey::run(command, context).await,
        Command::Torrent(command) => torrent::run(command, context).await,
        Command::Stream(command) => stream::run(command, context).await,
        Command::Spool(command) => spool::run(&command, context).await,
        Command::User(command) => user::run(command, context).await,
        Command::Promotion(command) => promotion::run(&command, context),
        Command::Ledger(command) => ledger::run(&command, context).await,
        Command::Presence(command) => presence::run(&command, context).await,
        Command::Announce(command) => announce::announce(&command, context).await,
        Command::Scrape(command) => announce::scrape(&command, context).await,
        Command::Load(command) => load::run(command, context).await,
        Command::Check(command) => check::run(&command, context),
        Command::Completions(command) => completions::run(&command, context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn walk(command: &mut clap::Command, path: &str) {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "`{path} --help` shows no example");
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            walk(sub, &path);
        }
    }

    #[test]
    fn every_help_text_carries_an_example() {
        let mut command = Cli::command();
        command.build();
        walk(&mut command, "trackerctl");
    }
}
