//! The rotation of a passkey in the ledger: one transaction in which every row of the old one becomes the new
//! one's.
//!
//! From its commit on, entries of the old one settle as the new one's and find their keys among the rows that
//! were moved.

use contract::{InfoHash, Passkey};
use rusqlite::{Connection, TransactionBehavior, params};

use super::super::{Intent, LedgerError, Progress, Rotated};
use super::{aliases, keys, rows};
use crate::settlement::{Overlap, SettledRow, UserAccount};

const MOVE_EVENTS: &str =
    "UPDATE OR IGNORE settled_events SET passkey = ?2, announced_as = coalesce(announced_as, ?1)
    WHERE passkey = ?1 AND ts BETWEEN ?3 AND ?4";
const MOVE_FLAGS: &str = "UPDATE OR IGNORE flagged_events SET passkey = ?2 WHERE passkey = ?1";
const MOVE_PROMOTIONS: &str = "UPDATE promotions SET scope_key = ?2 WHERE scope = 'user' AND scope_key = ?1";
const FOLLOW: &str = "UPDATE passkey_aliases SET new = ?2 WHERE new = ?1";
const ALIAS: &str = "INSERT INTO passkey_aliases (old, new) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
/// An older copy of the ledger, without the rotation, is then found out as one.
const MARK: &str = "UPDATE ledger_mark SET batches = batches + 1";

