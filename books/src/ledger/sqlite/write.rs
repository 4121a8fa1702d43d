//! The settling transaction: keys in, totals up, commit.

use std::collections::BTreeMap;

use contract::{InfoHash, Passkey};
use rusqlite::{Connection, TransactionBehavior, params};

use super::super::{LedgerError, Outcome};
use super::aliases::Aliases;
use super::keys::{self, Keys};
use super::read;
use super::rows::{self, Accounts};
use crate::entry::{Entry, EntryId};
use crate::settlement::{Promotion, Promotions, Rules, SettledRow, UserAccount, settle as settle_event};

const NEXT_BATCH: &str = "UPDATE ledger_mark SET batches = batches + 1 RETURNING id, batches, pruned_before";
const INSERT_PROMOTION: &str =
    "INSERT INTO promotions (scope, scope_key, up_factor, down_factor, starts_at, ends_at)
    VALUES (?1, ?2, ?3 / 1000.0, ?4 / 1000.0, ?5, ?6)";

pub(super) fn settle(
    connection: &mut Connection,
    entries: &[Entry],
    rules: &Rules,
) -> Result<Outcome, LedgerError> {
    let Some((oldest, newest)) = time_range(entries) else { return Ok(Outcome::default()) };
    // IMMEDIATE: the totals are read before they are written, and another process may settle into the same
    // file.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let promotions: Promotions = read::promotions(&transaction, oldest, newest)?.into_iter().collect();
    let mark = transaction.prepare_cached(NEXT_BATCH)?.query_row([], rows::mark_of)?;
    let (new_rows, outcome) = insert_keys(&transaction, entries, mark.pruned_before, (&promotions, rules))?;
    add_to_totals(&transaction, &new_rows)?;
    transaction.commit()?;
    Ok(outcome)
}

fn time_range(entries: &[Entry]) -> Option<(i64, i64)> {
    let times = || entries.iter().map(|entry| i64::try_from(entry.event.ts).unwrap_or(i64::MAX));
    Some((times().min()?, times().max()?))
}

fn insert_keys(
    connection: &Connection,
    entries: &[Entry],
    pruned_before: EntryId,
    (promotions, rules): (&Promotions, &Rules),
) -> rusqlite::Result<(Vec<SettledRow>, Outcome)> {
    let (mut new_rows, mut outcome) = (Vec::with_capacity(entries.len()), Outcome::default());
    let mut keys = Keys::open(connection)?;
    let aliases = Aliases::among(connection, entries)?;
    for entry in entries {
        let (event, announced_as) = aliases.canonical(&entry.event);
        let row = settle_event(entry.id, &event, promotions, rules);
        // The key of a pruned event is gone, and its entry can only come from a stream that was set back.
        if entry.id < pruned_before || !keys.claim(&row, announced_as.as_ref())? {
            outcome.duplicates += 1;
            continue;
        }
        outcome.settled += 1;
        if let Some(flag) = &row.flag {
            keys::insert_flag(connection, &row, flag)?;
            outcome.flagged += 1;
        }
        new_rows.push(row);
    }
    Ok((new_rows, outcome))
}

/// Goes through users and torrents in the order of their keys, so that each table's tree is walked once from
/// left to right.
fn add_to_totals(connection: &Connection, new_rows: &[SettledRow]) -> rusqlite::Result<()> {
    let mut by_torrent: Vec<&SettledRow> = new_rows.iter().collect();
    by_torrent.sort_by(|a, b| torrent_of(a).cmp(&torrent_of(b)));
    let mut torrents = Accounts::torrents(connection)?;
    let mut users: BTreeMap<&Passkey, UserAccount> = BTreeMap::new();
    for settled in by_torrent.chunk_by(|a, b| torrent_of(a) == torrent_of(b)) {
        let SettledRow { passkey, info_hash, .. } = settled[0];
        let user = users.entry(passkey).or_default();
        let mut torrent = torrents.load(passkey, info_hash)?.unwrap_or_default();
        for row in settled {
            let gain = torrent.add(row);
            user.add(row, gain);
        }
        torrents.save(passkey, info_hash, &torrent)?;
    }
    rows::add_to_users(connection, users.iter().map(|(passkey, gain)| (*passkey, gain)))
}

fn torrent_of(row: &SettledRow) -> (&Passkey, &InfoHash) {
    (&row.passkey, &row.info_hash)
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
