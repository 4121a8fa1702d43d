//! `stream dead`: entries that could not be settled, and those given up.

mod list;
mod retry;

use books::EntryId;
use books::dead_letters::{self, DeadLetter, DeadLetters};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::Answer;
use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::count;
use crate::output::Report;

/// Letters read by one command.
const PAGE: usize = 500;

/// Entries that could not be settled.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  trackerctl stream dead list\n  trackerctl stream dead retry --failed")]
pub(crate) enum Command {
    /// Show dead letters, oldest first: what was wrong, and how often it was tried again.
    #[command(
        after_help = "Example:\n  trackerctl stream dead list\n  trackerctl stream dead list --failed --limit 20"
    )]
    List(list::List),
    /// Try to settle dead letters again, under their original ids. Exit code 1 when some cannot be.
    #[command(after_help = "Example:\n  trackerctl stream dead retry\n  \
                            trackerctl stream dead retry --failed --config consumer.yaml")]
    Retry(retry::Retry),
    /// Remove dead letters for good: their bytes are lost.
    #[command(after_help = "Example:\n  trackerctl stream dead drop 1700000000000-0\n  \
                            trackerctl stream dead drop --failed --all")]
    Drop(Drop),
}

/// Which dead letters.
#[derive(Debug, Args)]
struct StreamArgs {
    /// Those that the consumer has given up, instead of those that it still tries.
    #[arg(long)]
    failed: bool,
}

impl StreamArgs {
    fn stream(&self) -> DeadLetters {
        if self.failed { DeadLetters::Failed } else { DeadLetters::Waiting }
    }
}

/// What to remove.
#[derive(Debug, Args)]
pub(crate) struct Drop {
    #[command(flatten)]
    of: StreamArgs,
    /// The letters' ids, as `list` shows them.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<EntryId>,
    /// All of them.
    #[arg(long)]
    all: bool,
}

/// Carries one command out.
pub(crate) async fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::List(command) => list::run(&command, context).await,
        Command::Retry(command) => retry::run(&command, context).await,
        Command::Drop(command) => drop_letters(&command, context).await,
    }
}

#[derive(Serialize)]
struct Dropped {
    dropped: u64,
    not_there: u64,
}

impl Report for Dropped {
    fn text(&self) -> String {
        format!("{} dropped, {} not there", count(self.dropped, "letter", "letters"), self.not_there)
    }
}

async fn drop_letters(command: &Drop, context: &Context) -> Result<Answer, Failure> {
    let mut redis = context.redis().await?;
    let stream = command.of.stream();
    let (mut dropped, mut asked) = (0, command.ids.len() as u64);
    if command.all {
        // Those that are there now; the consumer may bury more meanwhile.
        asked = letters_in(&mut redis, stream, context).await?;
        let mut seen = 0;
        while seen < asked {
            let page = page(&mut redis, stream, None, context).await?;
            let ids: Vec<EntryId> = page
                .iter()
                .map(|letter| letter.id)
                .take(usize::try_from(asked - seen).unwrap_or(PAGE))
                .collect();
            if ids.is_empty() {
                break;
            }
            seen += ids.len() as u64;
            dropped += discard(&mut redis, stream, &ids, context).await?;
        }
    } else {
        for ids in command.ids.chunks(PAGE) {
            dropped += discard(&mut redis, stream, ids, context).await?;
        }
    }
    context.output.show(&Dropped { dropped, not_there: asked.saturating_sub(dropped) })?;
    Ok(Answer::Done)
}

async fn discard(
    redis: &mut Redis,
    stream: DeadLetters,
    ids: &[EntryId],
    context: &Context,
) -> Result<u64, Failure> {
    let dropped = dead_letters::discard(&mut redis.connection, &context.keys, stream, ids).await;
    dropped.map_err(|error| redis.failure(&error))
}

async fn letters_in(redis: &mut Redis, stream: DeadLetters, context: &Context) -> Result<u64, Failure> {
    let letters = dead_letters::count(&mut redis.connection, &context.keys, stream).await;
    letters.map_err(|error| redis.failure(&error))
}

async fn page(
    redis: &mut Redis,
    stream: DeadLetters,
    after: Option<EntryId>,
    context: &Context,
) -> Result<Vec<DeadLetter>, Failure> {
    let letters = dead_letters::list(&mut redis.connection, &context.keys, stream, after, PAGE).await;
    letters.map_err(|error| redis.failure(&error))
}
