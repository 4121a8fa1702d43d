//! `ledger backup`: a copy of the ledger while consumers settle into it.

use std::cell::OnceCell;
use std::path::PathBuf;

use books::ledger::{self, Mark};
use clap::Args;
use serde::Serialize;

use crate::connect::Context;
use crate::failure::Failure;
use crate::output::Report;
use crate::{Answer, progress};

/// Where the copy goes.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write. It must not be there yet.
    file: PathBuf,
}

#[derive(Serialize)]
struct BackedUp {
    file: String,
    ledger: String,
    transactions: i64,
}

/// Copies, and reads the copy through.
pub(crate) fn run(command: &Backup, context: &Context) -> Result<Answer, Failure> {
    let file = command.file.display().to_string();
    if command.file.exists() {
        return Err(Failure::usage(format!("`{file}` is there already: name another file, or remove it")));
    }
    let bar = OnceCell::new();
    let mut show = |done: u64, total: u64| {
        bar.get_or_init(|| progress::bar("copying", total)).set_position(done);
    };
    let copied = ledger::back_up(&context.database, &command.file, &mut show);
    if let Some(bar) = bar.get() {
        bar.finish_and_clear();
    }
    let Mark { id, batches, .. } = copied.map_err(|error| context.ledger_failure(&error))?;
    context.output.show(&BackedUp { file, ledger: id, transactions: batches })?;
    Ok(Answer::Done)
}

impl Report for BackedUp {
    fn text(&self) -> String {
        format!(
            "wrote and checked {}: ledger {} after {} transactions",
            self.file, self.ledger, self.transactions
        )
    }
}
