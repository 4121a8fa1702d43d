//! The ledger in a SQLite file: one writer at a time, several processes may share the file.

mod aliases;
mod keys;
mod prune;
mod read;
mod rotate;
mod rows;
mod verify;
mod write;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::{InfoHash, Passkey};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    Access, Drift, EventQuery, Intent, Ledger, LedgerError, Mark, MigrationReport, Outcome, Progress, Pruned,
    Rotated,
};
use crate::entry::{Entry, EntryId};
use crate::settlement::{Promotion, Rules, SettledRow, TorrentAccount, UserAccount};

mod migrations {
    refinery::embed_migrations!("../migrations/sqlite");
}

/// How long a writer waits for another process's transaction before the caller is told to try again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements kept compiled: this ledger has about fifteen.
const STATEMENTS: usize = 32;

pub(super) struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// Device and inode of the file behind `connection`.
    file: (u64, u64),
}

impl Sqlite {
    pub(super) fn open(path: &Path, access: Access) -> Result<Self, LedgerError> {
        let connection = match access {
            Access::Write => create(path),
            Access::Existing => existing(path, OpenFlags::SQLITE_OPEN_READ_WRITE),
            Access::Read => existing(path, OpenFlags::SQLITE_OPEN_READ_ONLY),
        }?;
        let file = identity(path).map_err(|error| cannot_open(path, &error))?;
        Ok(Self { connection, path: path.to_owned(), file })
    }

    /// A file that was replaced or deleted under an open connection still takes writes, and nobody ever sees
    /// them.
    fn still_the_same_file(&self) -> Result<(), LedgerError> {
        match identity(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            _ => Err(LedgerError::Unavailable(format!(
                "the ledger `{}` was moved or replaced while it was open",
                self.path.display()
            ))),
        }
    }
}

impl Ledger for Sqlite {
    fn migrate(&mut self) -> Result<MigrationReport, LedgerError> {
        let unavailable =
            |error: refinery::Error| LedgerError::Unavailable(format!("the ledger's tables: {error}"));
        let runner = migrations::migrations::runner();
        let report = runner.run(&mut self.connection).map_err(unavailable)?;
        let current = runner.get_last_applied_migration(&mut self.connection).map_err(unavailable)?;
        Ok(MigrationReport {
            applied: report.applied_migrations().iter().map(ToString::to_string).collect(),
            current: current.map(|migration| migration.to_string()).unwrap_or_default(),
        })
    }

    fn settle(&mut self, entries: &[Entry], rules: &Rules) -> Result<Outcome, LedgerError> {
        self.still_the_same_file()?;
        let outcome = write::settle(&mut self.connection, entries, rules)?;
        // Replaced during the commit: nobody will ever see what was written, and it must not be acknowledged.
        self.still_the_same_file()?;
        Ok(outcome)
    }

    fn user(&mut self, passkey: &Passkey) -> Result<Option<UserAccount>, LedgerError> {
        Ok(rows::load_user(&self.connection, passkey)?)
    }

    fn torrents_of(&mut self, passkey: &Passkey) -> Result<Vec<(InfoHash, TorrentAccount)>, LedgerError> {
        Ok(read::torrents_of(&self.connection, passkey)?)
    }

    fn events(&mut self, query: &EventQuery) -> Result<Vec<SettledRow>, LedgerError> {
        Ok(read::events(&self.connection, query)?)
    }

    fn verify(&mut self, progress: Progress<'_>) -> Result<Vec<Drift>, LedgerError> {
        // One transaction: what a consumer settles meanwhile is neither here nor there.
        let snapshot = self.connection.transaction()?;
        Ok(verify::verify(&snapshot, progress)?)
    }

    fn mark(&mut self) -> Result<Mark, LedgerError> {
        Ok(read::mark(&self.connection)?)
    }

    fn are_settled(&mut self, entries: &[Entry]) -> Result<Vec<bool>, LedgerError> {
        Ok(read::are_settled(&self.connection, entries)?)
    }

    fn prune(
        &mut self,
        before: EntryId,
        intent: Intent,
        progress: Progress<'_>,
    ) -> Result<Pruned, LedgerError> {
        Ok(prune::prune(&mut self.connection, before, intent, progress)?)
    }

    fn rotate(
        &mut self,
        (old, new): (&Passkey, &Passkey),
        intent: Intent,
        progress: Progress<'_>,
    ) -> Result<Rotated, LedgerError> {
        rotate::rotate(&mut self.connection, (old, new), intent, progress)
    }

    fn promotions(&mut self) -> Result<Vec<Promotion>, LedgerError> {
        read::promotions(&self.connection, i64::MIN, i64::MAX)
    }

    fn add_promotion(&mut self, promotion: &Promotion) -> Result<i64, LedgerError> {
        Ok(write::add_promotion(&self.connection, promotion)?)
    }

    fn end_promotion(&mut self, id: i64, ends_at: i64) -> Result<bool, LedgerError> {
        let sql = "UPDATE promotions SET ends_at = ?2 WHERE id = ?1";
        Ok(self.connection.execute(sql, (id, ends_at))? > 0)
    }
}

fn create(path: &Path) -> Result<Connection, LedgerError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| cannot_open(path, &error))?;
    }
    let connection = Connection::open(path).map_err(|error| cannot_open(path, &error))?;
    prepare(&connection).map_err(|error| cannot_open(path, &error))?;
    Ok(connection)
}

/// FULL: an acknowledged entry is gone from the stream, so its commit must be on the disk. The larger WAL
/// (40,000 pages are 160 MB) is written back less often, and by then most pages of the totals have changed
/// several times: a tenth of all time.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 40000;
         PRAGMA cache_size = -65536;",
    )
}

fn existing(path: &Path, access: OpenFlags) -> Result<Connection, LedgerError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| cannot_open(path, &error))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let sql = "SELECT count(*) FROM sqlite_master WHERE name = 'passkey_aliases'";
    let tables: i64 =
        connection.query_row(sql, [], |row| row.get(0)).map_err(|error| cannot_open(path, &error))?;
    if tables == 0 {
        return Err(LedgerError::Unavailable(format!(
            "`{}` holds no ledger of this version; start the consumer once, or run `trackerctl ledger migrate`",
            path.display()
        )));
    }
    if access == OpenFlags::SQLITE_OPEN_READ_WRITE {
        prepare(&connection).map_err(|error| cannot_open(path, &error))?;
    }
    Ok(connection)
}

fn cannot_open(path: &Path, error: &dyn std::fmt::Display) -> LedgerError {
    LedgerError::Unavailable(format!(
        "cannot open the ledger `{}`: {error}; see that its folder is there and this user may write to it, or set \
         `database` to another place",
        path.display()
    ))
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

impl From<rusqlite::Error> for LedgerError {
    /// Only what is certainly the data's fault is rejected. Everything else waits, because waiting loses
    /// nothing.
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        let of_the_data = match &error {
            E::SqliteFailure(cause, _) => matches!(
                cause.code,
                ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig
            ),
            E::ToSqlConversionFailure(_) => true,
            _ => false,
        };
        if of_the_data {
            Self::Rejected(error.to_string())
        } else {
            Self::Unavailable(format!("the ledger: {error}"))
        }
    }
}
