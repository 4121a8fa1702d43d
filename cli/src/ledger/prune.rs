//! `ledger prune`: makes room in the database without a change of any total.

use std::cell::OnceCell;

use books::EntryId;
use books::audit;
use books::ledger::{Access, Intent, Pruned};
use books::retention::Target;
use clap::Args;
use serde::Serialize;

use crate::connect::Context;
use crate::failure::Failure;
use crate::human::{count, utc};
use crate::output::Report;
use crate::{Answer, progress, when};

const DAY_MS: u64 = 86_400_000;

/// What may go.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Keep the events of so many days, even if they can no longer be delivered.
    #[arg(long, value_name = "N", default_value_t = 30)]
    days: u64,
    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Pruning {
    dry_run: bool,
    /// Events of older stream entries go.
    before: String,
    before_time: String,
    removed: u64,
    /// Old events that stay because an operator has not decided about their flag.
    flagged: u64,
}

/// Prunes, or says what would go.
pub(crate) async fn run(command: &Prune, context: &Context) -> Result<Answer, Failure> {
    let before = before(command, context).await?;
    let (access, intent) = match command.dry_run {
        true => (Access::Read, Intent::Look),
        false => (Access::Existing, Intent::Act),
    };
    let mut ledger = context.ledger(access)?;
    let bar = OnceCell::new();
    let mut show = |done: u64, total: u64| {
        bar.get_or_init(|| progress::bar("pruning", total)).set_position(done);
    };
    let pruned = ledger.prune(before, intent, &mut show);
    if let Some(bar) = bar.get() {
        bar.finish_and_clear();
    }
    let Pruned { events, flagged } = pruned.map_err(|error| context.ledger_failure(&error))?;
    context.output.show(&Pruning {
        dry_run: command.dry_run,
        before: before.to_string(),
        before_time: utc(before.unix_seconds()),
        removed: events,
        flagged,
    })?;
    Ok(Answer::Done)
}

/// Nothing that the stream or a dead letter could still bring goes.
async fn before(command: &Prune, context: &Context) -> Result<EntryId, Failure> {
    let mut redis = context.redis().await?;
    let stream = context.keys.traffic();
    let target = Target { stream: &stream, group: &context.group };
    let deliverable = audit::deliverable_from(&mut redis.connection, target, &context.keys).await;
    let Some(deliverable) = deliverable.map_err(|error| redis.failure(&error))? else {
        return Err(Failure::usage(format!(
            "{stream} has no group `{}` here, so nobody knows what may still be delivered; is this the consumer's Redis? \
             set --redis, --key-prefix or --group",
            context.group
        )));
    };
    let old = when::now_ms().saturating_sub(command.days.saturating_mul(DAY_MS));
    Ok(deliverable.min(EntryId::at_ms(old)))
}

impl Report for Pruning {
    fn text(&self) -> String {
        let verb = if self.dry_run { "would be removed" } else { "removed" };
        let mut text =
            format!("{} from before {} {verb}", count(self.removed, "event", "events"), self.before_time);
        if self.flagged > 0 {
            text += &format!(
                "; {} until somebody decides",
                count(self.flagged, "flagged one stays", "flagged ones stay")
            );
        }
        text
    }
}
