//! Why a command could not do its work, worded for the operator, with the exit code that scripts rely on.

use std::io;
use std::process::ExitCode;

use thiserror::Error;

/// A command that was not carried out.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The operator gave something that cannot be used. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// A service does not answer, or cannot do what was asked. Exit code 3.
    #[error("{tried}: {cause}\n  {hint}")]
    Service {
        /// What was tried and where, without passwords.
        tried: String,
        /// What came back.
        cause: String,
        /// What to do next.
        hint: String,
    },
    /// The reader of our output went away, as `head` does: a quiet end.
    #[error("the output was closed")]
    OutputClosed,
    /// The output cannot be written, or the process cannot work at all. Exit code 3.
    #[error("cannot write the result: {0}")]
    Output(io::Error),
}

impl Failure {
    /// How the program ends.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Usage(_) => ExitCode::from(2),
            Self::Service { .. } | Self::Output(_) => ExitCode::from(3),
        }
    }

    /// A file or value that cannot be used.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }
}

impl From<io::Error> for Failure {
    /// Only for errors of our own output.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::OutputClosed } else { Self::Output(error) }
    }
}
