//! Questions to the ledger.

use contract::{InfoHash, Passkey};
use rusqlite::{Connection, params};

use super::super::{EventQuery, LedgerError, Mark, promotion_of};
use super::aliases::Aliases;
use super::{keys, rows};
use crate::entry::Entry;
use crate::settlement::{Promotion, SettledRow, TorrentAccount};

const PROMOTIONS: &str =
    "SELECT id, scope, scope_key, up_factor, down_factor, starts_at, ends_at FROM promotions
    WHERE starts_at <= ?2 AND (ends_at IS NULL OR ends_at > ?1) ORDER BY id";
const TORRENTS: &str =
    "SELECT raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds, first_seen,
    last_seen, left_bytes, left_entry, completed_at, seed_spans, leech_spans, infohash
    FROM torrent_traffic WHERE passkey = ?1 ORDER BY last_seen DESC, infohash";

/// Promotions in force at some time from `oldest` to `newest`.
pub(super) fn promotions(
    connection: &Connection,
    oldest: i64,
    newest: i64,
) -> Result<Vec<Promotion>, LedgerError> {
    let mut statement = connection.prepare_cached(PROMOTIONS)?;
    let mut rows = statement.query((oldest, newest))?;
    let mut promotions = Vec::new();
    while let Some(row) = rows.next()? {
        let (word, key): (String, String) = (row.get(1)?, row.get(2)?);
        let factors = (row.get(3)?, row.get(4)?);
        promotions.push(promotion_of(row.get(0)?, (&word, &key), factors, row.get(5)?, row.get(6)?)?);
    }
    Ok(promotions)
}

pub(super) fn torrents_of(
    connection: &Connection,
    passkey: &Passkey,
) -> rusqlite::Result<Vec<(InfoHash, TorrentAccount)>> {
    let mut statement = connection.prepare_cached(TORRENTS)?;
    let rows = statement
        .query_map([passkey.reveal()], |row| Ok((InfoHash(row.get(13)?), rows::torrent_of(row)?)))?;
    rows.collect()
}

/// Walks the time range of the user's (or the torrent's) totals from its newest end and stops when it has
/// enough: there is no index by user, because keeping one costs more than everything else a settled event
/// does.
pub(super) fn events(connection: &Connection, query: &EventQuery) -> rusqlite::Result<Vec<SettledRow>> {
    let sql = format!(
        "SELECT {} FROM {} WHERE e.ts BETWEEN ?1 AND ?2 AND e.passkey = ?3 AND (?4 IS NULL OR e.infohash = ?4)
         ORDER BY e.ts DESC, e.entry_id DESC LIMIT ?5",
        rows::EVENT_COLUMNS,
        rows::EVENTS_WITH_FLAGS
    );
    let (first, last) = time_range(connection, query)?;
    let from = query.since.map_or(first, |since| since.max(first));
    let info_hash = query.info_hash.map(|info_hash| info_hash.0);
    let mut statement = connection.prepare_cached(&sql)?;
    let newest_first = statement
        .query_map(params![from, last, query.passkey.reveal(), info_hash, query.newest], rows::event_of)?;
    let mut events = newest_first.collect::<rusqlite::Result<Vec<_>>>()?;
    events.reverse();
    Ok(events)
}

/// When the first and the last of the wanted events happened, as far as the totals know.
fn time_range(connection: &Connection, query: &EventQuery) -> rusqlite::Result<(i64, i64)> {
    let sums = match query.info_hash {
        Some(info_hash) => rows::Accounts::torrents(connection)?
            .load(&query.passkey, &info_hash)?
            .map(|torrent| torrent.sums),
        None => rows::load_user(connection, &query.passkey)?.map(|user| user.sums),
    };
    Ok(sums.map_or((i64::MIN, i64::MAX), |sums| (sums.first_seen, sums.last_seen)))
}

pub(super) fn mark(connection: &Connection) -> rusqlite::Result<Mark> {
    let sql = "SELECT id, batches, pruned_before FROM ledger_mark";
    connection.prepare_cached(sql)?.query_row([], rows::mark_of)
}

pub(super) fn are_settled(connection: &Connection, entries: &[Entry]) -> rusqlite::Result<Vec<bool>> {
    let pruned_before = mark(connection)?.pruned_before;
    let aliases = Aliases::among(connection, entries)?;
    let settled = |entry: &Entry| {
        let (event, announced_as) = aliases.canonical(&entry.event);
        let ts = i64::try_from(event.ts).unwrap_or(i64::MAX);
        let place = (ts, &event.passkey, event.info_hash.0, event.peer_id.0);
        Ok(entry.id < pruned_before || keys::exists(connection, place, announced_as.as_ref())?)
    };
    entries.iter().map(settled).collect()
}
