//! The `database` setting, read once.

use std::path::PathBuf;

use contract::config::ServiceUrl;

use super::sqlite::Sqlite;
use super::{Access, Ledger, LedgerError};

/// Where the ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of SQLite's.
    Sqlite(PathBuf),
}

impl Location {
    /// Reads `sqlite://data/ledger.db` (below the working directory) or `sqlite:///var/lib/ledger.db`.
    ///
    /// # Errors
    /// [`LedgerError::Unsupported`] for anything else. The text never holds a password.
    pub fn parse(url: &ServiceUrl) -> Result<Self, LedgerError> {
        match url.reveal().split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() && !path.contains('?') => {
                Ok(Self::Sqlite(path.into()))
            }
            Some(("postgres" | "postgresql" | "mysql" | "mariadb", _)) => {
                Err(LedgerError::Unsupported(format!(
                    "`{url}`: only sqlite:// is built into this version; use for example sqlite://data/ledger.db"
                )))
            }
            _ => Err(LedgerError::Unsupported(format!(
                "`{url}` names no database; expected sqlite:// and the path of a file, such as sqlite://data/ledger.db"
            ))),
        }
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] when it cannot be opened now; the text says where and what to do.
    pub fn open(&self, access: Access) -> Result<Ledger, LedgerError> {
        match self {
            Self::Sqlite(path) => Ok(Ledger::over(Sqlite::open(path, access)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Location, String> {
        Location::parse(&url.into()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_path_after_two_slashes_is_relative_and_after_three_absolute() {
        assert_eq!(parse("sqlite://data/ledger.db"), Ok(Location::Sqlite("data/ledger.db".into())));
        assert_eq!(parse("sqlite:///var/ledger.db"), Ok(Location::Sqlite("/var/ledger.db".into())));
    }

    #[test]
    fn other_databases_are_refused_with_what_is_built_and_without_the_password() {
        let error = parse("postgres://bob:hunter2@db/ledger").unwrap_err();
        assert!(error.contains("only sqlite://") && !error.contains("hunter2"), "{error}");
        assert!(parse("ledger.db").unwrap_err().contains("sqlite://data/ledger.db"));
        assert!(parse("sqlite://").is_err());
    }
}
