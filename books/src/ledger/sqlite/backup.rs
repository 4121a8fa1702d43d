//! A copy of the ledger as it is at one moment, while consumers settle into it.
//!
//! One transaction that only reads holds that moment for all steps: without it SQLite begins anew whenever
//! somebody commits, and beside a busy consumer never ends.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::super::{LedgerError, Mark, Progress};
use super::{cannot_open, existing, settings};

/// Pages copied in one step, 4 MB.
const PAGES: i32 = 1000;
/// Attempts at one step that another process is in the way of, and the wait between two.
const ATTEMPTS: u32 = 100;
const WAIT: Duration = Duration::from_millis(50);

/// Copies the ledger to a file that is not there yet, and reads the copy through.
pub(in super::super) fn back_up(from: &Path, to: &Path, progress: Progress<'_>) -> Result<Mark, LedgerError> {
    let part = PathBuf::from(format!("{}.part", to.display()));
    let written = write(from, &part, progress).and_then(|mark| verified(&part, mark));
    let placed = written.and_then(|mark| place(&part, to).map(|()| mark));
    if placed.is_err() {
        // What cannot be removed is overwritten by the next attempt.
        drop(fs::remove_file(&part));
    }
    placed
}

fn write(from: &Path, part: &Path, progress: Progress<'_>) -> Result<Mark, LedgerError> {
    let source = existing(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    source.execute_batch("BEGIN")?;
    let mark = settings::mark(&source)?;
    File::create(part).map_err(|error| cannot_open(part, &error))?;
    let mut copy = Connection::open(part)?;
    let backup = Backup::new(&source, &mut copy)?;
    let mut attempts = 0;
    loop {
        match backup.step(PAGES)? {
            StepResult::Done => return Ok(mark),
            StepResult::More => attempts = 0,
            _ if attempts == ATTEMPTS => return Err(LedgerError::Unavailable("the ledger is locked".into())),
            _ => {
                attempts += 1;
                std::thread::sleep(WAIT);
            }
        }
        let state = backup.progress();
        let pages = |pages: i32| u64::try_from(pages).unwrap_or(0);
        progress(pages(state.pagecount - state.remaining), pages(state.pagecount));
    }
}

fn verified(part: &Path, mark: Mark) -> Result<Mark, LedgerError> {
    let copy = Connection::open(part)?;
    let says: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if says != "ok" {
        return Err(LedgerError::Unavailable(format!("the copy is damaged: {says}")));
    }
    match settings::mark(&copy)? {
        found if found == mark => Ok(mark),
        _ => Err(LedgerError::Unavailable("the copy is not what was copied".into())),
    }
}

/// Under its name only when it is whole and on the disk; never over another file.
fn place(part: &Path, to: &Path) -> Result<(), LedgerError> {
    let place = || {
        File::open(part)?.sync_all()?;
        fs::hard_link(part, to)?;
        fs::remove_file(part)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    place().map_err(|error| {
        LedgerError::Unavailable(format!("the backup `{}` cannot be put in its place: {error}", to.display()))
    })
}