pub(super) fn rotate(
    connection: &mut Connection,
    (old, new): (&Passkey, &Passkey),
    intent: Intent,
    progress: Progress<'_>,
) -> Result<Rotated, LedgerError> {
    if intent == Intent::Look {
        may(connection, old, new)?;
        return Ok(count(connection, old)?);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    may(&transaction, old, new)?;
    let rotated = count(&transaction, old)?;
    transaction.execute(FOLLOW, (old.reveal(), new.reveal()))?;
    transaction.execute(ALIAS, (old.reveal(), new.reveal()))?;
    move_events(&transaction, old, new)?;
    move_totals(&transaction, old, new, progress)?;
    transaction.execute(MOVE_PROMOTIONS, (old.reveal(), new.reveal()))?;
    transaction.execute(MARK, [])?;
    transaction.commit()?;
    Ok(rotated)
}

/// Neither a circle nor a fork: what an old passkey earned has one owner.
fn may(connection: &Connection, old: &Passkey, new: &Passkey) -> Result<(), LedgerError> {
    let refuse = |reason: &str| Err(LedgerError::Rejected(reason.into()));
    if old == new {
        return refuse("the old and the new passkey are the same");
    }
    if aliases::new_of(connection, new)?.is_some() {
        return refuse("the new passkey was itself rotated to another one");
    }
    match aliases::new_of(connection, old)? {
        Some(other) if other != *new => refuse("the old passkey was rotated to another one already"),
        _ => Ok(()),
    }
}

fn count(connection: &Connection, old: &Passkey) -> rusqlite::Result<Rotated> {
    let (first, last) = time_range(connection, old)?;
    let figure = |sql: &str| {
        let count = connection.query_row(sql, [old.reveal()], |row| row.get::<_, i64>(0));
        count.map(i64::unsigned_abs)
    };
    let events = "SELECT count(*) FROM settled_events WHERE passkey = ?1 AND ts BETWEEN ?2 AND ?3";
    let events: i64 = connection.query_row(events, params![old.reveal(), first, last], |row| row.get(0))?;
    Ok(Rotated {
        events: events.unsigned_abs(),
        torrents: figure("SELECT count(*) FROM torrent_traffic WHERE passkey = ?1")?,
        promotions: figure("SELECT count(*) FROM promotions WHERE scope = 'user' AND scope_key = ?1")?,
        known: figure("SELECT count(*) FROM user_traffic WHERE passkey = ?1")? > 0
            || aliases::new_of(connection, old)?.is_some(),
    })
}

/// There is no index by user; the totals know when the first and the last event was.
fn time_range(connection: &Connection, old: &Passkey) -> rusqlite::Result<(i64, i64)> {
    let user = rows::load_user(connection, old)?;
    Ok(user.map_or((i64::MIN, i64::MAX), |user| (user.sums.first_seen, user.sums.last_seen)))
}

/// An event whose place the new passkey has already is added to that row.
fn move_events(connection: &Connection, old: &Passkey, new: &Passkey) -> rusqlite::Result<()> {
    let (first, last) = time_range(connection, old)?;
    connection.execute(MOVE_EVENTS, params![old.reveal(), new.reveal(), first, last])?;
    for (mut row, announced_as) in rows::events_of(connection, old, (first, last))? {
        delete(connection, &row)?;
        row.passkey = *new;
        keys::fold(connection, &row, Some(&announced_as.unwrap_or(*old)))?;
    }
    connection.execute(MOVE_FLAGS, (old.reveal(), new.reveal()))?;
    connection.execute("DELETE FROM flagged_events WHERE passkey = ?1", [old.reveal()])?;
    Ok(())
}

fn delete(connection: &Connection, row: &SettledRow) -> rusqlite::Result<()> {
    let sql = "DELETE FROM settled_events WHERE ts = ?1 AND passkey = ?2 AND infohash = ?3 AND peer_id = ?4";
    let key = params![row.ts, row.passkey.reveal(), row.info_hash.0, row.peer_id.0];
    connection.prepare_cached(sql)?.execute(key)?;
    Ok(())
}

fn move_totals(
    connection: &Connection,
    old: &Passkey,
    new: &Passkey,
    progress: Progress<'_>,
) -> rusqlite::Result<()> {
    for info_hash in torrents(connection, "carried_forward", old)? {
        merge_carried(connection, (old, new), &info_hash)?;
    }
    let torrents = torrents(connection, "torrent_traffic", old)?;
    let (mut overlap, total) = (Overlap::default(), torrents.len() as u64);
    for (done, info_hash) in (1..).zip(torrents) {
        overlap += merge_torrent(connection, (old, new), &info_hash)?;
        progress(done, total);
    }
    if let Some(moved) = rows::load_user(connection, old)? {
        let mut user: UserAccount = rows::load_user(connection, new)?.unwrap_or_default();
        user.merge(&moved, overlap);
        rows::save_user(connection, new, &user)?;
    }
    for table in ["carried_forward", "torrent_traffic", "user_traffic"] {
        connection.execute(&format!("DELETE FROM {table} WHERE passkey = ?1"), [old.reveal()])?;
    }
    Ok(())
}

fn torrents(connection: &Connection, table: &str, passkey: &Passkey) -> rusqlite::Result<Vec<InfoHash>> {
    let mut statement = connection.prepare(&format!("SELECT infohash FROM {table} WHERE passkey = ?1"))?;
    let hashes = statement.query_map([passkey.reveal()], |row| Ok(InfoHash(row.get(0)?)))?;
    hashes.collect()
}

fn merge_torrent(
    connection: &Connection,
    (old, new): (&Passkey, &Passkey),
    info_hash: &InfoHash,
) -> rusqlite::Result<Overlap> {
    let Some(moved) = rows::Accounts::torrents(connection)?.load(old, info_hash)? else {
        return Ok(Overlap::default());
    };
    let mut torrent = rows::Accounts::torrents(connection)?.load(new, info_hash)?.unwrap_or_default();
    let overlap = torrent.merge(&moved);
    rows::Accounts::torrents(connection)?.save(new, info_hash, &torrent)?;
    Ok(overlap)
}

fn merge_carried(
    connection: &Connection,
    (old, new): (&Passkey, &Passkey),
    info_hash: &InfoHash,
) -> rusqlite::Result<()> {
    let Some(moved) = rows::Accounts::carried(connection)?.load(old, info_hash)? else { return Ok(()) };
    let mut carried = rows::Accounts::carried(connection)?.load(new, info_hash)?.unwrap_or_default();
    carried.merge(&moved);
    rows::Accounts::carried(connection)?.save(new, info_hash, &carried)
}
