//! A hybrid torrent's two names in the ledger: one transaction in which every row of the v2 info hash becomes
//! the v1 info hash's.
//!
//! A client that announced under both names before they were known as one has claimed the same bytes twice.
//! They are taken off the rows of the v2 info hash, newest first, so that totals, rows and what
//! `user explain` shows go on saying the same.

use contract::{InfoHash, Passkey};

use super::aliases::v1_of;
use super::dialect::{AccountKey, Accounts, Dialect, EventRange};
use super::settle::fold;
use super::{Aliased, LedgerError};
use crate::settlement::{EventKey, Overlap, SettledRow, Sums, TorrentAccount, Twice, UserAccount};

/// Pairs looked up in one transaction.
pub(super) const LOOKED_AT: usize = 1000;
/// Events moved at once.
const PAGE: u32 = 10_000;

impl std::ops::AddAssign for Aliased {
    fn add_assign(&mut self, other: Self) {
        self.torrents += other.torrents;
        self.accounts += other.accounts;
        (0..2).for_each(|which| self.given_back[which] += other.given_back[which]);
    }
}

/// Those of the pairs that are not in the ledger yet.
pub(super) fn unknown(
    dialect: &mut dyn Dialect,
    pairs: &[(InfoHash, InfoHash)],
) -> Result<Vec<(InfoHash, InfoHash)>, LedgerError> {
    let known = dialect.torrent_aliases(&mut pairs.iter().map(|(v2, _)| *v2))?;
    Ok(pairs.iter().filter(|(v2, v1)| v2 != v1 && !known.contains_key(v2)).copied().collect())
}

pub(super) fn alias(
    dialect: &mut dyn Dialect,
    (v2, v1): (&InfoHash, &InfoHash),
) -> Result<Aliased, LedgerError> {
    if v1_of(dialect, v2)?.is_some() || v1_of(dialect, v1)?.is_some() {
        return Ok(Aliased::default());
    }
    dialect.add_torrent_alias(v2, v1)?;
    dialect.move_folded_keys(v2, v1)?;
    let mut aliased = Aliased { torrents: 1, ..Aliased::default() };
    let users = dialect.users_of(Accounts::Totals, v2)?;
    for passkey in users {
        let given_back = move_account(dialect, &passkey, (v2, v1))?;
        aliased += Aliased { torrents: 0, accounts: 1, given_back };
    }
    // An older copy of the ledger, without the alias, is then found out as one.
    dialect.next_batch()?;
    Ok(aliased)
}

fn move_account(
    dialect: &mut dyn Dialect,
    passkey: &Passkey,
    (v2, v1): (&InfoHash, &InfoHash),
) -> Result<[u64; 2], LedgerError> {
    let (from, to) = ((*passkey, *v2), (*passkey, *v1));
    let mut moved = take(dialect, Accounts::Totals, &from)?.unwrap_or_default();
    let mut account = dialect.accounts(Accounts::Totals, &[to])?.pop().flatten().unwrap_or_default();
    let mut cut = Cut { left: account.lines.merge_twins(&moved.lines), ..Cut::default() };
    moved.lines = Default::default();
    move_events(dialect, &from, v1, (moved.sums.first_seen, moved.sums.last_seen), &mut cut)?;
    carry(dialect, (&from, &to), &mut cut)?;
    cut.take_off(&mut moved.sums);
    let overlap = account.merge(&moved);
    dialect.save_accounts(Accounts::Totals, &[(to, account)])?;
    dialect.add_to_users(&[(*passkey, cut.loss(overlap))])?;
    Ok(cut.given_back())
}

fn take(
    dialect: &mut dyn Dialect,
    table: Accounts,
    key: &AccountKey,
) -> Result<Option<TorrentAccount>, LedgerError> {
    let account = dialect.accounts(table, &[*key])?.pop().flatten();
    dialect.delete_account(table, key)?;
    Ok(account)
}

