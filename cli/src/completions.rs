//! `trackerctl completions`: what a shell needs to complete our commands.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde::Serialize;

use crate::connect::Context;
use crate::failure::Failure;
use crate::output::Format;
use crate::{Answer, Cli, output};

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  trackerctl completions bash > /etc/bash_completion.d/trackerctl\n  \
                        trackerctl completions zsh > ~/.zfunc/_trackerctl")]
pub(crate) struct Completions {
    /// The shell that will read the script.
    shell: Shell,
}

#[derive(Serialize)]
struct Script {
    shell: String,
    script: String,
}

/// Writes the script.
pub(crate) fn run(command: &Completions, context: &Context) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::command(), "trackerctl", &mut script);
    match context.output.format() {
        Format::Text => {
            let mut out = std::io::stdout().lock();
            out.write_all(&script)?;
            out.flush()?;
        }
        Format::Json => output::json_line(&Script {
            shell: command.shell.to_string(),
            script: String::from_utf8_lossy(&script).into_owned(),
        })?,
    }
    Ok(Answer::Done)
}
