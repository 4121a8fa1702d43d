//! Makes room: events that can no longer be delivered lose their rows, and their sums are carried forward.
//!
//! The sums of pruned events are kept as accounts, one per user and torrent, so that totals can still be
//! added up again. An entry from before the pruning counts as settled, because its key is gone; so `audit.rs`
//! lets nothing be pruned that could still be delivered.
//!
//! A bounded number of rows goes in each transaction, so that consumers settle in between. Flagged events
//! stay: an operator has still to decide about them.

use std::collections::BTreeMap;

use super::dialect::{AccountKey, Accounts, Dialect, Purpose};
use super::transaction::transaction;
use super::{Intent, LedgerError, Progress, Pruned};
use crate::entry::EntryId;
use crate::settlement::{EventKey, SettledRow, TorrentAccount};

/// Rows looked at in one transaction: some 20 ms.
const STEP: u32 = 2000;

pub(super) fn prune(
    dialect: &mut dyn Dialect,
    before: EntryId,
    intent: Intent,
    progress: Progress<'_>,
) -> Result<Pruned, LedgerError> {
    let newest = i64::try_from(before.unix_seconds()).unwrap_or(i64::MAX);
    let range = (i64::MIN, newest);
    let total = transaction(dialect, Purpose::Read, |dialect| dialect.count_events(None, range))?;
    let purpose = if intent == Intent::Act { Purpose::Write } else { Purpose::Read };
    let (mut pruned, mut looked, mut after) = (Pruned::default(), 0, None);
    loop {
        let step =
            transaction(dialect, purpose, |dialect| step(dialect, (after.as_ref(), newest), before, intent))?;
        looked += u64::from(step.looked);
        pruned.events += step.pruned.events;
        pruned.flagged += step.pruned.flagged;
        progress(looked, total);
        match step.last {
            Some(last) if step.looked == STEP => after = Some(last),
            _ => return Ok(pruned),
        }
    }
}

struct Step {
    looked: u32,
    last: Option<EventKey>,
    pruned: Pruned,
}

fn step(
    dialect: &mut dyn Dialect,
    (after, newest): (Option<&EventKey>, i64),
    before: EntryId,
    intent: Intent,
) -> Result<Step, LedgerError> {
    let page = dialect.events_after(after, newest, STEP)?;
    let (looked, last) = (u32::try_from(page.len()).unwrap_or(u32::MAX), page.last().map(SettledRow::key));
    let (flagged, plain): (Vec<SettledRow>, Vec<SettledRow>) =
        page.into_iter().filter(|row| row.entry_id < before).partition(|row| row.flag.is_some());
    if intent == Intent::Act {
        // From here on older entries count as settled. Never moves back.
        if dialect.mark()?.pruned_before < before {
            dialect.close_before(before)?;
        }
        carry_forward(dialect, &plain)?;
        dialect.delete_events(&plain.iter().map(SettledRow::key).collect::<Vec<_>>())?;
    }
    let pruned = Pruned { events: plain.len() as u64, flagged: flagged.len() as u64 };
    Ok(Step { looked, last, pruned })
}

fn carry_forward(dialect: &mut dyn Dialect, pruned: &[SettledRow]) -> Result<(), LedgerError> {
    let mut by_torrent: BTreeMap<AccountKey, Vec<&SettledRow>> = BTreeMap::new();
    for row in pruned {
        by_torrent.entry((row.passkey, row.info_hash)).or_default().push(row);
    }
    let keys: Vec<AccountKey> = by_torrent.keys().copied().collect();
    let carried = dialect.accounts(Accounts::CarriedForward, &keys)?;
    let changed: Vec<(AccountKey, TorrentAccount)> = by_torrent
        .into_iter()
        .zip(carried)
        .map(|((key, pruned), account)| {
            let mut account = account.unwrap_or_default();
            for row in pruned {
                account.add(row);
            }
            (key, account)
        })
        .collect();
    dialect.save_accounts(Accounts::CarriedForward, &changed)
}
