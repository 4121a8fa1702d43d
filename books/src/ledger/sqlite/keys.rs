//! The idempotency keys: each event is written once, under its key.
//!
//! A key is (ts, passkey, info hash, peer id) as the *entry* has it. After a rotation two different entries
//! may have one place: then the second is added to the row of the first, and its own key is remembered beside
//! it.

use contract::Passkey;
use rusqlite::{CachedStatement, Connection, params};

use super::rows;
use crate::settlement::{Flag, SettledRow};

const INSERT_EVENT: &str = "INSERT INTO settled_events (ts, passkey, infohash, peer_id, entry_id, raw_up, raw_down,
    credited_up, credited_down, seed_seconds, leech_seconds, event, left_bytes, promotion_id, down_promotion_id, fd, pd,
    announced_as) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
    ON CONFLICT DO NOTHING";
const INSERT_FLAG: &str = "INSERT INTO flagged_events (ts, passkey, infohash, peer_id, reason, details)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
const IS_SETTLED: &str = "SELECT EXISTS (SELECT 1 FROM settled_events
    WHERE ts = ?1 AND passkey = ?2 AND infohash = ?3 AND peer_id = ?4 AND announced_as IS ?5)
    OR EXISTS (SELECT 1 FROM folded_keys WHERE ts = ?1 AND passkey = coalesce(?5, ?2) AND infohash = ?3 AND peer_id = ?4)";
const FOLD_KEY: &str =
    "INSERT INTO folded_keys (ts, passkey, infohash, peer_id) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
const FOLD_ROW: &str =
    "UPDATE settled_events SET entry_id = ?5, raw_up = ?6, raw_down = ?7, credited_up = ?8,
    credited_down = ?9, seed_seconds = ?10, leech_seconds = ?11, event = ?12, left_bytes = ?13
    WHERE ts = ?1 AND passkey = ?2 AND infohash = ?3 AND peer_id = ?4";

/// The keys of one ledger. Its statement is looked up once and not for each event.
pub(super) struct Keys<'c> {
    connection: &'c Connection,
    insert: CachedStatement<'c>,
}

impl<'c> Keys<'c> {
    pub(super) fn open(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self { connection, insert: connection.prepare_cached(INSERT_EVENT)? })
    }

    /// Writes an event unless its key is there; whether it was new. `announced_as` is the passkey of its
    /// entry, if the row has another.
    pub(super) fn claim(
        &mut self,
        row: &SettledRow,
        announced_as: Option<&Passkey>,
    ) -> rusqlite::Result<bool> {
        if self.insert(row, announced_as)? {
            return Ok(true);
        }
        let place = (row.ts, &row.passkey, row.info_hash.0, row.peer_id.0);
        if exists(self.connection, place, announced_as)? {
            return Ok(false);
        }
        fold(self.connection, row, announced_as)?;
        Ok(true)
    }

    fn insert(&mut self, row: &SettledRow, announced_as: Option<&Passkey>) -> rusqlite::Result<bool> {
        let inserted = self.insert.execute(params![
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
            announced_as.map(Passkey::reveal),
        ])?;
        Ok(inserted == 1)
    }
}

/// Whether the event of this place and this entry's passkey is written.
pub(super) fn exists(
    connection: &Connection,
    (ts, passkey, info_hash, peer_id): (i64, &Passkey, [u8; 20], [u8; 20]),
    announced_as: Option<&Passkey>,
) -> rusqlite::Result<bool> {
    let announced_as = announced_as.map(Passkey::reveal);
    let key = params![ts, passkey.reveal(), info_hash, peer_id, announced_as];
    connection.prepare_cached(IS_SETTLED)?.query_row(key, |row| row.get(0))
}

/// Adds an event to the row that has its place, and remembers its key.
pub(super) fn fold(
    connection: &Connection,
    row: &SettledRow,
    announced_as: Option<&Passkey>,
) -> rusqlite::Result<()> {
    let (entry_passkey, place) = (announced_as.unwrap_or(&row.passkey), (row.info_hash.0, row.peer_id.0));
    let key = params![row.ts, entry_passkey.reveal(), place.0, place.1];
    connection.prepare_cached(FOLD_KEY)?.execute(key)?;
    let mut kept = rows::event_at(connection, row)?;
    kept.fold(row);
    connection.prepare_cached(FOLD_ROW)?.execute(params![
        kept.ts,
        kept.passkey.reveal(),
        kept.info_hash.0,
        kept.peer_id.0,
        kept.entry_id.to_string(),
        kept.raw_up,
        kept.raw_down,
        kept.credited_up,
        kept.credited_down,
        kept.seed_seconds,
        kept.leech_seconds,
        kept.event.as_str(),
        kept.left_bytes,
    ])?;
    Ok(())
}

pub(super) fn insert_flag(connection: &Connection, row: &SettledRow, flag: &Flag) -> rusqlite::Result<()> {
    connection.prepare_cached(INSERT_FLAG)?.execute(params![
        row.ts,
        row.passkey.reveal(),
        row.info_hash.0,
        row.peer_id.0,
        flag.reason.as_str(),
        flag.details,
    ])?;
    Ok(())
}
