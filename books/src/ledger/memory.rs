//! The ledger in memory: the second dialect, which keeps the seam honest. The conformance suite holds it to
//! the same promises as a database, and the simulation settles into it, so that its schedules run the shipped
//! algorithms.
//!
//! No URL names it: what is settled here is gone with the process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::{InfoHash, Passkey};

use super::dialect::{AccountKey, Accounts, AuditedRow, Dialect, EventRange, Purpose};
use super::merge::{Source, merged};
use super::{Ledger, LedgerError, Mark, MigrationReport, Numbers};
use crate::entry::EntryId;
use crate::settlement::{EventKey, Promotion, Scope, SettledRow, TorrentAccount, UserAccount};

/// Tables that several ledgers may share. Clones are the same tables.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Committed>>);

#[derive(Debug, Default)]
struct Committed {
    tables: Arc<Tables>,
    /// Transactions that wrote.
    version: u64,
}

#[derive(Debug, Clone)]
struct Tables {
    mark: Mark,
    numbers: Numbers,
    aliases: BTreeMap<Passkey, Passkey>,
    torrent_aliases: BTreeMap<InfoHash, InfoHash>,
    promotions: BTreeMap<i64, Promotion>,
    /// With their flags.
    events: BTreeMap<EventKey, SettledRow>,
    folded_keys: BTreeSet<EventKey>,
    totals: BTreeMap<AccountKey, TorrentAccount>,
    carried_forward: BTreeMap<AccountKey, TorrentAccount>,
    users: BTreeMap<Passkey, UserAccount>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            mark: Mark { id: "memory".into(), batches: 0, pruned_before: EntryId::default() },
            numbers: Numbers::default(),
            aliases: BTreeMap::new(),
            torrent_aliases: BTreeMap::new(),
            promotions: BTreeMap::new(),
            events: BTreeMap::new(),
            folded_keys: BTreeSet::new(),
            totals: BTreeMap::new(),
            carried_forward: BTreeMap::new(),
            users: BTreeMap::new(),
        }
    }
}

impl Memory {
    /// A ledger over these tables.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        Ledger::over(self.dialect())
    }

    /// Whether the event with this key is written.
    #[must_use]
    pub fn holds(&self, key: &EventKey) -> bool {
        self.committed().tables.events.contains_key(key)
    }

    /// How many events are written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.committed().tables.events.len()
    }

    /// Whether no event is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sums up over the written events.
    pub fn fold<T>(&self, start: T, add: impl FnMut(T, &SettledRow) -> T) -> T {
        let tables = self.committed().tables.clone();
        tables.events.values().fold(start, add)
    }

    pub(super) fn dialect(&self) -> Connection {
        Connection { memory: self.clone(), open: None }
    }

    fn committed(&self) -> MutexGuard<'_, Committed> {
        // Tables are replaced in one step, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One user of the tables, with its transaction.
pub(super) struct Connection {
    memory: Memory,
    open: Option<Transaction>,
}

/// Works on a copy of the tables, made at the first write, and takes their place if nobody else did
/// meanwhile.
struct Transaction {
    tables: Arc<Tables>,
    base: u64,
    purpose: Purpose,
}

impl Connection {
    fn tables(&self) -> Result<&Tables, LedgerError> {
        self.open.as_ref().map(|open| &*open.tables).ok_or_else(no_transaction)
    }

    fn change(&mut self) -> Result<&mut Tables, LedgerError> {
        match &mut self.open {
            Some(open) if open.purpose == Purpose::Write => Ok(Arc::make_mut(&mut open.tables)),
            Some(_) => Err(LedgerError::Unavailable("this transaction only reads".into())),
            None => Err(no_transaction()),
        }
    }
}

fn no_transaction() -> LedgerError {
    LedgerError::Unavailable("no transaction is open".into())
}

impl Tables {
    fn accounts(&self, table: Accounts) -> &BTreeMap<AccountKey, TorrentAccount> {
        match table {
            Accounts::Totals => &self.totals,
            Accounts::CarriedForward => &self.carried_forward,
        }
    }

