//! SQLite's own: files and folders, migrations, and errors an operator can act on.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use std::path::PathBuf;

use books::ledger::{self, Access, Ledger, LedgerError};
use books::settlement::Rules;
use contract::TrafficEvent;
use scene::{T0, entry, event, passkey};
use tempfile::TempDir;

/// A ledger file that is not there yet.
struct LedgerFile {
    folder: TempDir,
}

impl LedgerFile {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    fn open(&self) -> Ledger {
        let mut ledger = ledger::open(&self.url().as_str().into(), Access::Write).unwrap();
        ledger.migrate().unwrap();
        ledger
    }

    fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

fn settle(ledger: &mut Ledger, event: TrafficEvent) {
    ledger.settle(&[entry(event)], &Rules::default()).unwrap();
}

#[test]
fn migrating_twice_applies_once() {
    let file = LedgerFile::new();
    let mut ledger = ledger::open(&file.url().as_str().into(), Access::Write).unwrap();
    let report = ledger.migrate().unwrap();
    assert_eq!(report.applied.first().map(String::as_str), Some("V1__ledger"));
    assert_eq!(report.applied.last(), Some(&report.current));
    assert_eq!(ledger.migrate().unwrap().applied, Vec::<String>::new());
}

#[test]
fn processes_that_meet_at_a_new_ledger_migrate_it_once_and_all_succeed() {
    let file = LedgerFile::new();
    let open = || ledger::open(&file.url().as_str().into(), Access::Write).unwrap();
    let ledgers: Vec<Ledger> = (0..8).map(|_| open()).collect();
    let all_there = std::sync::Barrier::new(ledgers.len());
    let migrate = |mut ledger: Ledger| {
        all_there.wait();
        ledger.migrate().unwrap().applied.len()
    };
    let applied: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = ledgers.into_iter().map(|ledger| scope.spawn(|| migrate(ledger))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(applied.iter().filter(|applied| **applied > 0).count(), 1, "{applied:?}");
}

#[test]
fn a_migration_that_breaks_off_before_it_is_noted_leaves_nothing_in_the_way_of_the_next() {
    let file = LedgerFile::new();
    let mut ledger = ledger::open(&file.url().as_str().into(), Access::Write).unwrap();
    let notes = file.sql();
    notes
        .execute_batch(
            "CREATE TABLE refinery_schema_history (version INT PRIMARY KEY, name, applied_on, checksum);
             CREATE TRIGGER no_note BEFORE INSERT ON refinery_schema_history WHEN NEW.version = 4
             BEGIN SELECT RAISE(ABORT, 'broken off'); END",
        )
        .unwrap();
    let error = ledger.migrate().unwrap_err().to_string();
    assert!(error.contains("broken off"), "{error}");
    notes.execute_batch("DROP TRIGGER no_note").unwrap();
    assert_eq!(ledger.migrate().unwrap().current, "V8__torrent_aliases");
    settle(&mut ledger, event(T0));
}

#[test]
fn opening_for_reading_neither_creates_nor_changes() {
    let file = LedgerFile::new();
    let read = || ledger::open(&file.url().as_str().into(), Access::Read);
    let Err(LedgerError::Unavailable(missing)) = read() else { panic!("a missing file was opened") };
    assert!(missing.contains("ledger.db"), "{missing}");
    assert!(!file.path().exists());

    rusqlite::Connection::open(file.path()).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let Err(LedgerError::Unavailable(empty)) = read() else {
        panic!("a foreign file was taken for a ledger")
    };
    assert!(empty.contains("ledger migrate"), "{empty}");

    settle(&mut file.open(), event(T0));
    let mut ledger = read().unwrap();
    assert!(ledger.user(&passkey("alice")).unwrap().is_some());
    assert!(matches!(
        ledger.settle(&[entry(event(T0 + 1))], &Rules::default()),
        Err(LedgerError::Unavailable(_))
    ));
}

#[test]
fn a_path_that_cannot_be_a_database_says_where_and_what_to_do() {
    let file = LedgerFile::new();
    std::fs::write(file.folder.path().join("wall"), "a file where a folder should be").unwrap();
    let url = format!("sqlite://{}/wall/ledger.db", file.folder.path().display());
    let Err(LedgerError::Unavailable(error)) = ledger::open(&url.as_str().into(), Access::Write) else {
        panic!("a ledger below a file was opened")
    };
    assert!(error.contains("wall/ledger.db") && error.contains("`database`"), "{error}");
}

#[test]
fn a_missing_folder_is_created() {
    let file = LedgerFile::new();
    let url = format!("sqlite://{}/a/b/ledger.db", file.folder.path().display());
    assert!(ledger::open(&url.as_str().into(), Access::Write).is_ok());
}

#[test]
fn a_file_that_was_replaced_under_an_open_ledger_is_noticed() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    settle(&mut ledger, event(T0));
    std::fs::remove_file(file.path()).unwrap();
    let outcome = ledger.settle(&[entry(event(T0 + 1))], &Rules::default());
    assert!(matches!(outcome, Err(LedgerError::Unavailable(_))), "{outcome:?}");
}

#[test]
fn data_that_the_database_refuses_leaves_nothing_of_its_batch_behind() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    file.sql()
        .execute_batch(
            "CREATE TRIGGER no_bob BEFORE INSERT ON settled_events WHEN NEW.passkey = 'bob'
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .unwrap();
    let bob = entry(TrafficEvent { passkey: passkey("bob"), ..event(T0) });
    let outcome = ledger.settle(&[entry(event(T0)), bob], &Rules::default());
    assert!(matches!(outcome, Err(LedgerError::Rejected(_))), "{outcome:?}");
    assert!(ledger.user(&passkey("alice")).unwrap().is_none());
}

#[test]
fn the_rule_for_events_survived_its_rewriting() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    settle(&mut ledger, event(T0));
    let other = file.sql();
    let put = |word: &str| other.execute("UPDATE settled_events SET event = ?1", [word]);
    for word in ["none", "started", "completed", "stopped"] {
        assert_eq!(put(word), Ok(1), "{word}");
    }
    assert!(put("paused").unwrap_err().to_string().contains("CHECK constraint failed"));
    // A list of words would have SQLite build a table of them at every insert.
    let mut statement = other.prepare("EXPLAIN INSERT INTO settled_events (event) VALUES ('none')").unwrap();
    let steps: Vec<String> =
        statement.query_map([], |row| row.get(1)).unwrap().collect::<Result<_, _>>().unwrap();
    assert!(!steps.iter().any(|step| step == "OpenEphemeral"), "{steps:?}");
}
