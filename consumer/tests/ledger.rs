//! The SQLite ledger: totals, time earned once, flags, reads, the audit, and errors an operator can act on.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use books::Entry;
use books::entry::EntryId;
use books::ledger::{self, Access, EventQuery, Ledger, LedgerError, Outcome};
use books::settlement::{FlagReason, Rules};
use contract::{Event, TrafficEvent};
use scene::{LedgerFile, T0, entry, event, hash, passkey, peer};

fn settle(ledger: &mut dyn Ledger, entries: &[Entry]) -> Outcome {
    ledger.settle(entries, &Rules::default()).unwrap()
}

fn ts(offset: u64) -> i64 {
    i64::try_from(T0 + offset).unwrap()
}

fn explain(ledger: &mut dyn Ledger, newest: u32) -> Vec<i64> {
    let query = EventQuery { passkey: passkey("alice"), info_hash: None, since: None, newest };
    ledger.events(&query).unwrap().into_iter().map(|row| row.ts).collect()
}

#[test]
fn totals_add_up_over_torrents_and_a_replay_changes_nothing() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    let entries = [
        entry(event(T0)),
        entry(TrafficEvent { info_hash: hash(2), du: 50, dd: 70, left: 9, ..event(T0 + 5) }),
        entry(event(T0 + 600)),
    ];
    assert_eq!(settle(ledger.as_mut(), &entries), Outcome { settled: 3, duplicates: 0, flagged: 0 });
    assert_eq!(settle(ledger.as_mut(), &entries), Outcome { settled: 0, duplicates: 3, flagged: 0 });
    let user = ledger.user(&passkey("alice")).unwrap().unwrap();
    assert_eq!((user.sums.raw_up, user.sums.raw_down), (2050, 70));
    assert_eq!((user.sums.seed_seconds, user.sums.leech_seconds), (1200, 600));
    assert_eq!((user.sums.first_seen, user.sums.last_seen), (ts(0), ts(600)));
    let torrents = ledger.torrents_of(&passkey("alice")).unwrap();
    assert_eq!(torrents.iter().map(|(hash, _)| *hash).collect::<Vec<_>>(), [hash(1), hash(2)]);
    assert_eq!(torrents[1].1.left_bytes, 9);
    assert!(ledger.user(&passkey("bob")).unwrap().is_none());
}

#[test]
fn two_clients_of_one_user_earn_each_second_once() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    let second = |ts| entry(TrafficEvent { peer_id: peer(2), ..event(ts) });
    settle(ledger.as_mut(), &[entry(event(T0 + 600)), second(T0 + 900)]);
    settle(ledger.as_mut(), &[second(T0 + 1500), entry(event(T0 + 1200))]);
    let user = ledger.user(&passkey("alice")).unwrap().unwrap();
    assert_eq!(user.sums.seed_seconds, 1500, "from T0 to T0 + 1500 without a gap");
    let query = EventQuery { passkey: passkey("alice"), info_hash: Some(hash(1)), since: None, newest: 10 };
    let claims: Vec<i64> = ledger.events(&query).unwrap().iter().map(|row| row.seed_seconds).collect();
    assert_eq!(claims, [600; 4], "each row keeps its own claim");
}

#[test]
fn a_completion_counts_once_and_at_its_earliest_time() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    let completed = |ts| entry(TrafficEvent { event: Event::Completed, ..event(ts) });
    settle(ledger.as_mut(), &[completed(T0 + 50)]);
    settle(ledger.as_mut(), &[completed(T0 + 20), completed(T0 + 90)]);
    assert_eq!(ledger.user(&passkey("alice")).unwrap().unwrap().completed, 1);
    assert_eq!(ledger.torrents_of(&passkey("alice")).unwrap()[0].1.completed_at, Some(ts(20)));
}

#[test]
fn what_is_left_comes_from_the_newest_announce_and_ties_from_the_newest_entry() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    let at = |ts: u64, seq, who, left| Entry {
        id: EntryId { ms: T0 * 1000, seq },
        event: TrafficEvent { left, peer_id: peer(who), ..event(ts) },
    };
    settle(ledger.as_mut(), &[at(T0 + 10, 10, 1, 111)]);
    settle(ledger.as_mut(), &[at(T0 + 10, 9, 2, 222), at(T0 + 5, 99, 3, 333)]);
    assert_eq!(ledger.torrents_of(&passkey("alice")).unwrap()[0].1.left_bytes, 111);
}