    fn accounts_mut(&mut self, table: Accounts) -> &mut BTreeMap<AccountKey, TorrentAccount> {
        match table {
            Accounts::Totals => &mut self.totals,
            Accounts::CarriedForward => &mut self.carried_forward,
        }
    }
}

fn of_user<'a>(
    accounts: &'a BTreeMap<AccountKey, TorrentAccount>,
    passkey: &'a Passkey,
) -> impl Iterator<Item = (InfoHash, TorrentAccount)> + 'a {
    let from = accounts.range((*passkey, InfoHash([0; 20]))..);
    let theirs = from.take_while(move |((owner, _), _)| owner == passkey);
    theirs.map(|((_, info_hash), account)| (*info_hash, account.clone()))
}

impl Dialect for Connection {
    fn migrate(&mut self) -> Result<MigrationReport, LedgerError> {
        Ok(MigrationReport::default())
    }

    fn begin(&mut self, purpose: Purpose) -> Result<(), LedgerError> {
        let (tables, base) = {
            let committed = self.memory.committed();
            (committed.tables.clone(), committed.version)
        };
        self.open = Some(Transaction { tables, base, purpose });
        Ok(())
    }

    fn commit(&mut self) -> Result<(), LedgerError> {
        let Transaction { tables, base, purpose } = self.open.take().ok_or_else(no_transaction)?;
        let mut committed = self.memory.committed();
        if purpose == Purpose::Write {
            if committed.version != base {
                return Err(LedgerError::Conflict("another transaction was committed meanwhile".into()));
            }
            *committed = Committed { tables, version: base + 1 };
        }
        Ok(())
    }

    fn roll_back(&mut self) -> Result<(), LedgerError> {
        self.open = None;
        Ok(())
    }

    fn mark(&mut self) -> Result<Mark, LedgerError> {
        Ok(self.tables()?.mark.clone())
    }

    fn next_batch(&mut self) -> Result<Mark, LedgerError> {
        let mark = &mut self.change()?.mark;
        mark.batches += 1;
        Ok(mark.clone())
    }

    fn close_before(&mut self, before: EntryId) -> Result<(), LedgerError> {
        self.change()?.mark.pruned_before = before;
        Ok(())
    }

    fn rename(&mut self, id: &str) -> Result<(), LedgerError> {
        self.change()?.mark.id = id.to_owned();
        Ok(())
    }

    fn numbers(&mut self) -> Result<Numbers, LedgerError> {
        Ok(self.tables()?.numbers.clone())
    }

    fn save_numbers(&mut self, numbers: &Numbers) -> Result<(), LedgerError> {
        self.change()?.numbers = numbers.clone();
        Ok(())
    }

    fn aliases(
        &mut self,
        of: &mut dyn Iterator<Item = Passkey>,
    ) -> Result<HashMap<Passkey, Passkey>, LedgerError> {
        let aliases = &self.tables()?.aliases;
        Ok(of.filter_map(|old| Some((old, *aliases.get(&old)?))).collect())
    }

    fn add_alias(&mut self, old: &Passkey, new: &Passkey) -> Result<(), LedgerError> {
        let aliases = &mut self.change()?.aliases;
        aliases.values_mut().filter(|target| *target == old).for_each(|target| *target = *new);
        aliases.entry(*old).or_insert(*new);
        Ok(())
    }

    fn torrent_aliases(
        &mut self,
        of: &mut dyn Iterator<Item = InfoHash>,
    ) -> Result<HashMap<InfoHash, InfoHash>, LedgerError> {
        let aliases = &self.tables()?.torrent_aliases;
        Ok(of.filter_map(|v2| Some((v2, *aliases.get(&v2)?))).collect())
    }

    fn count_torrent_aliases(&mut self) -> Result<u64, LedgerError> {
        Ok(self.tables()?.torrent_aliases.len() as u64)
    }

    fn add_torrent_alias(&mut self, v2: &InfoHash, v1: &InfoHash) -> Result<(), LedgerError> {
        self.change()?.torrent_aliases.entry(*v2).or_insert(*v1);
        Ok(())
    }

