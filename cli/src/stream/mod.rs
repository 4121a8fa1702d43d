//! `trackerctl stream`: the traffic stream between tracker and consumer, and what could not be settled.

mod dead;
mod entry;
mod info;
mod pending;
mod tail;
mod trim;

use clap::Subcommand;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;

/// The traffic stream between tracker and consumer.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  trackerctl stream info\n  trackerctl stream tail -f")]
pub(crate) enum Command {
    /// Show length, age, memory and how far each consumer group is.
    #[command(
        after_help = "Example:\n  trackerctl stream info\n  trackerctl --json stream info | jq .groups[].lag"
    )]
    Info,
    /// Show the newest announces. With --follow, --json prints one document per line.
    #[command(after_help = "Example:\n  trackerctl stream tail -n 50\n  trackerctl stream tail --follow")]
    Tail(tail::Tail),
    /// Show what consumers have read and not yet acknowledged; exit code 1 when the group does not exist.
    #[command(after_help = "Example:\n  trackerctl stream pending --limit 20")]
    Pending(pending::Pending),
    /// Remove old entries, but none that a group has not read and acknowledged.
    #[command(
        after_help = "Example:\n  trackerctl stream trim --days 14 --dry-run\n  trackerctl stream trim --keep 1000000"
    )]
    Trim(trim::Trim),
    /// Entries that could not be settled.
    #[command(subcommand)]
    Dead(dead::Command),
}

/// Carries one command out.
pub(crate) async fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Info => info::run(context).await,
        Command::Tail(tail) => tail::run(&tail, context).await,
        Command::Pending(pending) => pending::run(&pending, context).await,
        Command::Trim(trim) => trim::run(&trim, context).await,
        Command::Dead(command) => dead::run(command, context).await,
    }
}
