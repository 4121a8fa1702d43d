//! `trackerctl spool`: the announces that a tracker keeps on disk while Redis takes none, and how they come
//! into the books when that tracker is gone.

mod show;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tracker::traffic::Survey;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;

/// Announces that a tracker keeps on disk while Redis takes none.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  trackerctl spool show /var/lib/seedbook/spool")]
pub(crate) enum Command {
    /// Show what lies in a spool's folder, without changing anything: a tracker may be using it.
    #[command(after_help = "Example:\n  trackerctl spool show /var/lib/seedbook/spool\n  \
                            trackerctl --json spool show /var/lib/seedbook/spool | jq .waiting.records")]
    Show(Directory),
}

/// A spool's folder.
#[derive(Debug, Args)]
pub(crate) struct Directory {
    /// The tracker's `spool.directory`.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Carries one command out.
pub(crate) fn run(command: &Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Show(Directory { directory }) => show::run(directory, context),
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