    fn promotions(&mut self, oldest: i64, newest: i64) -> Result<Vec<Promotion>, LedgerError> {
        let in_force =
            |p: &&Promotion| p.starts_at <= newest && p.ends_at.is_none_or(|ends_at| ends_at > oldest);
        Ok(self.tables()?.promotions.values().filter(in_force).cloned().collect())
    }

    fn add_promotion(&mut self, promotion: &Promotion) -> Result<i64, LedgerError> {
        let promotions = &mut self.change()?.promotions;
        let id = promotions.keys().next_back().map_or(1, |last| last + 1);
        promotions.insert(id, Promotion { id, ..promotion.clone() });
        Ok(id)
    }

    fn end_promotion(&mut self, id: i64, ends_at: i64) -> Result<bool, LedgerError> {
        let promotion = self.change()?.promotions.get_mut(&id);
        Ok(promotion.map(|promotion| promotion.ends_at = Some(ends_at)).is_some())
    }

    fn move_promotions(&mut self, old: &Passkey, new: &Passkey) -> Result<(), LedgerError> {
        let promotions = self.change()?.promotions.values_mut();
        let theirs = promotions.filter(|promotion| promotion.scope == Scope::User(*old));
        theirs.for_each(|promotion| promotion.scope = Scope::User(*new));
        Ok(())
    }

    fn insert_events(&mut self, events: &[&SettledRow]) -> Result<Vec<bool>, LedgerError> {
        let table = &mut self.change()?.events;
        let mut insert = |row: &SettledRow| {
            let free = !table.contains_key(&row.key());
            if free {
                table.insert(row.key(), SettledRow { flag: None, ..row.clone() });
            }
            free
        };
        Ok(events.iter().map(|row| insert(row)).collect())
    }

    fn insert_flags(&mut self, events: &[&SettledRow]) -> Result<(), LedgerError> {
        let table = &mut self.change()?.events;
        for row in events {
            if let Some(event) = table.get_mut(&row.key()) {
                event.flag = event.flag.take().or_else(|| row.flag.clone());
            }
        }
        Ok(())
    }

    fn update_event(&mut self, event: &SettledRow) -> Result<(), LedgerError> {
        self.change()?.events.insert(event.key(), event.clone());
        Ok(())
    }

    fn delete_events(&mut self, keys: &[EventKey]) -> Result<(), LedgerError> {
        let events = &mut self.change()?.events;
        keys.iter().for_each(|key| drop(events.remove(key)));
        Ok(())
    }

    fn events_at(&mut self, keys: &[EventKey]) -> Result<Vec<Option<SettledRow>>, LedgerError> {
        let events = &self.tables()?.events;
        Ok(keys.iter().map(|key| events.get(key).cloned()).collect())
    }

    fn events_of(&mut self, range: &EventRange) -> Result<Vec<SettledRow>, LedgerError> {
        let wanted = |row: &&SettledRow| {
            row.passkey == range.passkey
                && (range.time.0..=range.time.1).contains(&row.ts)
                && range.info_hash.is_none_or(|info_hash| info_hash == row.info_hash)
        };
        let mut found: Vec<SettledRow> = self.tables()?.events.values().filter(wanted).cloned().collect();
        found.sort_by_key(|row| std::cmp::Reverse((row.ts, row.entry_id)));
        found.truncate(range.newest as usize);
        Ok(found)
    }

    fn events_after(
        &mut self,
        after: Option<&EventKey>,
        until: i64,
        most: u32,
    ) -> Result<Vec<SettledRow>, LedgerError> {
        let events = self.tables()?.events.iter();
        let wanted = events.filter(|(key, row)| after.is_none_or(|after| *key > after) && row.ts <= until);
        Ok(wanted.take(most as usize).map(|(_, row)| row.clone()).collect())
    }

    fn count_events(&mut self, passkey: Option<&Passkey>, time: (i64, i64)) -> Result<u64, LedgerError> {
        let wanted = |row: &&SettledRow| {
            (time.0..=time.1).contains(&row.ts) && passkey.is_none_or(|passkey| row.passkey == *passkey)
        };
        Ok(self.tables()?.events.values().filter(wanted).count() as u64)
    }

