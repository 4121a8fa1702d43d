//! `settled_events`, `flagged_events` and `folded_keys`.
//!
//! Flags are joined to the events that are read; the joins are by the whole key.

use contract::{InfoHash, Passkey};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::super::dialect::EventRange;
use super::rows::{self, EVENT_COLUMNS};
use crate::settlement::{EventKey, SettledRow};

const INSERT: &str = "INSERT INTO settled_events (ts, passkey, infohash, peer_id, entry_id, raw_up, raw_down,
    credited_up, credited_down, seed_seconds, leech_seconds, event, left_bytes, promotion_id, down_promotion_id,
    fd, pd, announced_as)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18) ON CONFLICT DO NOTHING";
const UPDATE: &str = "UPDATE settled_events SET entry_id = ?5, raw_up = ?6, raw_down = ?7, credited_up = ?8,
    credited_down = ?9, seed_seconds = ?10, leech_seconds = ?11, event = ?12, left_bytes = ?13
    WHERE ts = ?1 AND passkey = ?2 AND infohash = ?3 AND peer_id = ?4";
const DELETE: &str =
    "DELETE FROM settled_events WHERE ts = ?1 AND passkey = ?2 AND infohash = ?3 AND peer_id = ?4";
const INSERT_FLAG: &str = "INSERT INTO flagged_events (ts, passkey, infohash, peer_id, reason, details)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
const DELETE_FLAG: &str =
    "DELETE FROM flagged_events WHERE ts = ?1 AND passkey = ?2 AND infohash = ?3 AND peer_id = ?4";
const INSERT_FOLDED: &str =
    "INSERT INTO folded_keys (ts, passkey, infohash, peer_id) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
/// There is no index by torrent: there are few.
const MOVE_FOLDED: &str = "UPDATE OR REPLACE folded_keys SET infohash = ?2 WHERE infohash = ?1";
const IS_FOLDED: &str = "SELECT EXISTS (SELECT 1 FROM folded_keys
    WHERE ts = ?1 AND passkey = ?2 AND infohash = ?3 AND peer_id = ?4)";
const COUNT: &str = "SELECT count(*) FROM settled_events WHERE ts BETWEEN ?1 AND ?2";
const COUNT_OF: &str = "SELECT count(*) FROM settled_events WHERE ts BETWEEN ?1 AND ?2 AND passkey = ?3";

/// Each settled event with its flag, if it has one; `e` is the event, `f` the flag.
pub(super) const EVENTS_WITH_FLAGS: &str = "settled_events e LEFT JOIN flagged_events f
    ON f.ts = e.ts AND f.passkey = e.passkey AND f.infohash = e.infohash AND f.peer_id = e.peer_id";

pub(super) fn insert(connection: &Connection, events: &[&SettledRow]) -> rusqlite::Result<Vec<bool>> {
    let mut insert = connection.prepare_cached(INSERT)?;
    events.iter().map(|row| insert_one(&mut insert, row)).collect()
}

fn insert_one(insert: &mut CachedStatement<'_>, row: &SettledRow) -> rusqlite::Result<bool> {
    let inserted = insert.execute(params![
        row.ts,
        row.passkey.reveal(),
        row.info_hash.0,
        row.peer_id.0,
        row.entry_id.text().as_str(),
        row.raw_up,
        row.raw_down,
        row.credited_up,
        row.credited_down,
        row.seed_seconds,
        row.leech_seconds,
        row.event.as_str(),
        row.left_bytes,
        row.promotion_id,
        row.down_promotion_id,
        row.fd,
        row.pd,
        row.announced_as.as_ref().map(Passkey::reveal),
    ])?;
    Ok(inserted == 1)
}

pub(super) fn update(connection: &Connection, row: &SettledRow) -> rusqlite::Result<()> {
    connection.prepare_cached(UPDATE)?.execute(params![
        row.ts,
        row.passkey.reveal(),
        row.info_hash.0,
        row.peer_id.0,
        row.entry_id.text().as_str(),
        row.raw_up,
        row.raw_down,
        row.credited_up,
        row.credited_down,
        row.seed_seconds,
        row.leech_seconds,
        row.event.as_str(),
        row.left_bytes,
    ])?;
    Ok(())
}

