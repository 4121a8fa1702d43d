//! `trackerctl ledger`: the database's tables, and whether its totals are what the settled events add up to.

use std::cell::OnceCell;

use clap::{Args, Subcommand};
use consumer::ledger::{Access, Drift, MigrationReport};
use serde::Serialize;

use crate::connect::Context;
use crate::failure::Failure;
use crate::human::{count, masked};
use crate::output::{Report, table};
use crate::{Answer, progress};

/// The database of what was settled.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  trackerctl ledger migrate\n  trackerctl ledger verify")]
pub(crate) enum Command {
    /// Create the tables, or bring them to the newest version.
    #[command(
        after_help = "Example:\n  trackerctl --database sqlite:///var/lib/seedbook/ledger.db ledger migrate"
    )]
    Migrate,
    /// Add every total up again from the settled events; exit code 1 when one differs.
    #[command(after_help = "Example:\n  trackerctl ledger verify || echo 'totals drifted'")]
    Verify(Verify),
}

/// How to show what differs.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Show passkeys in full instead of their first characters.
    #[arg(long)]
    show_passkeys: bool,
}

/// Carries one command out.
pub(crate) fn run(command: &Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Migrate => migrate(context),
        Command::Verify(command) => verify(command, context),
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

#[derive(Serialize)]
struct Verified {
    agrees: bool,
    drifts: Vec<Difference>,
}

#[derive(Serialize)]
struct Difference {
    table: &'static str,
    passkey: String,
    infohash: Option<String>,
    column: &'static str,
    recorded: String,
    recomputed: String,
}

fn verify(command: &Verify, context: &Context) -> Result<Answer, Failure> {
    let mut ledger = context.ledger(Access::Read)?;
    // The total is only known once the work has begun.
    let bar = OnceCell::new();
    let mut show = |done: u64, total: u64| {
        bar.get_or_init(|| progress::bar("verifying", total)).set_position(done);
    };
    let drifts = ledger.verify(&mut show).map_err(|error| context.ledger_failure(&error))?;
    if let Some(bar) = bar.get() {
        bar.finish_and_clear();
    }
    let drifts: Vec<Difference> =
        drifts.into_iter().map(|drift| Difference::new(drift, command.show_passkeys)).collect();
    let agrees = drifts.is_empty();
    context.output.show(&Verified { agrees, drifts })?;
    Ok(if agrees { Answer::Done } else { Answer::No })
}

impl Difference {
    fn new(drift: Drift, show_passkeys: bool) -> Self {
        let passkey = &drift.passkey;
        Self {
            table: drift.table,
            passkey: if show_passkeys { passkey.reveal().to_owned() } else { masked(passkey) },
            infohash: drift.info_hash.map(|info_hash| info_hash.to_string()),
            column: drift.column,
            recorded: drift.recorded,
            recomputed: drift.recomputed,
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.table.to_owned(),
            self.passkey.clone(),
            self.infohash.clone().unwrap_or_default(),
            self.column.to_owned(),
            self.recorded.clone(),
            self.recomputed.clone(),
        ]
    }
}

impl Report for Verified {
    fn text(&self) -> String {
        if self.agrees {
            return "every total is what the settled events add up to".into();
        }
        let header = ["table", "passkey", "torrent", "column", "recorded", "recomputed"];
        let rows = self.drifts.iter().map(Difference::row);
        let drifts = count(self.drifts.len() as u64, "total differs", "totals differ");
        format!("{}\n{drifts}", table(&header, &[4, 5], rows))
    }
}
