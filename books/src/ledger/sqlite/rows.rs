//! Rows of the tables to and from the types of settlement: one place that knows the columns' order.

use std::sync::LazyLock;

use contract::{Event, InfoHash, Passkey, PeerId};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::super::Mark;
use crate::entry::EntryId;
use crate::settlement::{Flag, FlagReason, SettledRow, Spans, Sums, TorrentAccount, UserAccount};

const LOAD_USER: &str =
    "SELECT raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds, first_seen,
    last_seen, completed FROM user_traffic WHERE passkey = ?1";
const SAVE_USER: &str = "INSERT OR REPLACE INTO user_traffic (passkey, raw_up, raw_down, credited_up, credited_down,
    seed_seconds, leech_seconds, first_seen, last_seen, completed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
/// The sums stop at the largest number, as [`Sums`] do.
const ADD_TO_USER: &str = "INSERT INTO user_traffic (passkey, raw_up, raw_down, credited_up, credited_down,
    seed_seconds, leech_seconds, first_seen, last_seen, completed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT (passkey) DO UPDATE SET
    raw_up = ?2 + min(raw_up, 9223372036854775807 - ?2),
    raw_down = ?3 + min(raw_down, 9223372036854775807 - ?3),
    credited_up = ?4 + min(credited_up, 9223372036854775807 - ?4),
    credited_down = ?5 + min(credited_down, 9223372036854775807 - ?5),
    seed_seconds = ?6 + min(seed_seconds, 9223372036854775807 - ?6),
    leech_seconds = ?7 + min(leech_seconds, 9223372036854775807 - ?7),
    first_seen = min(first_seen, ?8), last_seen = max(last_seen, ?9),
    completed = ?10 + min(completed, 9223372036854775807 - ?10)";
const LOAD_TORRENT: &str = "SELECT raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds,
    first_seen, last_seen, left_bytes, left_entry, completed_at, seed_spans, leech_spans
    FROM torrent_traffic WHERE passkey = ?1 AND infohash = ?2";
const SAVE_TORRENT: &str =
    "INSERT OR REPLACE INTO torrent_traffic (passkey, infohash, raw_up, raw_down, credited_up,
    credited_down, seed_seconds, leech_seconds, first_seen, last_seen, left_bytes, left_entry, completed_at,
    seed_spans, leech_spans) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

static LOAD_CARRIED: LazyLock<String> = LazyLock::new(|| LOAD_TORRENT.replace(TOTALS, CARRIED));
static SAVE_CARRIED: LazyLock<String> = LazyLock::new(|| SAVE_TORRENT.replace(TOTALS, CARRIED));
const TOTALS: &str = "torrent_traffic";
const CARRIED: &str = "carried_forward";

/// The columns that [`event_of`] reads; `e` is `settled_events`, `f` is `flagged_events`.
pub(super) const EVENT_COLUMNS: &str =
    "e.ts, e.passkey, e.infohash, e.peer_id, e.entry_id, e.raw_up, e.raw_down,
    e.credited_up, e.credited_down, e.seed_seconds, e.leech_seconds, e.event, e.left_bytes, e.promotion_id,
    e.down_promotion_id, e.fd, e.pd, f.reason, f.details";
/// Each settled event with its flag, if it has one.
pub(super) const EVENTS_WITH_FLAGS: &str = "settled_events e LEFT JOIN flagged_events f
    ON f.ts = e.ts AND f.passkey = e.passkey AND f.infohash = e.infohash AND f.peer_id = e.peer_id";

pub(super) fn load_user(connection: &Connection, passkey: &Passkey) -> rusqlite::Result<Option<UserAccount>> {
    let mut statement = connection.prepare_cached(LOAD_USER)?;
    let account = |row: &Row<'_>| Ok(UserAccount { sums: sums_of(row)?, completed: row.get(8)? });
    statement.query_row([passkey.reveal()], account).optional()
}

pub(super) fn save_user(
    connection: &Connection,
    passkey: &Passkey,
    user: &UserAccount,
) -> rusqlite::Result<()> {
    write_user(&mut connection.prepare_cached(SAVE_USER)?, passkey, user)
}

/// Adds what each user gained to what is there, without reading it.
pub(super) fn add_to_users<'a>(
    connection: &Connection,
    gains: impl Iterator<Item = (&'a Passkey, &'a UserAccount)>,
) -> rusqlite::Result<()> {
    let mut add = connection.prepare_cached(ADD_TO_USER)?;
    gains.into_iter().try_for_each(|(passkey, gain)| write_user(&mut add, passkey, gain))
}

fn write_user(
    statement: &mut CachedStatement<'_>,
    passkey: &Passkey,
    UserAccount { sums, completed }: &UserAccount,
) -> rusqlite::Result<()> {
    statement.execute(params![
        passkey.reveal(),
        sums.raw_up,
        sums.raw_down,
        sums.credited_up,
        sums.credited_down,
        sums.seed_seconds,
        sums.leech_seconds,
        sums.first_seen,
        sums.last_seen,
        completed,
    ])?;
    Ok(())
}