pub(super) fn insert_flags(connection: &Connection, events: &[&SettledRow]) -> rusqlite::Result<()> {
    for row in events {
        let Some(flag) = &row.flag else { continue };
        connection.prepare_cached(INSERT_FLAG)?.execute(params![
            row.ts,
            row.passkey.reveal(),
            row.info_hash.0,
            row.peer_id.0,
            flag.reason.as_str(),
            flag.details,
        ])?;
    }
    Ok(())
}

pub(super) fn delete(connection: &Connection, keys: &[EventKey]) -> rusqlite::Result<()> {
    each(connection, DELETE, keys)?;
    each(connection, DELETE_FLAG, keys)
}

pub(super) fn insert_folded(connection: &Connection, keys: &[EventKey]) -> rusqlite::Result<()> {
    each(connection, INSERT_FOLDED, keys)
}

pub(super) fn move_folded(connection: &Connection, from: &InfoHash, to: &InfoHash) -> rusqlite::Result<()> {
    connection.execute(MOVE_FOLDED, (from.0, to.0)).map(drop)
}

pub(super) fn are_folded(connection: &Connection, keys: &[EventKey]) -> rusqlite::Result<Vec<bool>> {
    let mut folded = connection.prepare_cached(IS_FOLDED)?;
    keys.iter().map(|key| folded.query_row(columns(key), |row| row.get(0))).collect()
}

pub(super) fn at(connection: &Connection, keys: &[EventKey]) -> rusqlite::Result<Vec<Option<SettledRow>>> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM {EVENTS_WITH_FLAGS}
         WHERE e.ts = ?1 AND e.passkey = ?2 AND e.infohash = ?3 AND e.peer_id = ?4"
    );
    let mut select = connection.prepare_cached(&sql)?;
    keys.iter().map(|key| select.query_row(columns(key), rows::event_of).optional()).collect()
}

/// Walks a range of time from its newest end and stops when it has enough: there is no index by user, because
/// keeping one costs more than everything else a settled event does.
pub(super) fn of(connection: &Connection, range: &EventRange) -> rusqlite::Result<Vec<SettledRow>> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM {EVENTS_WITH_FLAGS}
         WHERE e.ts BETWEEN ?1 AND ?2 AND e.passkey = ?3 AND (?4 IS NULL OR e.infohash = ?4)
         ORDER BY e.ts DESC, e.entry_id DESC LIMIT ?5"
    );
    let EventRange { passkey, info_hash, time: (first, last), newest } = range;
    let info_hash = info_hash.map(|info_hash| info_hash.0);
    let mut select = connection.prepare_cached(&sql)?;
    let rows = select.query_map(params![first, last, passkey.reveal(), info_hash, newest], rows::event_of)?;
    rows.collect()
}

pub(super) fn after(
    connection: &Connection,
    after: Option<&EventKey>,
    (until, most): (i64, u32),
) -> rusqlite::Result<Vec<SettledRow>> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM {EVENTS_WITH_FLAGS}
         WHERE e.ts <= ?1 AND (e.ts, e.passkey, e.infohash, e.peer_id) > (?2, ?3, ?4, ?5)
         ORDER BY e.ts, e.passkey, e.infohash, e.peer_id LIMIT ?6"
    );
    let (ts, passkey) = after.map_or((i64::MIN, ""), |key| (key.ts, key.passkey.reveal()));
    let (infohash, peer_id) = after.map_or(([0; 20], [0; 20]), |key| (key.info_hash.0, key.peer_id.0));
    let mut select = connection.prepare_cached(&sql)?;
    let rows = select.query_map(params![until, ts, passkey, infohash, peer_id, most], rows::event_of)?;
    rows.collect()
}

pub(super) fn count(
    connection: &Connection,
    passkey: Option<&Passkey>,
    (first, last): (i64, i64),
) -> rusqlite::Result<u64> {
    let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let count = match passkey {
        Some(passkey) => connection.query_row(COUNT_OF, params![first, last, passkey.reveal()], count)?,
        None => connection.query_row(COUNT, params![first, last], count)?,
    };
    Ok(count.unsigned_abs())
}

fn each(connection: &Connection, sql: &str, keys: &[EventKey]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    keys.iter().try_for_each(|key| statement.execute(columns(key)).map(drop))
}

/// `?1` to `?4` of a statement about one key.
fn columns(key: &EventKey) -> (i64, &str, [u8; 20], [u8; 20]) {
    (key.ts, key.passkey.reveal(), key.info_hash.0, key.peer_id.0)
}
