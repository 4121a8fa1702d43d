//! The settling transaction: keys in, totals up.
//!
//! A key is (ts, passkey, info hash, peer id) as the *entry* has it. After a rotation two different entries
//! may have one place: then the second is added to the row of the first, and its own key is remembered beside
//! it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use contract::{Event, Passkey, TrafficEvent};
use hashbrown::HashSet;

use super::aliases::Aliases;
use super::dialect::{AccountKey, Accounts, Dialect};
use super::{LedgerError, Outcome};
use crate::entry::{Entry, EntryId};
use crate::settlement::{
    EventKey, Promotions, Rules, SettledRow, TorrentAccount, UserAccount, settle_claimed,
};

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
    let named = deliverable.map(|entry| Named::of(entry, &aliases)).collect::<Vec<_>>();
    let mut books = Books::open(dialect, &named, pruned_before)?;
    let settled = named.iter().map(|named| books.settle(named, &promotions, rules));
    let settled: Vec<Settled> = settled.collect();
    let new = write(dialect, &settled)?;
    let flagged: Vec<&SettledRow> = new.iter().copied().filter(|row| row.flag.is_some()).collect();
    dialect.insert_flags(&flagged)?;
    let (settled, flagged) = (new.len() as u64, flagged.len() as u64);
    let users = books.add(&new);
    books.save(dialect)?;
    dialect.add_to_users(&users)?;
    Ok(Outcome { settled, duplicates: entries.len() as u64 - settled, flagged })
}

/// An entry's event under the names that it is booked on.
struct Named<'a> {
    id: EntryId,
    event: Cow<'a, TrafficEvent>,
    announced_as: Option<Passkey>,
}

impl<'a> Named<'a> {
    fn of(entry: &'a Entry, aliases: &Aliases) -> Self {
        let (event, announced_as) = aliases.canonical(&entry.event);
        Self { id: entry.id, event, announced_as }
    }

    fn account(&self) -> AccountKey {
        (self.event.passkey, self.event.info_hash)
    }
}

fn time_range(entries: &[Entry]) -> Option<(i64, i64)> {
    let times = || entries.iter().map(|entry| i64::try_from(entry.event.ts).unwrap_or(i64::MAX));
    Some((times().min()?, times().max()?))
}

/// Writes the events that bring something, and returns them.
fn write<'a>(dialect: &mut dyn Dialect, events: &'a [Settled]) -> Result<Vec<&'a SettledRow>, LedgerError> {
    let mut places = HashSet::with_capacity(events.len());
    let (first, mut contested): (Vec<_>, Vec<_>) =
        events.iter().partition(|event| places.insert(event.row.key()));
    let rows: Vec<&SettledRow> = first.iter().map(|event| &event.row).collect();
    let written = dialect.insert_events(&rows)?;
    let mut new = Vec::with_capacity(first.len());
    for (event, written) in first.into_iter().zip(written) {
        if written { new.push(&event.row) } else { contested.push(event) }
    }
    for (row, key_is_new) in unsettled(dialect, contested)? {
        if key_is_new {
            dialect.insert_folded_keys(&[entry_key(&name_of(row))])?;
        }
        add_to_row(dialect, row)?;
        new.push(row);
    }
    Ok(new)
}

/// Of events whose place is taken, those that are no mere repetition, each of them once; and whether it is
/// another event. One that Redis had lost and that was computed again may claim more than it did, or be
/// something else in the same second.
fn unsettled<'a>(
    dialect: &mut dyn Dialect,
    events: Vec<&'a Settled>,
) -> Result<Vec<(&'a SettledRow, bool)>, LedgerError> {
    let names: Vec<Announced> = events.iter().map(|event| name_of(&event.row)).collect();
    let settled = are_settled(dialect, &names)?;
    let mut seen = HashSet::new();
    let contested = events.into_iter().zip(names).zip(settled);
    let news = contested.filter_map(|((Settled { row, is_claimed }, name), settled)| {
        let key_is_new = settled.is_none() && seen.insert(name);
        let completes = row.event == Event::Completed && settled.is_some_and(|word| word != Event::Completed);
        let brings = *is_claimed && (row.raw_up > 0 || row.raw_down > 0 || completes);
        (key_is_new || brings).then_some((row, key_is_new))
    });
    Ok(news.collect())
}

/// An event's place, and the passkey of its entry where that is another one.
pub(super) type Announced = (EventKey, Option<Passkey>);

fn name_of(row: &SettledRow) -> Announced {
    (row.key(), row.announced_as)
}

