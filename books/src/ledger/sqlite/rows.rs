//! Rows of the tables to the types of settlement: one place that knows the columns' order.

use contract::{Event, InfoHash, Passkey, PeerId};
use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type};

use super::super::Mark;
use crate::settlement::{Flag, FlagReason, Lines, SettledRow, Spans, Sums, TorrentAccount, UserAccount};

/// The columns that [`event_of`] reads; `e` is `settled_events`, `f` is `flagged_events`.
pub(super) const EVENT_COLUMNS: &str =
    "e.ts, e.passkey, e.infohash, e.peer_id, e.entry_id, e.raw_up, e.raw_down,
    e.credited_up, e.credited_down, e.seed_seconds, e.leech_seconds, e.event, e.left_bytes, e.promotion_id,
    e.down_promotion_id, e.fd, e.pd, f.reason, f.details, e.announced_as";

/// Reads [`EVENT_COLUMNS`].
pub(super) fn event_of(row: &Row<'_>) -> rusqlite::Result<SettledRow> {
    Ok(SettledRow {
        ts: row.get(0)?,
        passkey: passkey(row, 1)?,
        info_hash: InfoHash(row.get(2)?),
        peer_id: PeerId(row.get(3)?),
        entry_id: text(row, 4, |text| text.parse().ok())?,
        raw_up: row.get(5)?,
        raw_down: row.get(6)?,
        credited_up: row.get(7)?,
        credited_down: row.get(8)?,
        seed_seconds: row.get(9)?,
        leech_seconds: row.get(10)?,
        event: text(row, 11, |text| Event::from_word(text.as_bytes()))?,
        left_bytes: row.get(12)?,
        promotion_id: row.get(13)?,
        down_promotion_id: row.get(14)?,
        fd: row.get(15)?,
        pd: row.get(16)?,
        flag: flag_of(row)?,
        announced_as: if is_null(row, 19)? { None } else { Some(passkey(row, 19)?) },
    })
}

fn flag_of(row: &Row<'_>) -> rusqlite::Result<Option<Flag>> {
    if is_null(row, 17)? {
        return Ok(None);
    }
    Ok(Some(Flag { reason: text(row, 17, FlagReason::from_word)?, details: row.get(18)? }))
}

/// Reads raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds, first_seen, last_seen,
/// left_bytes, left_entry, completed_at, seed_spans, leech_spans, claims.
pub(super) fn torrent_of(row: &Row<'_>) -> rusqlite::Result<TorrentAccount> {
    Ok(TorrentAccount {
        sums: sums_of(row)?,
        left_bytes: row.get(8)?,
        left_entry: text(row, 9, |text| text.parse().ok())?,
        completed_at: row.get(10)?,
        seed_spans: blob(row, 11, Spans::from_bytes)?,
        leech_spans: blob(row, 12, Spans::from_bytes)?,
        lines: blob(row, 13, Lines::from_bytes)?,
    })
}

/// Reads the same sums, then completed.
pub(super) fn user_of(row: &Row<'_>) -> rusqlite::Result<UserAccount> {
    Ok(UserAccount { sums: sums_of(row)?, completed: row.get(8)? })
}

fn sums_of(row: &Row<'_>) -> rusqlite::Result<Sums> {
    Ok(Sums {
        raw_up: row.get(0)?,
        raw_down: row.get(1)?,
        credited_up: row.get(2)?,
        credited_down: row.get(3)?,
        seed_seconds: row.get(4)?,
        leech_seconds: row.get(5)?,
        first_seen: row.get(6)?,
        last_seen: row.get(7)?,
    })
}

/// Reads id, batches, pruned_before.
pub(super) fn mark_of(row: &Row<'_>) -> rusqlite::Result<Mark> {
    let pruned_before = text(row, 2, |text| text.parse().ok())?;
    Ok(Mark { id: row.get(0)?, batches: row.get(1)?, pruned_before })
}

pub(super) fn passkey(row: &Row<'_>, column: usize) -> rusqlite::Result<Passkey> {
    text(row, column, |text| text.parse().ok())
}

fn is_null(row: &Row<'_>, column: usize) -> rusqlite::Result<bool> {
    Ok(matches!(row.get_ref(column)?, rusqlite::types::ValueRef::Null))
}

pub(super) fn text<T>(row: &Row<'_>, column: usize, read: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(|error| unreadable(column, error))?;
    read(text).ok_or_else(|| unreadable(column, FromSqlError::InvalidType))
}

fn blob<T>(row: &Row<'_>, column: usize, read: impl Fn(&[u8]) -> Option<T>) -> rusqlite::Result<T> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|error| unreadable(column, error))?;
    read(bytes).ok_or_else(|| unreadable(column, FromSqlError::InvalidType))
}

fn unreadable(column: usize, error: FromSqlError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, Box::new(error))
}