#[test]
fn a_flagged_event_is_recorded_with_its_reason() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    let fast = entry(TrafficEvent { du: 1 << 50, dt: 1, ..event(T0) });
    let absurd = entry(TrafficEvent { du: u64::MAX, ..event(T0 + 1) });
    assert_eq!(settle(ledger.as_mut(), &[fast, absurd]).flagged, 2);
    let query = EventQuery { passkey: passkey("alice"), info_hash: None, since: None, newest: 10 };
    let rows = ledger.events(&query).unwrap();
    let reasons: Vec<_> = rows.iter().map(|row| row.flag.as_ref().map(|flag| flag.reason)).collect();
    assert_eq!(reasons, [Some(FlagReason::Speed), Some(FlagReason::Overflow)]);
    assert_eq!((rows[0].raw_up, rows[0].credited_up, rows[1].raw_up), (1 << 50, 0, 0));
}

#[test]
fn totals_stop_at_the_largest_number_instead_of_wrapping() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    settle(ledger.as_mut(), &[entry(event(T0))]);
    file.sql().execute("UPDATE user_traffic SET raw_up = 9223372036854775807", []).unwrap();
    settle(ledger.as_mut(), &[entry(event(T0 + 1))]);
    assert_eq!(ledger.user(&passkey("alice")).unwrap().unwrap().sums.raw_up, i64::MAX);
}

#[test]
fn events_are_read_in_time_order_and_the_newest_are_kept() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    settle(ledger.as_mut(), &[entry(event(T0 + 2)), entry(event(T0)), entry(event(T0 + 1))]);
    assert_eq!(explain(ledger.as_mut(), 10), [ts(0), ts(1), ts(2)]);
    assert_eq!(explain(ledger.as_mut(), 2), [ts(1), ts(2)]);
    let since = EventQuery { passkey: passkey("alice"), info_hash: None, since: Some(ts(2)), newest: 9 };
    assert_eq!(ledger.events(&since).unwrap().len(), 1);
}

#[test]
fn the_audit_finds_what_somebody_changed_by_hand() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    let bob = |ts| entry(TrafficEvent { passkey: passkey("bob"), ..event(ts) });
    settle(ledger.as_mut(), &[entry(event(T0)), entry(event(T0 + 600)), bob(T0), bob(T0 + 9)]);
    let mut steps = Vec::new();
    assert_eq!(ledger.verify(&mut |done, total| steps.push((done, total))).unwrap(), []);
    assert_eq!(steps, [(4, 4)]);

    let sql = file.sql();
    sql.execute("UPDATE user_traffic SET credited_up = credited_up + 7 WHERE passkey = 'alice'", []).unwrap();
    sql.execute("UPDATE torrent_traffic SET seed_seconds = 1 WHERE passkey = 'bob'", []).unwrap();
    sql.execute("INSERT INTO user_traffic VALUES ('carol', 1, 1, 1, 1, 1, 1, 0, 1, 1)", []).unwrap();
    let drifts = ledger.verify(&mut |_, _| {}).unwrap();
    let found: Vec<_> = drifts
        .iter()
        .map(|d| (d.table, d.passkey.reveal().to_owned(), d.column, d.recorded.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("user_traffic", "alice".to_owned(), "credited_up", "2007"),
            ("torrent_traffic", "bob".to_owned(), "seed_seconds", "1"),
            ("user_traffic", "carol".to_owned(), "row", "present"),
        ]
    );
    assert_eq!(drifts[0].recomputed, "2000");
}

#[test]
fn the_audit_finds_a_settled_event_that_disappeared() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    settle(ledger.as_mut(), &[entry(event(T0)), entry(event(T0 + 600))]);
    file.sql().execute("DELETE FROM settled_events WHERE ts = ?1", [ts(600)]).unwrap();
    let drifts = ledger.verify(&mut |_, _| {}).unwrap();
    let columns: Vec<_> = drifts.iter().filter(|d| d.table == "user_traffic").map(|d| d.column).collect();
    assert_eq!(columns, ["raw_up", "credited_up", "seed_seconds", "last_seen"]);
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

    settle(file.open().as_mut(), &[entry(event(T0))]);
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
    settle(ledger.as_mut(), &[entry(event(T0))]);
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
    settle(ledger.as_mut(), &[entry(event(T0))]);
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
