//! The small tables that every settling transaction looks into: the ledger's mark, rotated passkeys,
//! promotions.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use contract::{InfoHash, Passkey};
use rusqlite::{Connection, OptionalExtension, params};

use super::super::{LedgerError, Mark, promotion_of};
use super::rows;
use crate::entry::EntryId;
use crate::settlement::Promotion;

const MARK: &str = "SELECT id, batches, pruned_before FROM ledger_mark";
const NEXT_BATCH: &str = "UPDATE ledger_mark SET batches = batches + 1 RETURNING id, batches, pruned_before";
const CLOSE_BEFORE: &str = "UPDATE ledger_mark SET pruned_before = ?1";
const RENAME: &str = "UPDATE ledger_mark SET id = ?1";
const ANY_ALIAS: &str = "SELECT EXISTS (SELECT 1 FROM passkey_aliases)";
const NEW_OF: &str = "SELECT new FROM passkey_aliases WHERE old = ?1";
const FOLLOW: &str = "UPDATE passkey_aliases SET new = ?2 WHERE new = ?1";
const ALIAS: &str = "INSERT INTO passkey_aliases (old, new) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const ANY_TORRENT_ALIAS: &str = "SELECT EXISTS (SELECT 1 FROM torrent_aliases)";
const COUNT_TORRENT_ALIASES: &str = "SELECT count(*) FROM torrent_aliases";
const V1_OF: &str = "SELECT v1 FROM torrent_aliases WHERE v2 = ?1";
const TORRENT_ALIAS: &str = "INSERT INTO torrent_aliases (v2, v1) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const PROMOTIONS: &str =
    "SELECT id, scope, scope_key, up_factor, down_factor, starts_at, ends_at FROM promotions
    WHERE starts_at <= ?2 AND (ends_at IS NULL OR ends_at > ?1) ORDER BY id";
const INSERT_PROMOTION: &str =
    "INSERT INTO promotions (scope, scope_key, up_factor, down_factor, starts_at, ends_at)
    VALUES (?1, ?2, ?3 / 1000.0, ?4 / 1000.0, ?5, ?6)";
const END_PROMOTION: &str = "UPDATE promotions SET ends_at = ?2 WHERE id = ?1";
const MOVE_PROMOTIONS: &str = "UPDATE promotions SET scope_key = ?2 WHERE scope = 'user' AND scope_key = ?1";

pub(super) fn mark(connection: &Connection) -> rusqlite::Result<Mark> {
    connection.prepare_cached(MARK)?.query_row([], rows::mark_of)
}

pub(super) fn next_batch(connection: &Connection) -> rusqlite::Result<Mark> {
    connection.prepare_cached(NEXT_BATCH)?.query_row([], rows::mark_of)
}

pub(super) fn close_before(connection: &Connection, before: EntryId) -> rusqlite::Result<()> {
    connection.execute(CLOSE_BEFORE, [before.text().as_str()]).map(drop)
}

pub(super) fn rename(connection: &Connection, id: &str) -> rusqlite::Result<()> {
    connection.execute(RENAME, [id]).map(drop)
}

/// One search of a small table for each user, and none on a site that never rotated.
pub(super) fn aliases(
    connection: &Connection,
    of: &mut dyn Iterator<Item = Passkey>,
) -> rusqlite::Result<HashMap<Passkey, Passkey>> {
    if !connection.prepare_cached(ANY_ALIAS)?.query_row([], |row| row.get::<_, bool>(0))? {
        return Ok(HashMap::new());
    }
    let mut aliases: HashMap<Passkey, Option<Passkey>> = HashMap::new();
    let mut new_of = connection.prepare_cached(NEW_OF)?;
    for old in of {
        if let Slot::Vacant(slot) = aliases.entry(old) {
            slot.insert(new_of.query_row([old.reveal()], |row| rows::passkey(row, 0)).optional()?);
        }
    }
    Ok(aliases.into_iter().filter_map(|(old, new)| Some((old, new?))).collect())
}

pub(super) fn add_alias(connection: &Connection, old: &Passkey, new: &Passkey) -> rusqlite::Result<()> {
    connection.execute(FOLLOW, (old.reveal(), new.reveal()))?;
    connection.execute(ALIAS, (old.reveal(), new.reveal())).map(drop)
}

/// As [`aliases`].
pub(super) fn torrent_aliases(
    connection: &Connection,
    of: &mut dyn Iterator<Item = InfoHash>,
) -> rusqlite::Result<HashMap<InfoHash, InfoHash>> {
    if !connection.prepare_cached(ANY_TORRENT_ALIAS)?.query_row([], |row| row.get::<_, bool>(0))? {
        return Ok(HashMap::new());
    }
    let mut aliases: HashMap<InfoHash, Option<InfoHash>> = HashMap::new();
    let mut v1_of = connection.prepare_cached(V1_OF)?;
    for v2 in of {
        if let Slot::Vacant(slot) = aliases.entry(v2) {
            slot.insert(v1_of.query_row([v2.0], |row| Ok(InfoHash(row.get(0)?))).optional()?);
        }
    }
    Ok(aliases.into_iter().filter_map(|(v2, v1)| Some((v2, v1?))).collect())
}

pub(super) fn count_torrent_aliases(connection: &Connection) -> rusqlite::Result<u64> {
    let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    Ok(connection.prepare_cached(COUNT_TORRENT_ALIASES)?.query_row([], count)?.unsigned_abs())
}

pub(super) fn add_torrent_alias(
    connection: &Connection,
    v2: &InfoHash,
    v1: &InfoHash,
) -> rusqlite::Result<()> {
    connection.execute(TORRENT_ALIAS, (v2.0, v1.0)).map(drop)
}

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

pub(super) fn add_promotion(connection: &Connection, promotion: &Promotion) -> rusqlite::Result<i64> {
    connection.execute(
        INSERT_PROMOTION,
        params![
            promotion.scope.word(),
            promotion.scope.key(),
            promotion.up_milli,
            promotion.down_milli,
            promotion.starts_at,
            promotion.ends_at,
        ],
    )?;
    Ok(connection.last_insert_rowid())
}

pub(super) fn end_promotion(connection: &Connection, id: i64, ends_at: i64) -> rusqlite::Result<bool> {
    Ok(connection.execute(END_PROMOTION, (id, ends_at))? > 0)
}

pub(super) fn move_promotions(connection: &Connection, old: &Passkey, new: &Passkey) -> rusqlite::Result<()> {
    connection.execute(MOVE_PROMOTIONS, (old.reveal(), new.reveal())).map(drop)
}