/// The accounts of one table, by user and torrent. Its statements are looked up once and not for each
/// account.
pub(super) struct Accounts<'c> {
    load: CachedStatement<'c>,
    save: CachedStatement<'c>,
}

impl<'c> Accounts<'c> {
    /// What each user did on each torrent.
    pub(super) fn torrents(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            load: connection.prepare_cached(LOAD_TORRENT)?,
            save: connection.prepare_cached(SAVE_TORRENT)?,
        })
    }

    /// What was pruned of each user's torrents.
    pub(super) fn carried(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            load: connection.prepare_cached(&LOAD_CARRIED)?,
            save: connection.prepare_cached(&SAVE_CARRIED)?,
        })
    }

    pub(super) fn load(
        &mut self,
        passkey: &Passkey,
        info_hash: &InfoHash,
    ) -> rusqlite::Result<Option<TorrentAccount>> {
        self.load.query_row((passkey.reveal(), info_hash.0), torrent_of).optional()
    }

    pub(super) fn save(
        &mut self,
        passkey: &Passkey,
        info_hash: &InfoHash,
        torrent: &TorrentAccount,
    ) -> rusqlite::Result<()> {
        let sums = &torrent.sums;
        self.save.execute(params![
            passkey.reveal(),
            info_hash.0,
            sums.raw_up,
            sums.raw_down,
            sums.credited_up,
            sums.credited_down,
            sums.seed_seconds,
            sums.leech_seconds,
            sums.first_seen,
            sums.last_seen,
            torrent.left_bytes,
            torrent.left_entry.text().as_str(),
            torrent.completed_at,
            torrent.seed_spans.to_bytes(),
            torrent.leech_spans.to_bytes(),
        ])?;
        Ok(())
    }
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

/// Reads the columns of [`LOAD_TORRENT`], which `read::torrents_of` selects too.
pub(super) fn torrent_of(row: &Row<'_>) -> rusqlite::Result<TorrentAccount> {
    let spans = |column| {
        let bytes = row.get_ref(column)?.as_blob().map_err(|error| unreadable(column, error))?;
        Spans::from_bytes(bytes).ok_or_else(|| unreadable(column, FromSqlError::InvalidType))
    };
    Ok(TorrentAccount {
        sums: sums_of(row)?,
        left_bytes: row.get(8)?,
        left_entry: text(row, 9, |text| text.parse::<EntryId>().ok())?,
        completed_at: row.get(10)?,
        seed_spans: spans(11)?,
        leech_spans: spans(12)?,
    })
}

/// Reads [`EVENT_COLUMNS`].
pub(super) fn event_of(row: &Row<'_>) -> rusqlite::Result<SettledRow> {
    let reason: Option<String> = row.get(17)?;
    let flag = match reason.as_deref().map(FlagReason::from_word) {
        None => None,
        Some(Some(reason)) => Some(Flag { reason, details: row.get(18)? }),
        Some(None) => return Err(unreadable(17, FromSqlError::InvalidType)),
    };
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
        flag,
    })
}

/// The event that has the same place as this one.
pub(super) fn event_at(connection: &Connection, place: &SettledRow) -> rusqlite::Result<SettledRow> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM {EVENTS_WITH_FLAGS} WHERE e.ts = ?1 AND e.passkey = ?2 AND e.infohash = ?3 AND e.peer_id = ?4"
    );
    let key = params![place.ts, place.passkey.reveal(), place.info_hash.0, place.peer_id.0];
    connection.prepare_cached(&sql)?.query_row(key, event_of)
}

/// A user's events in a range of time, each with the passkey of its entry where that is another one.
pub(super) fn events_of(
    connection: &Connection,
    user: &Passkey,
    (first, last): (i64, i64),
) -> rusqlite::Result<Vec<(SettledRow, Option<Passkey>)>> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS}, e.announced_as FROM {EVENTS_WITH_FLAGS} WHERE e.ts BETWEEN ?1 AND ?2 AND e.passkey = ?3"
    );
    let mut statement = connection.prepare(&sql)?;
    let found = statement.query_map(params![first, last, user.reveal()], |row| {
        let renamed = row.get_ref(19)?.as_str_or_null().map_err(|error| unreadable(19, error))?.is_some();
        Ok((event_of(row)?, if renamed { Some(passkey(row, 19)?) } else { None }))
    })?;
    found.collect()
}

/// Reads id, batches, pruned_before.
pub(super) fn mark_of(row: &Row<'_>) -> rusqlite::Result<Mark> {
    let pruned_before = text(row, 2, |text| text.parse().ok())?;
    Ok(Mark { id: row.get(0)?, batches: row.get(1)?, pruned_before })
}

pub(super) fn passkey(row: &Row<'_>, column: usize) -> rusqlite::Result<Passkey> {
    text(row, column, |text| text.parse().ok())
}

fn text<T>(row: &Row<'_>, column: usize, read: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(|error| unreadable(column, error))?;
    read(text).ok_or_else(|| unreadable(column, FromSqlError::InvalidType))
}

fn unreadable(column: usize, error: FromSqlError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, Box::new(error))
}
