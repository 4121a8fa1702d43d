//! The rows that the audit reads: four tables, each in the order of its key. Only the events have to be
//! sorted.

use contract::InfoHash;
use rusqlite::{Connection, Row, Statement};

use super::super::LedgerError;
use super::super::dialect::{AccountKey, AuditedRow};
use super::super::merge::{Source, merged};
use super::events::EVENTS_WITH_FLAGS;
use super::rows::{self, EVENT_COLUMNS};

const CARRIED: &str =
    "SELECT raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds, first_seen, last_seen,
    left_bytes, left_entry, completed_at, seed_spans, leech_spans, claims, passkey, infohash
    FROM carried_forward ORDER BY passkey, infohash";
const TORRENTS: &str =
    "SELECT raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds, first_seen, last_seen,
    left_bytes, left_entry, completed_at, seed_spans, leech_spans, claims, passkey, infohash
    FROM torrent_traffic ORDER BY passkey, infohash";
const USERS: &str =
    "SELECT raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds, first_seen, last_seen,
    completed, passkey FROM user_traffic ORDER BY passkey";
const FLAGS_WITHOUT_EVENTS: &str =
    "SELECT passkey, infohash FROM flagged_events f WHERE NOT EXISTS (SELECT 1 FROM settled_events e
    WHERE e.ts = f.ts AND e.passkey = f.passkey AND e.infohash = f.infohash AND e.peer_id = f.peer_id)";

pub(super) fn audit(connection: &Connection, visit: &mut dyn FnMut(AuditedRow)) -> Result<(), LedgerError> {
    let events =
        format!("SELECT {EVENT_COLUMNS} FROM {EVENTS_WITH_FLAGS} ORDER BY e.passkey, e.infohash, e.ts");
    let mut carried = connection.prepare(CARRIED)?;
    let mut events = connection.prepare(&events)?;
    let mut torrents = connection.prepare(TORRENTS)?;
    let mut users = connection.prepare(USERS)?;
    let sources = vec![
        source(&mut carried, |row| Ok(AuditedRow::Carried(key_of(row)?, rows::torrent_of(row)?)))?,
        source(&mut events, |row| rows::event_of(row).map(AuditedRow::Event))?,
        source(&mut torrents, |row| Ok(AuditedRow::Torrent(key_of(row)?, rows::torrent_of(row)?)))?,
        source(&mut users, |row| Ok(AuditedRow::User(rows::passkey(row, 9)?, rows::user_of(row)?)))?,
    ];
    merged(sources, visit)
}

fn source<'a>(
    statement: &'a mut Statement<'_>,
    read: fn(&Row<'_>) -> rusqlite::Result<AuditedRow>,
) -> rusqlite::Result<Source<'a>> {
    let rows = statement.query_map([], read)?;
    Ok(Box::new(rows.map(|row| row.map_err(LedgerError::from))))
}

fn key_of(row: &Row<'_>) -> rusqlite::Result<AccountKey> {
    Ok((rows::passkey(row, 14)?, InfoHash(row.get(15)?)))
}

pub(super) fn flags_without_events(connection: &Connection) -> rusqlite::Result<Vec<AccountKey>> {
    let mut statement = connection.prepare(FLAGS_WITHOUT_EVENTS)?;
    let keys = statement.query_map([], |row| Ok((rows::passkey(row, 0)?, InfoHash(row.get(1)?))))?;
    keys.collect()
}
