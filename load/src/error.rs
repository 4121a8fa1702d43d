//! Why a load cannot be put on. The words are those of `trackerctl load`'s options, in which people say what
//! they want; a URL is never repeated, because it may hold a passkey.

use std::io;

use thiserror::Error;

/// Why there are no results.
#[derive(Debug, Error)]
pub enum LoadError {
    /// What is wanted makes no sense, or is not allowed.
    #[error("{0}")]
    Usage(String),
    /// It is more than this program takes upon itself.
    #[error("this would take {needed} bytes here; {limit} is the limit")]
    TooLarge {
        /// Bytes.
        needed: u64,
        /// Bytes.
        limit: u64,
    },
    /// The tracker is not there.
    #[error("{tracker}: {cause}")]
    Unreachable {
        /// Host and port.
        tracker: String,
        /// What came back.
        cause: String,
    },
    /// This machine does not give what it takes.
    #[error("sending the load: {0}")]
    Broken(#[from] io::Error),
}

impl LoadError {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }
}
