//! `stream trim`: makes room without taking an entry from anybody who still needs it, unless forced.

use books::retention::{self, Keep, Plan, Target, Unsettled};
use clap::Args;
use serde::Serialize;

use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::count;
use crate::output::Report;
use crate::{Answer, progress, when};

/// What is old, and how far to go.
#[derive(Debug, Args)]
pub(crate) struct Trim {
    #[command(flatten)]
    keep: KeepArgs,
    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,
    /// Also remove entries that a group has not read and acknowledged. Their bytes are lost.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct KeepArgs {
    /// Remove entries older than so many days.
    #[arg(long, value_name = "N")]
    days: Option<u64>,
    /// Remove all but the newest so many.
    #[arg(long, value_name = "N")]
    keep: Option<u64>,
}

#[derive(Serialize)]
struct Trimmed {
    dry_run: bool,
    forced: bool,
    /// Entries that are old.
    old: u64,
    /// Old entries that some group has not read and acknowledged.
    unsettled: u64,
    /// Entries removed; in a dry run those that would be.
    removed: u64,
    /// Of those, the ones that were not settled.
    destroyed: u64,
}

/// Trims the stream, or says what would go.
pub(crate) async fn run(command: &Trim, context: &Context) -> Result<Answer, Failure> {
    let keep = match (command.keep.days, command.keep.keep) {
        (Some(days), _) => Keep::Days(days),
        (None, newest) => Keep::Newest(newest.unwrap_or(u64::MAX)),
    };
    let unsettled = if command.force { Unsettled::Destroy } else { Unsettled::Keep };
    let mut redis = context.redis().await?;
    let plan = plan(&mut redis, keep, context).await?;
    let removed = match (command.dry_run, unsettled) {
        (true, Unsettled::Keep) => plan.removable,
        (true, Unsettled::Destroy) => plan.old,
        (false, _) => trim(&mut redis, keep, unsettled, &plan, context).await?,
    };
    context.output.show(&Trimmed {
        dry_run: command.dry_run,
        forced: command.force,
        old: plan.old,
        unsettled: plan.unsettled,
        removed,
        destroyed: if command.force { plan.unsettled.min(removed) } else { 0 },
    })?;
    Ok(Answer::Done)
}

async fn plan(redis: &mut Redis, keep: Keep, context: &Context) -> Result<Plan, Failure> {
    let stream = context.keys.traffic();
    let target = Target { stream: &stream, group: &context.group };
    let length: u64 = redis.query(&redis::Cmd::xlen(&stream)).await?;
    let bar = progress::bar("looking", length);
    let plan = retention::plan(&mut redis.connection, target, keep, when::now_ms(), &mut |done| {
        bar.set_position(done);
    })
    .await
    .map_err(|error| redis.failure(&error))?;
    bar.finish_and_clear();
    Ok(plan)
}

async fn trim(
    redis: &mut Redis,
    keep: Keep,
    unsettled: Unsettled,
    plan: &Plan,
    context: &Context,
) -> Result<u64, Failure> {
    let stream = context.keys.traffic();
    let target = Target { stream: &stream, group: &context.group };
    let bar = progress::bar("trimming", if unsettled == Unsettled::Keep { plan.removable } else { plan.old });
    let mut show = |done| bar.set_position(done);
    let removed =
        retention::trim(&mut redis.connection, target, keep, unsettled, when::now_ms(), &mut show).await;
    bar.finish_and_clear();
    removed.map_err(|error| redis.failure(&error))
}

impl Report for Trimmed {
    fn text(&self) -> String {
        let verb = if self.dry_run { "would be removed" } else { "removed" };
        let mut text = format!("{} of {} {verb}", self.removed, count(self.old, "old entry", "old entries"));
        if self.destroyed > 0 {
            text += &format!("; {} of them not read and acknowledged by every group", self.destroyed);
        } else if self.removed < self.old {
            let stay = count(self.old - self.removed, "stays", "stay");
            text += &format!("; {stay} until every group has read and acknowledged what comes before");
        }
        text
    }
}