/// Of these events, which are written, or were added to the row that has their place: what that row says
/// happened.
fn are_settled(dialect: &mut dyn Dialect, events: &[Announced]) -> Result<Vec<Option<Event>>, LedgerError> {
    let mut places: Vec<EventKey> = events.iter().map(|(key, _)| *key).collect();
    places.sort_unstable();
    places.dedup();
    let there = dialect.events_at(&places)?;
    let mut keys: Vec<EventKey> = events.iter().map(entry_key).collect();
    keys.sort_unstable();
    keys.dedup();
    let folded = dialect.are_folded(&keys)?;
    let settled = |event: &Announced| {
        let row = places.binary_search(&event.0).ok().and_then(|at| there[at].as_ref())?;
        let is_folded = || keys.binary_search(&entry_key(event)).is_ok_and(|at| folded[at]);
        (row.announced_as == event.1 || is_folded()).then_some(row.event)
    };
    Ok(events.iter().map(settled).collect())
}

fn entry_key((key, announced_as): &Announced) -> EventKey {
    EventKey { passkey: announced_as.unwrap_or(key.passkey), ..*key }
}

/// For each entry in turn: whether it is settled, or was before it was pruned.
pub(super) fn were_settled(dialect: &mut dyn Dialect, entries: &[Entry]) -> Result<Vec<bool>, LedgerError> {
    let pruned_before = dialect.mark()?.pruned_before;
    let aliases = Aliases::among(dialect, entries)?;
    let names: Vec<Announced> = entries.iter().map(|entry| aliases.announced(&entry.event)).collect();
    let settled = are_settled(dialect, &names)?;
    let pruned = entries.iter().map(|entry| entry.id < pruned_before);
    Ok(pruned.zip(settled).map(|(pruned, settled)| pruned || settled.is_some()).collect())
}

/// Adds an event to the row that has its place, and remembers its key.
pub(super) fn fold(dialect: &mut dyn Dialect, row: &SettledRow) -> Result<(), LedgerError> {
    dialect.insert_folded_keys(&[entry_key(&name_of(row))])?;
    add_to_row(dialect, row)
}

pub(super) fn add_to_row(dialect: &mut dyn Dialect, row: &SettledRow) -> Result<(), LedgerError> {
    let kept = dialect.events_at(&[row.key()])?.pop().flatten();
    let gone = || LedgerError::Unavailable("a settled event vanished during a transaction".into());
    let mut kept = kept.ok_or_else(gone)?;
    kept.fold(row);
    dialect.update_event(&kept)
}

/// The accounts that a batch is about, in the order of their keys, so that the table's tree is walked once
/// from left to right.
struct Books(BTreeMap<AccountKey, Account>);

#[derive(Default)]
struct Account {
    totals: TorrentAccount,
    changed: bool,
}

/// An event settled, and whether its bytes are what nobody claimed before, whatever becomes of its key.
struct Settled {
    row: SettledRow,
    is_claimed: bool,
}

impl Books {
    fn open(dialect: &mut dyn Dialect, named: &[Named<'_>], pruned: EntryId) -> Result<Self, LedgerError> {
        let mut keys: Vec<AccountKey> = named.iter().map(Named::account).collect();
        keys.sort_unstable();
        keys.dedup();
        let totals = dialect.accounts(Accounts::Totals, &keys)?;
        let open = |totals: Option<TorrentAccount>| {
            let mut totals = totals.unwrap_or_default();
            totals.lines.forget_silent_since(pruned.ms);
            Account { totals, changed: false }
        };
        Ok(Self(keys.into_iter().zip(totals.into_iter().map(open)).collect()))
    }

    fn settle(&mut self, named: &Named<'_>, promotions: &Promotions, rules: &Rules) -> Settled {
        let account = self.0.entry(named.account()).or_default();
        let claim = |event: &TrafficEvent| account.totals.lines.claim(event);
        let row = settle_claimed(named.id, &named.event, claim, promotions, rules);
        let row = SettledRow { announced_as: named.announced_as, ..row };
        Settled { row, is_claimed: named.event.claim.is_some() }
    }

    fn add(&mut self, new: &[&SettledRow]) -> Vec<(Passkey, UserAccount)> {
        let mut users: BTreeMap<Passkey, UserAccount> = BTreeMap::new();
        for row in new {
            let account = self.0.entry((row.passkey, row.info_hash)).or_default();
            let gain = account.totals.add(row);
            account.changed = true;
            users.entry(row.passkey).or_default().add(row, gain);
        }
        users.into_iter().collect()
    }

    fn save(self, dialect: &mut dyn Dialect) -> Result<(), LedgerError> {
        let changed = self.0.into_iter().filter(|(_, account)| account.changed);
        let changed: Vec<_> = changed.map(|(key, account)| (key, account.totals)).collect();
        dialect.save_accounts(Accounts::Totals, &changed)
    }
}
