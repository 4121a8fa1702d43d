//! The rotation of a passkey in the ledger: one transaction in which every row of the old one becomes the new
//! one's.
//!
//! From its commit on, entries of the old one settle as the new one's and find their keys among the rows that
//! were moved.

use contract::{InfoHash, Passkey};

use super::aliases::new_of;
use super::dialect::{AccountKey, Accounts, Dialect, EventRange};
use super::settle::fold;
use super::{Intent, LedgerError, Progress, Rotated};
use crate::settlement::{EventKey, Overlap, Scope, SettledRow, TorrentAccount};

/// Events moved at once.
const PAGE: u32 = 10_000;

pub(super) fn rotate(
    dialect: &mut dyn Dialect,
    (old, new): (&Passkey, &Passkey),
    intent: Intent,
    progress: Progress<'_>,
) -> Result<Rotated, LedgerError> {
    may(dialect, old, new)?;
    let rotated = count(dialect, old)?;
    if intent == Intent::Look {
        return Ok(rotated);
    }
    dialect.add_alias(old, new)?;
    move_events(dialect, old, new)?;
    move_totals(dialect, old, new, progress)?;
    dialect.move_promotions(old, new)?;
    // An older copy of the ledger, without the rotation, is then found out as one.
    dialect.next_batch()?;
    Ok(rotated)
}

/// Neither a circle nor a fork: what an old passkey earned has one owner.
fn may(dialect: &mut dyn Dialect, old: &Passkey, new: &Passkey) -> Result<(), LedgerError> {
    let refuse = |reason: &str| Err(LedgerError::Rejected(reason.into()));
    if old == new {
        return refuse("the old and the new passkey are the same");
    }
    if new_of(dialect, new)?.is_some() {
        return refuse("the new passkey was itself rotated to another one");
    }
    match new_of(dialect, old)? {
        Some(other) if other != *new => refuse("the old passkey was rotated to another one already"),
        _ => Ok(()),
    }
}

fn count(dialect: &mut dyn Dialect, old: &Passkey) -> Result<Rotated, LedgerError> {
    let time = time_range(dialect, old)?;
    let promotions = dialect.promotions(i64::MIN, i64::MAX)?;
    let theirs = |promotion: &&crate::settlement::Promotion| promotion.scope == Scope::User(*old);
    Ok(Rotated {
        events: dialect.count_events(Some(old), time)?,
        torrents: dialect.accounts_of(Accounts::Totals, old)?.len() as u64,
        promotions: promotions.iter().filter(theirs).count() as u64,
        known: dialect.user(old)?.is_some() || new_of(dialect, old)?.is_some(),
    })
}

/// There is no index by user; the totals know when the first and the last event was.
fn time_range(dialect: &mut dyn Dialect, old: &Passkey) -> Result<(i64, i64), LedgerError> {
    let user = dialect.user(old)?;
    Ok(user.map_or((i64::MIN, i64::MAX), |user| (user.sums.first_seen, user.sums.last_seen)))
}

/// From the newest on; what was moved is no longer the old one's, so the next page begins where this one
/// ends.
fn move_events(dialect: &mut dyn Dialect, old: &Passkey, new: &Passkey) -> Result<(), LedgerError> {
    let (first, mut last) = time_range(dialect, old)?;
    loop {
        let range = EventRange { passkey: *old, info_hash: None, time: (first, last), newest: PAGE };
        let page = dialect.events_of(&range)?;
        let Some(oldest) = page.last() else { return Ok(()) };
        last = oldest.ts;
        move_page(dialect, page, (old, new))?;
    }
}

/// An event whose place the new passkey has already is added to that row.
fn move_page(
    dialect: &mut dyn Dialect,
    mut page: Vec<SettledRow>,
    (old, new): (&Passkey, &Passkey),
) -> Result<(), LedgerError> {
    let keys: Vec<EventKey> = page.iter().map(SettledRow::key).collect();
    dialect.delete_events(&keys)?;
    for row in &mut page {
        row.announced_as = Some(row.announced_as.unwrap_or(*old));
        row.passkey = *new;
    }
    let moved: Vec<&SettledRow> = page.iter().collect();
    let written = dialect.insert_events(&moved)?;
    let flagged: Vec<&SettledRow> = page.iter().filter(|row| row.flag.is_some()).collect();
    dialect.insert_flags(&flagged)?;
    let mut folded = moved.into_iter().zip(written).filter(|(_, written)| !written);
    folded.try_for_each(|(row, _)| fold(dialect, row))
}

fn move_totals(
    dialect: &mut dyn Dialect,
    old: &Passkey,
    new: &Passkey,
    progress: Progress<'_>,
) -> Result<(), LedgerError> {
    merge(dialect, Accounts::CarriedForward, (old, new), &mut |_, _| {})?;
    let overlap = merge(dialect, Accounts::Totals, (old, new), progress)?;
    if let Some(moved) = dialect.user(old)? {
        dialect.add_to_users(&[(*new, moved.without(overlap))])?;
    }
    dialect.delete_user(old)
}

/// Adds the old one's accounts to the new one's; what both had counted.
fn merge(
    dialect: &mut dyn Dialect,
    table: Accounts,
    (old, new): (&Passkey, &Passkey),
    progress: Progress<'_>,
) -> Result<Overlap, LedgerError> {
    let mut moved: Vec<(InfoHash, TorrentAccount)> = dialect.accounts_of(table, old)?;
    moved.sort_unstable_by_key(|(info_hash, _)| *info_hash);
    let keys: Vec<AccountKey> = moved.iter().map(|(info_hash, _)| (*new, *info_hash)).collect();
    let accounts = dialect.accounts(table, &keys)?;
    let (total, mut overlap, mut changed) = (keys.len() as u64, Overlap::default(), Vec::new());
    for ((key, (_, moved)), account) in keys.into_iter().zip(&moved).zip(accounts) {
        let mut account = account.unwrap_or_default();
        overlap += account.merge(moved);
        changed.push((key, account));
        progress(changed.len() as u64, total);
    }
    dialect.save_accounts(table, &changed)?;
    Ok(overlap)
}
