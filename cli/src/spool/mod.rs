//! `trackerctl spool`: the announces that a tracker keeps on disk while Redis takes none, and how they come
//! into the books when that tracker is gone.

mod replay;
mod show;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tracker::traffic::Survey;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;

/// Announces that a tracker keeps on disk while Redis takes none.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  trackerctl spool show /var/lib/seedbook/spool\n  \
                        trackerctl spool replay /mnt/old/spool")]
pub(crate) enum Command {
    /// Show what lies in a spool's folder, without changing anything: a tracker may be using it.
    #[command(after_help = "Example:\n  trackerctl spool show /var/lib/seedbook/spool\n  \
                            trackerctl --json spool show /var/lib/seedbook/spool | jq .waiting.records")]
    Show(Directory),
    /// Book what a tracker that is gone left in its spool. Exit code 1 when Redis refuses some of it.
    ///
    /// A tracker that is started again does this by itself. Nothing is booked twice, however often it is run.
    #[command(
        after_help = "Example:\n  trackerctl --redis redis://10.0.0.2:6379/0 spool replay /mnt/old/spool\n  \
                            trackerctl spool replay /mnt/old/spool --config /etc/seedbook/tracker.yaml"
    )]
    Replay(replay::Replay),
}

/// A spool's folder.
#[derive(Debug, Args)]
pub(crate) struct Directory {
    /// The tracker's `spool.directory`.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Carries one command out.
pub(crate) async fn run(command: &Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Show(Directory { directory }) => show::run(directory, context),
        Command::Replay(command) => replay::run(command, context).await,
    }
}

/// What lies in a folder. A mistyped name is no empty spool.
fn survey(directory: &Path) -> Result<Survey, Failure> {
    let shown = directory.display();
    let survey = Survey::of(directory);
    let survey = survey.map_err(|error| Failure::usage(format!("{shown} cannot be read: {error}")))?;
    survey.ok_or_else(|| {
        Failure::usage(format!("{shown} is no spool's folder: name a tracker's `spool.directory`"))
    })
}
