//! Makes room: events that can no longer be delivered lose their rows, and their sums are carried forward.
//!
//! A bounded number of rows goes in each transaction, so that consumers settle in between. Flagged events
//! stay: an operator has still to decide about them.

use std::collections::BTreeMap;

use contract::{InfoHash, Passkey};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::super::{Intent, Progress, Pruned};
use super::rows;
use crate::entry::EntryId;
use crate::settlement::SettledRow;

/// Rows looked at in one transaction: some 20 ms.
const STEP: usize = 2000;
/// The table's key, in its order.
type Key = (i64, String, [u8; 20], [u8; 20]);

pub(super) fn prune(
    connection: &mut Connection,
    before: EntryId,
    intent: Intent,
    progress: Progress<'_>,
) -> rusqlite::Result<Pruned> {
    let newest = i64::try_from(before.unix_seconds()).unwrap_or(i64::MAX);
    let count = "SELECT count(*) FROM settled_events WHERE ts <= ?1";
    let total: i64 = connection.query_row(count, [newest], |row| row.get(0))?;
    let (mut pruned, mut looked, mut after) = (Pruned::default(), 0, None::<Key>);
    loop {
        let step = step(connection, (after.as_ref(), newest), before, intent)?;
        looked += step.looked as u64;
        pruned.events += step.pruned.events;
        pruned.flagged += step.pruned.flagged;
        progress(looked, total.unsigned_abs());
        match step.last {
            Some(last) if step.looked == STEP => after = Some(last),
            _ => return Ok(pruned),
        }
    }
}

struct Step {
    looked: usize,
    last: Option<Key>,
    pruned: Pruned,
}

fn step(
    connection: &mut Connection,
    (after, newest): (Option<&Key>, i64),
    before: EntryId,
    intent: Intent,
) -> rusqlite::Result<Step> {
    let behavior = match intent {
        Intent::Look => TransactionBehavior::Deferred,
        Intent::Act => TransactionBehavior::Immediate,
    };
    let transaction = connection.transaction_with_behavior(behavior)?;
    let page = page(&transaction, after, newest)?;
    let (looked, last) = (page.len(), page.last().map(key_of));
    let (flagged, plain): (Vec<SettledRow>, Vec<SettledRow>) =
        page.into_iter().filter(|row| row.entry_id < before).partition(|row| row.flag.is_some());
    if intent == Intent::Act {
        close_before(&transaction, before)?;
        carry_forward(&transaction, &plain)?;
        plain.iter().try_for_each(|row| delete(&transaction, row))?;
        transaction.commit()?;
    }
    let pruned = Pruned { events: plain.len() as u64, flagged: flagged.len() as u64 };
    Ok(Step { looked, last, pruned })
}

fn page(connection: &Connection, after: Option<&Key>, newest: i64) -> rusqlite::Result<Vec<SettledRow>> {
    let first = (i64::MIN, String::new(), [0; 20], [0; 20]);
    let (ts, passkey, infohash, peer_id) = after.unwrap_or(&first);
    let sql = format!(
        "SELECT {} FROM {} WHERE e.ts <= ?1 AND (e.ts, e.passkey, e.infohash, e.peer_id) > (?2, ?3, ?4, ?5)
         ORDER BY e.ts, e.passkey, e.infohash, e.peer_id LIMIT ?6",
        rows::EVENT_COLUMNS,
        rows::EVENTS_WITH_FLAGS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(
        params![newest, ts, passkey, infohash, peer_id, i64::try_from(STEP).unwrap_or(i64::MAX)],
        rows::event_of,
    )?;
    rows.collect()
}

fn key_of(row: &SettledRow) -> Key {
    (row.ts, row.passkey.reveal().to_owned(), row.info_hash.0, row.peer_id.0)
}

/// From here on older entries count as settled. Never moves back.
fn close_before(transaction: &Transaction<'_>, before: EntryId) -> rusqlite::Result<()> {
    if super::read::mark(transaction)?.pruned_before < before {
        transaction.execute("UPDATE ledger_mark SET pruned_before = ?1", [before.to_string()])?;
    }
    Ok(())
}

fn carry_forward(connection: &Connection, pruned: &[SettledRow]) -> rusqlite::Result<()> {
    let mut by_torrent: BTreeMap<(Passkey, InfoHash), Vec<&SettledRow>> = BTreeMap::new();
    for row in pruned {
        by_torrent.entry((row.passkey, row.info_hash)).or_default().push(row);
    }
    for ((passkey, info_hash), pruned) in by_torrent {
        let mut account =
            rows::Accounts::carried(connection)?.load(&passkey, &info_hash)?.unwrap_or_default();
        for row in pruned {
            account.add(row);
        }
        rows::Accounts::carried(connection)?.save(&passkey, &info_hash, &account)?;
    }
    Ok(())
}

fn delete(connection: &Connection, row: &SettledRow) -> rusqlite::Result<()> {
    let sql = "DELETE FROM settled_events WHERE ts = ?1 AND passkey = ?2 AND infohash = ?3 AND peer_id = ?4";
    let (ts, passkey, infohash, peer_id) = key_of(row);
    connection.prepare_cached(sql)?.execute(params![ts, passkey, infohash, peer_id])?;
    Ok(())
}