/// From the newest on; what was moved is no longer the old name's, so the next page begins where this one
/// ends.
fn move_events(
    dialect: &mut dyn Dialect,
    (passkey, v2): &AccountKey,
    v1: &InfoHash,
    (first, mut last): (i64, i64),
    cut: &mut Cut,
) -> Result<(), LedgerError> {
    loop {
        let range = EventRange { passkey: *passkey, info_hash: Some(*v2), time: (first, last), newest: PAGE };
        let mut page = dialect.events_of(&range)?;
        let Some(oldest) = page.last() else { return Ok(()) };
        last = oldest.ts;
        let keys: Vec<EventKey> = page.iter().map(SettledRow::key).collect();
        dialect.delete_events(&keys)?;
        for row in &mut page {
            row.info_hash = *v1;
            cut.cut_row(row);
        }
        write(dialect, &page)?;
    }
}

/// An event whose place the other name has already is added to that row.
fn write(dialect: &mut dyn Dialect, page: &[SettledRow]) -> Result<(), LedgerError> {
    let moved: Vec<&SettledRow> = page.iter().collect();
    let written = dialect.insert_events(&moved)?;
    let flagged: Vec<&SettledRow> = page.iter().filter(|row| row.flag.is_some()).collect();
    dialect.insert_flags(&flagged)?;
    let mut folded = moved.into_iter().zip(written).filter(|(_, written)| !written);
    folded.try_for_each(|(row, _)| fold(dialect, row))
}

/// The sums of pruned events; what the rows could not give back comes off them.
fn carry(
    dialect: &mut dyn Dialect,
    (from, to): (&AccountKey, &AccountKey),
    cut: &mut Cut,
) -> Result<(), LedgerError> {
    let Some(mut moved) = take(dialect, Accounts::CarriedForward, from)? else { return Ok(()) };
    cut.cut_sums(&mut moved.sums);
    let mut carried = dialect.accounts(Accounts::CarriedForward, &[*to])?.pop().flatten().unwrap_or_default();
    carried.merge(&moved);
    dialect.save_accounts(Accounts::CarriedForward, &[(*to, carried)])
}

/// What is to be given back yet, and what was taken off raw and credited bytes: of upload and of download.
#[derive(Default)]
struct Cut {
    left: Vec<Twice>,
    raw: [i64; 2],
    credited: [i64; 2],
}

impl Cut {
    fn cut_row(&mut self, row: &mut SettledRow) {
        let Some(place) = self.left.iter().position(|twice| twice.is_of(&row.peer_id)) else { return };
        self.cut(place, 0, &mut row.raw_up, &mut row.credited_up);
        self.cut(place, 1, &mut row.raw_down, &mut row.credited_down);
    }

    fn cut_sums(&mut self, sums: &mut Sums) {
        for place in 0..self.left.len() {
            self.cut(place, 0, &mut sums.raw_up, &mut sums.credited_up);
            self.cut(place, 1, &mut sums.raw_down, &mut sums.credited_down);
        }
    }

    /// The credit falls in proportion.
    fn cut(&mut self, place: usize, which: usize, raw: &mut i64, credited: &mut i64) {
        let left = &mut self.left[place].bytes[which];
        let part = i64::try_from(*left).unwrap_or(i64::MAX).min(*raw).max(0);
        if part == 0 {
            return;
        }
        let kept = i128::from(*credited) * i128::from(*raw - part) / i128::from(*raw);
        let kept = i64::try_from(kept).unwrap_or(*credited);
        *left -= part.unsigned_abs();
        self.raw[which] += part;
        self.credited[which] += *credited - kept;
        (*raw, *credited) = (*raw - part, kept);
    }

    fn take_off(&self, sums: &mut Sums) {
        sums.raw_up -= self.raw[0];
        sums.raw_down -= self.raw[1];
        sums.credited_up -= self.credited[0];
        sums.credited_down -= self.credited[1];
    }

    /// What the user's totals lose; the rest stays theirs under the other name.
    fn loss(&self, overlap: Overlap) -> UserAccount {
        let mut loss = UserAccount::default().without(overlap);
        self.take_off(&mut loss.sums);
        loss
    }

    fn given_back(&self) -> [u64; 2] {
        self.raw.map(i64::unsigned_abs)
    }
}
