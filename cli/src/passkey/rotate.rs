//! `passkey rotate`: a user gets a new passkey and keeps everything, while clients still announce with the
//! old one.
//!
//! `books::rotation` does it; killed anywhere, the same command does the rest.

use books::ledger::{Access, Intent, LedgerError, Rotated};
use books::rotation::{self, Rotation, RotationError, Stage};
use clap::Args;
use contract::Passkey;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::connect::Context;
use crate::failure::Failure;
use crate::human::count;
use crate::listed::parse;
use crate::output::Report;
use crate::{Answer, progress};

/// Which passkey becomes which.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The passkey in use.
    #[arg(value_name = "OLD")]
    old: String,
    /// The passkey that takes its place, for example from `passkey generate`.
    #[arg(value_name = "NEW")]
    new: String,
    /// Only say what would be moved.
    #[arg(long)]
    dry_run: bool,
    /// What snapshot keys begin with, if `traffic push` names another `last_key_prefix`.
    #[arg(long, value_name = "PREFIX", default_value = contract::keys::SNAPSHOT_PREFIX)]
    last_key_prefix: String,
}

#[derive(Serialize)]
struct Moved {
    dry_run: bool,
    snapshots: u64,
    sessions: u64,
    events: u64,
    torrents: u64,
    promotions: u64,
}

impl Report for Moved {
    fn text(&self) -> String {
        let moved = format!(
            "{}, {}, {} on {}, {}",
            count(self.snapshots, "snapshot", "snapshots"),
            count(self.sessions, "session of the presence sets", "sessions of the presence sets"),
            count(self.events, "settled announce", "settled announces"),
            count(self.torrents, "torrent", "torrents"),
            count(self.promotions, "promotion", "promotions"),
        );
        if self.dry_run {
            return format!("would move {moved}");
        }
        format!("moved {moved}; the old passkey still announces, for the new one, until `passkey remove`")
    }
}

/// Rotates, or says what it would do.
pub(crate) async fn run(command: &Rotate, context: &Context) -> Result<Answer, Failure> {
    let (old, new): (Passkey, Passkey) = (parse(&command.old)?, parse(&command.new)?);
    let snapshot_prefix = format!("{}{}", context.keys.prefix(), command.last_key_prefix);
    let rotation = Rotation { keys: &context.keys, snapshot_prefix: &snapshot_prefix, old: &old, new: &new };
    let known = context.ledger(Access::Read)?.rotate((&old, &new), Intent::Look, &mut |_, _| {});
    let known = known.map_err(|error| of_the_ledger(context, error))?;
    let mut redis = context.redis().await?;
    let bars = Bars { search: progress::bar("moving", 0), settle: progress::bar("settling", 0) };
    let moved = if command.dry_run {
        rotation.look(&mut redis.connection, known, &mut |stage| bars.show(stage)).await
    } else {
        let mut ledger = context.ledger(Access::Existing)?;
        rotation.act(&mut redis.connection, &mut ledger, known, &mut |stage| bars.show(stage)).await
    };
    bars.search.finish_and_clear();
    bars.settle.finish_and_clear();
    let moved = moved.map_err(|error| match error {
        RotationError::Refused(reason) => Failure::usage(reason.to_string()),
        RotationError::Redis(error) => redis.failure(&error),
        RotationError::Ledger(error) => of_the_ledger(context, error),
    })?;
    context.output.show(&Moved::new(command.dry_run, moved))?;
    Ok(Answer::Done)
}

struct Bars {
    search: ProgressBar,
    settle: ProgressBar,
}

impl Bars {
    fn show(&self, stage: Stage) {
        let (bar, done, total) = match stage {
            Stage::Snapshots(done, total) => (&self.search, done, total),
            Stage::Ledger(done, total) => (&self.settle, done, total),
        };
        bar.set_length(total);
        bar.set_position(done);
    }
}

fn of_the_ledger(context: &Context, error: LedgerError) -> Failure {
    match error {
        LedgerError::Rejected(reason) => Failure::usage(reason),
        error => context.ledger_failure(&error),
    }
}

impl Moved {
    fn new(dry_run: bool, moved: rotation::Moved) -> Self {
        let rotation::Moved { snapshots, sessions, ledger } = moved;
        let Rotated { events, torrents, promotions, .. } = ledger;
        Self { dry_run, snapshots, sessions, events, torrents, promotions }
    }
}