    fn insert_folded_keys(&mut self, keys: &[EventKey]) -> Result<(), LedgerError> {
        self.change()?.folded_keys.extend(keys);
        Ok(())
    }

    fn move_folded_keys(&mut self, from: &InfoHash, to: &InfoHash) -> Result<(), LedgerError> {
        let keys = &mut self.change()?.folded_keys;
        let moved: Vec<EventKey> = keys.extract_if(.., |key| key.info_hash == *from).collect();
        keys.extend(moved.into_iter().map(|key| EventKey { info_hash: *to, ..key }));
        Ok(())
    }

    fn are_folded(&mut self, keys: &[EventKey]) -> Result<Vec<bool>, LedgerError> {
        let folded = &self.tables()?.folded_keys;
        Ok(keys.iter().map(|key| folded.contains(key)).collect())
    }

    fn accounts(
        &mut self,
        table: Accounts,
        keys: &[AccountKey],
    ) -> Result<Vec<Option<TorrentAccount>>, LedgerError> {
        let accounts = self.tables()?.accounts(table);
        Ok(keys.iter().map(|key| accounts.get(key).cloned()).collect())
    }

    fn save_accounts(
        &mut self,
        table: Accounts,
        changed: &[(AccountKey, TorrentAccount)],
    ) -> Result<(), LedgerError> {
        self.change()?.accounts_mut(table).extend(changed.iter().cloned());
        Ok(())
    }

    fn accounts_of(
        &mut self,
        table: Accounts,
        passkey: &Passkey,
    ) -> Result<Vec<(InfoHash, TorrentAccount)>, LedgerError> {
        Ok(of_user(self.tables()?.accounts(table), passkey).collect())
    }

    fn users_of(&mut self, table: Accounts, info_hash: &InfoHash) -> Result<Vec<Passkey>, LedgerError> {
        let accounts = self.tables()?.accounts(table).keys();
        Ok(accounts.filter(|key| key.1 == *info_hash).map(|key| key.0).collect())
    }

    fn delete_account(&mut self, table: Accounts, key: &AccountKey) -> Result<(), LedgerError> {
        self.change()?.accounts_mut(table).remove(key);
        Ok(())
    }

    fn user(&mut self, passkey: &Passkey) -> Result<Option<UserAccount>, LedgerError> {
        Ok(self.tables()?.users.get(passkey).cloned())
    }

    fn add_to_users(&mut self, gains: &[(Passkey, UserAccount)]) -> Result<(), LedgerError> {
        let users = &mut self.change()?.users;
        for (passkey, gain) in gains {
            users.entry(*passkey).or_default().add_user(gain);
        }
        Ok(())
    }

    fn delete_user(&mut self, passkey: &Passkey) -> Result<(), LedgerError> {
        let tables = self.change()?;
        tables.users.remove(passkey);
        tables.totals.retain(|(owner, _), _| owner != passkey);
        tables.carried_forward.retain(|(owner, _), _| owner != passkey);
        Ok(())
    }

    fn audit(&mut self, visit: &mut dyn FnMut(AuditedRow)) -> Result<(), LedgerError> {
        let Tables { events, totals, carried_forward, users, .. } = self.tables()?;
        let mut events: Vec<&SettledRow> = events.values().collect();
        events.sort_by_key(|row| (row.passkey, row.info_hash));
        let sources: Vec<Source<'_>> = vec![
            Box::new(carried_forward.iter().map(|(key, it)| Ok(AuditedRow::Carried(*key, it.clone())))),
            Box::new(events.into_iter().map(|row| Ok(AuditedRow::Event(row.clone())))),
            Box::new(totals.iter().map(|(key, it)| Ok(AuditedRow::Torrent(*key, it.clone())))),
            Box::new(users.iter().map(|(passkey, it)| Ok(AuditedRow::User(*passkey, it.clone())))),
        ];
        merged(sources, visit)
    }

    /// A flag is a part of its event here.
    fn flags_without_events(&mut self) -> Result<Vec<AccountKey>, LedgerError> {
        Ok(Vec::new())
    }
}
