//! `stream dead retry`: the consumer's own way of settling a letter, now and by hand.

use std::collections::HashSet;

use books::EntryId;
use books::dead_letters::{self, DeadLetter, DeadLetters, Retried, Retrier, RetryError};
use books::ledger::{Access, LedgerHandle, Location};
use clap::Args;
use serde::Serialize;

use super::{StreamArgs, letters_in, page};
use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::count;
use crate::output::Report;
use crate::{Answer, limits, progress, when};

/// What to try again.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    of: StreamArgs,
    /// The letters' ids, as `list` shows them; all if none is given.
    #[arg(value_name = "ID")]
    ids: Vec<EntryId>,
    /// The consumer's configuration, for its limits: speed, peer timeout, retries. Without it their defaults
    /// count.
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
}

#[derive(Serialize, Default)]
struct Tried {
    tried: u64,
    settled: u64,
    still_dead: u64,
    given_up: u64,
}

/// Tries letters again.
pub(crate) async fn run(command: &Retry, context: &Context) -> Result<Answer, Failure> {
    let plan = limits::read(command.config.as_deref())?;
    // A mistyped URL must not become a new database.
    drop(context.ledger(Access::Read)?);
    let location = Location::parse(&context.database).map_err(|error| context.ledger_failure(&error))?;
    let ledger = LedgerHandle::spawn(location, plan.rules).map_err(Failure::Output)?;
    let retrier = Retrier {
        keys: &context.keys,
        ledger: &ledger,
        leases: plan.chores.leases,
        retry_max: plan.chores.retry_max,
    };
    let mut redis = context.redis().await?;
    let tried = try_all(&mut redis, command, &retrier, context).await?;
    context.output.show(&tried)?;
    Ok(if tried.settled == tried.tried { Answer::Done } else { Answer::No })
}

/// Every letter that is there at the start, once: one that stays dead comes back at the end of the stream.
async fn try_all(
    redis: &mut Redis,
    command: &Retry,
    retrier: &Retrier<'_>,
    context: &Context,
) -> Result<Tried, Failure> {
    let stream = command.of.stream();
    let wanted: HashSet<EntryId> = command.ids.iter().copied().collect();
    let mut left = letters_in(redis, stream, context).await?;
    let bar = progress::bar("retrying", left);
    let (mut tried, mut after) = (Tried::default(), None);
    while left > 0 {
        let letters = page(redis, stream, after, context).await?;
        let Some(last) = letters.last() else { break };
        after = Some(last.id);
        for letter in letters.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            left -= 1;
            bar.inc(1);
            if wanted.is_empty() || wanted.contains(&letter.id) {
                tried.count(try_one(redis, stream, letter, retrier, context).await?);
            }
        }
    }
    bar.finish_and_clear();
    Ok(tried)
}

async fn try_one(
    redis: &mut Redis,
    stream: DeadLetters,
    letter: &DeadLetter,
    retrier: &Retrier<'_>,
    context: &Context,
) -> Result<Retried, Failure> {
    let now = when::now_ms() / 1000;
    let retried = dead_letters::retry(&mut redis.connection, retrier, stream, letter, now).await;
    retried.map_err(|error| match error {
        RetryError::Redis(error) => redis.failure(&error),
        RetryError::Ledger(error) => context.ledger_failure(&error),
    })
}

impl Tried {
    fn count(&mut self, outcome: Retried) {
        self.tried += 1;
        *match outcome {
            Retried::Settled => &mut self.settled,
            Retried::StillDead => &mut self.still_dead,
            Retried::GivenUp => &mut self.given_up,
        } += 1;
    }
}

impl Report for Tried {
    fn text(&self) -> String {
        format!(
            "{} tried: {} settled, {} still dead, {} given up",
            count(self.tried, "letter", "letters"),
            self.settled,
            self.still_dead,
            self.given_up
        )
    }
}
