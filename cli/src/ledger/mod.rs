//! `trackerctl ledger`: the database's tables, whether everything in it is what it should be, and making
//! room.

mod adopt;
mod backup;
mod prune;
mod verify;

use books::ledger::{Access, MigrationReport};
use clap::Subcommand;
use serde::Serialize;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::output::Report;

/// The database of what was settled.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  trackerctl ledger migrate\n  trackerctl ledger verify")]
pub(crate) enum Command {
    /// Create the tables, or bring them to the newest version.
    #[command(
        after_help = "Example:\n  trackerctl --database sqlite:///var/lib/seedbook/ledger.db ledger migrate"
    )]
    Migrate,
    /// Compare totals, settled events, the stream and the sets with each other; exit code 1 when something
    /// differs.
    ///
    /// Every total is added up again from the settled events; every acknowledged entry of the stream must be
    /// settled or a dead letter; every session in the sets must follow from the stream's entries, or have its
    /// announce in the ledger.
    #[command(after_help = "Example:\n  trackerctl ledger verify || echo 'the books do not balance'\n  \
                            trackerctl ledger verify --ledger-only")]
    Verify(verify::Verify),
    /// Remove settled events that can no longer be delivered; totals stay, and verify still balances.
    #[command(
        after_help = "Example:\n  trackerctl ledger prune --days 60 --dry-run\n  trackerctl ledger prune"
    )]
    Prune(prune::Prune),
    /// Copy the ledger to a file, while consumers settle into it, and check the copy.
    #[command(after_help = "Example:\n  trackerctl ledger backup /var/backups/ledger-$(date +%F).db")]
    Backup(backup::Backup),
    /// Say that this ledger is the one that is meant: a backup, or a new one in the place of a lost one.
    ///
    /// Consumers refuse a ledger that is older or another than what was acknowledged into. Adopting tells
    /// Redis otherwise, rotates again what was rotated since, and has everything delivered again that this
    /// ledger may lack.
    #[command(after_help = "Example:\n  trackerctl ledger adopt\n  trackerctl ledger adopt --yes")]
    Adopt(adopt::Adopt),
}

/// Carries one command out.
pub(crate) async fn run(command: &Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Migrate => migrate(context),
        Command::Verify(command) => verify::run(command, context).await,
        Command::Prune(command) => prune::run(command, context).await,
        Command::Backup(command) => backup::run(command, context),
        Command::Adopt(command) => adopt::run(command, context).await,
    }
}

#[derive(Serialize)]
struct Migrated {
    applied: Vec<String>,
    current: String,
}

impl Report for Migrated {
    fn text(&self) -> String {
        match self.applied.as_slice() {
            [] => format!("up to date at {}", self.current),
            applied => format!("applied {}", applied.join(", ")),
        }
    }
}

fn migrate(context: &Context) -> Result<Answer, Failure> {
    let mut ledger = context.ledger(Access::Write)?;
    let MigrationReport { applied, current } =
        ledger.migrate().map_err(|error| context.ledger_failure(&error))?;
    context.output.show(&Migrated { applied, current })?;
    Ok(Answer::Done)
}
