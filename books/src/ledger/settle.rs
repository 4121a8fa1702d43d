//! The settling transaction: keys in, totals up.
//!
//! A key is (ts, passkey, info hash, peer id) as the *entry* has it. After a rotation two different entries
//! may have one place: then the second is added to the row of the first, and its own key is remembered beside
//! it.

use contract::Passkey;
use hashbrown::HashSet;

use super::aliases::Aliases;
use super::dialect::{AccountKey, Accounts, Dialect};
use super::{LedgerError, Outcome};
use crate::entry::Entry;
use crate::settlement::{EventKey, Promotions, Rules, SettledRow, UserAccount, settle as settle_event};

pub(super) fn settle(
    dialect: &mut dyn Dialect,
    entries: &[Entry],
    rules: &Rules,
) -> Result<Outcome, LedgerError> {
    let Some((oldest, newest)) = time_range(entries) else { return Ok(Outcome::default()) };
    let promotions: Promotions = dialect.promotions(oldest, newest)?.into_iter().collect();
    let pruned_before = dialect.next_batch()?.pruned_before;
    let aliases = Aliases::among(dialect, entries)?;
    // The key of a pruned event is gone, and its entry can only come from a stream that was set back.
    let deliverable = entries.iter().filter(|entry| entry.id >= pruned_before);
    let settled = deliverable.map(|entry| {
        let (event, announced_as) = aliases.canonical(&entry.event);
        SettledRow { announced_as, ..settle_event(entry.id, &event, &promotions, rules) }
    });
    let settled: Vec<SettledRow> = settled.collect();
    let new = claim(dialect, &settled)?;
    let flagged: Vec<&SettledRow> = new.iter().copied().filter(|row| row.flag.is_some()).collect();
    dialect.insert_flags(&flagged)?;
    let (settled, flagged) = (new.len() as u64, flagged.len() as u64);
    add_to_totals(dialect, new)?;
    Ok(Outcome { settled, duplicates: entries.len() as u64 - settled, flagged })
}

fn time_range(entries: &[Entry]) -> Option<(i64, i64)> {
    let times = || entries.iter().map(|entry| i64::try_from(entry.event.ts).unwrap_or(i64::MAX));
    Some((times().min()?, times().max()?))
}

/// Writes the events whose key is new, and returns them.
fn claim<'a>(
    dialect: &mut dyn Dialect,
    events: &'a [SettledRow],
) -> Result<Vec<&'a SettledRow>, LedgerError> {
    let mut places = HashSet::with_capacity(events.len());
    let (first, mut contested): (Vec<_>, Vec<_>) = events.iter().partition(|row| places.insert(row.key()));
    let written = dialect.insert_events(&first)?;
    let mut new = Vec::with_capacity(first.len());
    for (row, written) in first.into_iter().zip(written) {
        if written { new.push(row) } else { contested.push(row) }
    }
    for row in unsettled(dialect, contested)? {
        fold(dialect, row)?;
        new.push(row);
    }
    Ok(new)
}

/// Of events whose place is taken, those that are no repetition; each of them once.
fn unsettled<'a>(
    dialect: &mut dyn Dialect,
    events: Vec<&'a SettledRow>,
) -> Result<Vec<&'a SettledRow>, LedgerError> {
    let claims: Vec<Claim> = events.iter().map(|row| (row.key(), row.announced_as)).collect();
    let settled = are_settled(dialect, &claims)?;
    let mut seen = HashSet::new();
    let unseen = events.into_iter().zip(claims).zip(settled);
    let unseen = unseen.filter(|((_, claim), settled)| !settled && seen.insert(*claim));
    Ok(unseen.map(|((row, _), _)| row).collect())
}

/// An event's place, and the passkey of its entry where that is another one.
pub(super) type Claim = (EventKey, Option<Passkey>);

/// Which of these events are written, or were added to the row that has their place.
pub(super) fn are_settled(dialect: &mut dyn Dialect, claims: &[Claim]) -> Result<Vec<bool>, LedgerError> {
    let mut places: Vec<EventKey> = claims.iter().map(|(key, _)| *key).collect();
    places.sort_unstable();
    places.dedup();
    let there = dialect.events_at(&places)?;
    let mut keys: Vec<EventKey> = claims.iter().map(entry_key).collect();
    keys.sort_unstable();
    keys.dedup();
    let folded = dialect.are_folded(&keys)?;
    let settled = |claim: &Claim| {
        let row = places.binary_search(&claim.0).ok().and_then(|at| there[at].as_ref());
        row.is_some_and(|row| row.announced_as == claim.1)
            || keys.binary_search(&entry_key(claim)).is_ok_and(|at| folded[at])
    };
    Ok(claims.iter().map(settled).collect())
}

fn entry_key((key, announced_as): &Claim) -> EventKey {
    EventKey { passkey: announced_as.unwrap_or(key.passkey), ..*key }
}

/// For each entry in turn: whether it is settled, or was before it was pruned.
pub(super) fn were_settled(dialect: &mut dyn Dialect, entries: &[Entry]) -> Result<Vec<bool>, LedgerError> {
    let pruned_before = dialect.mark()?.pruned_before;
    let aliases = Aliases::among(dialect, entries)?;
    let claims: Vec<Claim> = entries.iter().map(|entry| aliases.claim(&entry.event)).collect();
    let settled = are_settled(dialect, &claims)?;
    let pruned = entries.iter().map(|entry| entry.id < pruned_before);
    Ok(pruned.zip(settled).map(|(pruned, settled)| pruned || settled).collect())
}

/// Adds an event to the row that has its place, and remembers its key.
pub(super) fn fold(dialect: &mut dyn Dialect, row: &SettledRow) -> Result<(), LedgerError> {
    dialect.insert_folded_keys(&[entry_key(&(row.key(), row.announced_as))])?;
    let kept = dialect.events_at(&[row.key()])?.pop().flatten();
    let gone = || LedgerError::Unavailable("a settled event vanished during a transaction".into());
    let mut kept = kept.ok_or_else(gone)?;
    kept.fold(row);
    dialect.update_event(&kept)
}

/// Goes through users and torrents in the order of their keys, so that each table's tree is walked once from
/// left to right.
fn add_to_totals(dialect: &mut dyn Dialect, mut new: Vec<&SettledRow>) -> Result<(), LedgerError> {
    new.sort_by(|a, b| (&a.passkey, &a.info_hash).cmp(&(&b.passkey, &b.info_hash)));
    let torrents: Vec<&[&SettledRow]> = new.chunk_by(|a, b| account_of(a) == account_of(b)).collect();
    let keys: Vec<AccountKey> = torrents.iter().map(|settled| account_of(settled[0])).collect();
    let accounts = dialect.accounts(Accounts::Totals, &keys)?;
    let mut changed = Vec::with_capacity(keys.len());
    let mut users: Vec<(Passkey, UserAccount)> = Vec::new();
    for ((key, settled), account) in keys.into_iter().zip(torrents).zip(accounts) {
        if users.last().is_none_or(|(passkey, _)| *passkey != key.0) {
            users.push((key.0, UserAccount::default()));
        }
        let mut account = account.unwrap_or_default();
        for row in settled {
            let gain = account.add(row);
            users.iter_mut().last().into_iter().for_each(|(_, user)| user.add(row, gain));
        }
        changed.push((key, account));
    }
    dialect.save_accounts(Accounts::Totals, &changed)?;
    dialect.add_to_users(&users)
}

fn account_of(row: &SettledRow) -> AccountKey {
    (row.passkey, row.info_hash)
}
