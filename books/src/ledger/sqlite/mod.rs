//! The ledger in a SQLite file: one writer at a time, several processes may share the file.

mod accounts;
mod audit;
mod backup;
mod events;
mod numbers;
mod rows;
mod settings;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::{InfoHash, Passkey};
use rusqlite::{Connection, ErrorCode, OpenFlags};

pub(super) use backup::back_up;

use super::dialect::{AccountKey, Accounts, AuditedRow, Dialect, EventRange, Purpose};
use super::{Access, LedgerError, Mark, MigrationReport, Numbers};
use crate::entry::EntryId;
use crate::settlement::{EventKey, Promotion, SettledRow, TorrentAccount, UserAccount};

mod migrations {
    refinery::embed_migrations!("../migrations/sqlite");
}

/// How long a writer waits for another process's transaction before the caller is told to try again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements kept compiled: this ledger has about thirty.
const STATEMENTS: usize = 64;

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

    fn execute(&self, sql: &str) -> Result<(), LedgerError> {
        Ok(self.connection.prepare_cached(sql)?.execute([]).map(drop)?)
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

impl Dialect for Sqlite {
    fn migrate(&mut self) -> Result<MigrationReport, LedgerError> {
        let unavailable =
            |error: refinery::Error| LedgerError::Unavailable(format!("the ledger's tables: {error}"));
        // In one transaction: a process that is killed between a migration and the note of it would leave
        // tables that no later start can make.
        let runner = migrations::migrations::runner().set_grouped(true);
        let mut run = || runner.run(&mut self.connection);
        // What fails first may be that another process has made the same tables meanwhile. Then there is
        // nothing left to do for the second attempt; all else fails again, and that says why.
        let report = run().or_else(|_| run()).map_err(unavailable)?;
        let current = runner.get_last_applied_migration(&mut self.connection).map_err(unavailable)?;
        Ok(MigrationReport {
            applied: report.applied_migrations().iter().map(ToString::to_string).collect(),
            current: current.map(|migration| migration.to_string()).unwrap_or_default(),
        })
    }

    fn begin(&mut self, purpose: Purpose) -> Result<(), LedgerError> {
        self.still_the_same_file()?;
        let sql = match purpose {
            Purpose::Read => "BEGIN",
            Purpose::Write => "BEGIN IMMEDIATE",
        };
        self.execute(sql)
    }

    fn commit(&mut self) -> Result<(), LedgerError> {
        self.execute("COMMIT")?;
        // Replaced during the commit: nobody will ever see what was written, and it must not be acknowledged.
        self.still_the_same_file()
    }

    /// Some errors, such as a full disk, end SQLite's transaction by themselves.
    fn roll_back(&mut self) -> Result<(), LedgerError> {
        if self.connection.is_autocommit() { Ok(()) } else { self.execute("ROLLBACK") }
    }

    fn mark(&mut self) -> Result<Mark, LedgerError> {
        Ok(settings::mark(&self.connection)?)
    }

    fn next_batch(&mut self) -> Result<Mark, LedgerError> {
        Ok(settings::next_batch(&self.connection)?)
    }

    fn close_before(&mut self, before: EntryId) -> Result<(), LedgerError> {
        Ok(settings::close_before(&self.connection, before)?)
    }

    fn rename(&mut self, id: &str) -> Result<(), LedgerError> {
        Ok(settings::rename(&self.connection, id)?)
    }

    fn numbers(&mut self) -> Result<Numbers, LedgerError> {
        Ok(numbers::load(&self.connection)?)
    }

    fn save_numbers(&mut self, numbers: &Numbers) -> Result<(), LedgerError> {
        Ok(numbers::save(&self.connection, numbers)?)
    }

    fn aliases(
        &mut self,
        of: &mut dyn Iterator<Item = Passkey>,
    ) -> Result<HashMap<Passkey, Passkey>, LedgerError> {
        Ok(settings::aliases(&self.connection, of)?)
    }

    fn add_alias(&mut self, old: &Passkey, new: &Passkey) -> Result<(), LedgerError> {
        Ok(settings::add_alias(&self.connection, old, new)?)
    }

    fn torrent_aliases(
        &mut self,
        of: &mut dyn Iterator<Item = InfoHash>,
    ) -> Result<HashMap<InfoHash, InfoHash>, LedgerError> {
        Ok(settings::torrent_aliases(&self.connection, of)?)
    }

    fn count_torrent_aliases(&mut self) -> Result<u64, LedgerError> {
        Ok(settings::count_torrent_aliases(&self.connection)?)
    }

    fn add_torrent_alias(&mut self, v2: &InfoHash, v1: &InfoHash) -> Result<(), LedgerError> {
        Ok(settings::add_torrent_alias(&self.connection, v2, v1)?)
    }

    fn promotions(&mut self, oldest: i64, newest: i64) -> Result<Vec<Promotion>, LedgerError> {
        settings::promotions(&self.connection, oldest, newest)
    }

    fn add_promotion(&mut self, promotion: &Promotion) -> Result<i64, LedgerError> {
        Ok(settings::add_promotion(&self.connection, promotion)?)
    }

    fn end_promotion(&mut self, id: i64, ends_at: i64) -> Result<bool, LedgerError> {
        Ok(settings::end_promotion(&self.connection, id, ends_at)?)
    }

    fn move_promotions(&mut self, old: &Passkey, new: &Passkey) -> Result<(), LedgerError> {
        Ok(settings::move_promotions(&self.connection, old, new)?)
    }

    fn insert_events(&mut self, events: &[&SettledRow]) -> Result<Vec<bool>, LedgerError> {
        Ok(events::insert(&self.connection, events)?)
    }

    fn insert_flags(&mut self, events: &[&SettledRow]) -> Result<(), LedgerError> {
        Ok(events::insert_flags(&self.connection, events)?)
    }

    fn update_event(&mut self, event: &SettledRow) -> Result<(), LedgerError> {
        Ok(events::update(&self.connection, event)?)
    }

    fn delete_events(&mut self, keys: &[EventKey]) -> Result<(), LedgerError> {
        Ok(events::delete(&self.connection, keys)?)
    }

    fn events_at(&mut self, keys: &[EventKey]) -> Result<Vec<Option<SettledRow>>, LedgerError> {
        Ok(events::at(&self.connection, keys)?)
    }

    fn events_of(&mut self, range: &EventRange) -> Result<Vec<SettledRow>, LedgerError> {
        Ok(events::of(&self.connection, range)?)
    }

    fn events_after(
        &mut self,
        after: Option<&EventKey>,
        until: i64,
        most: u32,
    ) -> Result<Vec<SettledRow>, LedgerError> {
        Ok(events::after(&self.connection, after, (until, most))?)
    }

    fn count_events(&mut self, passkey: Option<&Passkey>, time: (i64, i64)) -> Result<u64, LedgerError> {
        Ok(events::count(&self.connection, passkey, time)?)
    }

    fn insert_folded_keys(&mut self, keys: &[EventKey]) -> Result<(), LedgerError> {
        Ok(events::insert_folded(&self.connection, keys)?)
    }

    fn move_folded_keys(&mut self, from: &InfoHash, to: &InfoHash) -> Result<(), LedgerError> {
        Ok(events::move_folded(&self.connection, from, to)?)
    }

    fn are_folded(&mut self, keys: &[EventKey]) -> Result<Vec<bool>, LedgerError> {
        Ok(events::are_folded(&self.connection, keys)?)
    }

    fn accounts(
        &mut self,
        table: Accounts,
        keys: &[AccountKey],
    ) -> Result<Vec<Option<TorrentAccount>>, LedgerError> {
        Ok(accounts::load(&self.connection, table, keys)?)
    }

    fn save_accounts(
        &mut self,
        table: Accounts,
        changed: &[(AccountKey, TorrentAccount)],
    ) -> Result<(), LedgerError> {
        Ok(accounts::save(&self.connection, table, changed)?)
    }

    fn accounts_of(
        &mut self,
        table: Accounts,
        passkey: &Passkey,
    ) -> Result<Vec<(InfoHash, TorrentAccount)>, LedgerError> {
        Ok(accounts::load_all(&self.connection, table, passkey)?)
    }

    fn users_of(&mut self, table: Accounts, info_hash: &InfoHash) -> Result<Vec<Passkey>, LedgerError> {
        Ok(accounts::users_of(&self.connection, table, info_hash)?)
    }

    fn delete_account(&mut self, table: Accounts, key: &AccountKey) -> Result<(), LedgerError> {
        Ok(accounts::delete_one(&self.connection, table, key)?)
    }

    fn user(&mut self, passkey: &Passkey) -> Result<Option<UserAccount>, LedgerError> {
        Ok(accounts::user(&self.connection, passkey)?)
    }

    fn add_to_users(&mut self, gains: &[(Passkey, UserAccount)]) -> Result<(), LedgerError> {
        Ok(accounts::add_to_users(&self.connection, gains)?)
    }

    fn delete_user(&mut self, passkey: &Passkey) -> Result<(), LedgerError> {
        Ok(accounts::delete_user(&self.connection, passkey)?)
    }

    fn audit(&mut self, visit: &mut dyn FnMut(AuditedRow)) -> Result<(), LedgerError> {
        audit::audit(&self.connection, visit)
    }

    fn flags_without_events(&mut self) -> Result<Vec<AccountKey>, LedgerError> {
        Ok(audit::flags_without_events(&self.connection)?)
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
    // Whoever opens it to write may bring it to the newest version.
    let newest =
        if access == OpenFlags::SQLITE_OPEN_READ_WRITE { "settled_events" } else { "stream_numbers" };
    let sql = "SELECT count(*) FROM sqlite_master WHERE name = ?1";
    let tables: i64 =
        connection.query_row(sql, [newest], |row| row.get(0)).map_err(|error| cannot_open(path, &error))?;
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
