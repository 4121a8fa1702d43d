//! The seam between the ledger and a database: rows in and rows out, many at once, in transactions.
//!
//! A dialect is SQL and nothing else. What settling, pruning, rotating and verifying mean is written once
//! above it, so a new database adds a folder beside `sqlite/`, a line in `location.rs` and one in the
//! conformance suite (`tests/ledger/`). Every list here is a whole batch: SQLite loops over a prepared
//! statement, a server sends one multi-row statement.
//!
//! The seam is synchronous, although the drivers of servers are asynchronous: a transaction is a plain
//! function, and the consumer's ledger has a thread of its own. Such a dialect keeps a runtime on a thread of
//! its own and waits for it on a channel. It must not `block_on` where it is called, because trackerctl calls
//! from inside a runtime, which would panic.

use std::collections::HashMap;

use contract::{InfoHash, Passkey};

use super::{LedgerError, Mark, MigrationReport, Numbers};
use crate::entry::EntryId;
use crate::settlement::{EventKey, Promotion, SettledRow, TorrentAccount, UserAccount};

/// One user on one torrent.
pub type AccountKey = (Passkey, InfoHash);

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// All questions are answered as of one moment.
    Read,
    /// As if nobody else wrote meanwhile: totals are read before they are written, and other consumers may
    /// settle into the same ledger.
    Write,
}

/// The two tables of accounts; their columns are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounts {
    /// `torrent_traffic`: what each user did on each torrent.
    Totals,
    /// `carried_forward`: what the pruned events of each of them added up to.
    CarriedForward,
}

/// Which events of a user to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRange {
    /// Whose; by their present passkey.
    pub passkey: Passkey,
    /// Of one torrent only.
    pub info_hash: Option<InfoHash>,
    /// The first and the last unix second.
    pub time: (i64, i64),
    /// At most so many: the newest.
    pub newest: u32,
}

/// One row of those that the audit compares.
#[derive(Debug, Clone, PartialEq)]
pub enum AuditedRow {
    /// Of `carried_forward`.
    Carried(AccountKey, TorrentAccount),
    /// Of `settled_events`.
    Event(SettledRow),
    /// Of `torrent_traffic`.
    Torrent(AccountKey, TorrentAccount),
    /// Of `user_traffic`.
    User(Passkey, UserAccount),
}

/// A database with the ledger's tables.
///
/// Between [`begin`](Dialect::begin) and [`commit`](Dialect::commit) or [`roll_back`](Dialect::roll_back) all
/// calls belong to one transaction; the ledger calls nothing but these and [`migrate`](Dialect::migrate)
/// outside of one. Answers are in the order of the keys that were asked for, and keys in one call are
/// distinct.
///
/// Errors are told apart by what the ledger does next: [`LedgerError::Conflict`] (a deadlock, a serialization
/// failure) makes it repeat the whole transaction, [`LedgerError::Unavailable`] (a lost connection, a full
/// disk) makes its owner open it anew, [`LedgerError::Rejected`] is for what is certainly the data's fault.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait Dialect: Send {
    /// Brings the tables to the newest version.
    fn migrate(&mut self) -> Result<MigrationReport, LedgerError>;

    /// Begins a transaction, and sees that the ledger is still there.
    fn begin(&mut self, purpose: Purpose) -> Result<(), LedgerError>;
    /// Ends a transaction: what was written is on the disk. When that fails, the transaction is still open.
    fn commit(&mut self) -> Result<(), LedgerError>;
    /// Ends a transaction, if one is open: nothing was written.
    fn roll_back(&mut self) -> Result<(), LedgerError>;

    /// Which ledger this is.
    fn mark(&mut self) -> Result<Mark, LedgerError>;
    /// Counts a transaction, and answers as [`mark`](Dialect::mark).
    fn next_batch(&mut self) -> Result<Mark, LedgerError>;
    /// Sets [`Mark::pruned_before`].
    fn close_before(&mut self, before: EntryId) -> Result<(), LedgerError>;
    /// Sets [`Mark::id`].
    fn rename(&mut self, id: &str) -> Result<(), LedgerError>;
    /// Which entries were seen.
    fn numbers(&mut self) -> Result<Numbers, LedgerError>;
    /// Writes down which entries were seen.
    fn save_numbers(&mut self, numbers: &Numbers) -> Result<(), LedgerError>;

    /// What the rotated ones among these passkeys, some of which come more than once, are now. Asked with
    /// each batch: on a site that never rotated it looks at none of them.
    fn aliases(
        &mut self,
        of: &mut dyn Iterator<Item = Passkey>,
    ) -> Result<HashMap<Passkey, Passkey>, LedgerError>;
    /// Makes `new` the alias of `old`, and of all whose alias was `old`.
    fn add_alias(&mut self, old: &Passkey, new: &Passkey) -> Result<(), LedgerError>;

    /// As [`aliases`](Dialect::aliases): which of these torrents are another one's second name, and of which.
    fn torrent_aliases(
        &mut self,
        of: &mut dyn Iterator<Item = InfoHash>,
    ) -> Result<HashMap<InfoHash, InfoHash>, LedgerError>;
    /// How many torrents have a second name.
    fn count_torrent_aliases(&mut self) -> Result<u64, LedgerError>;
    /// Makes `v1` the torrent that `v2` is booked on.
    fn add_torrent_alias(&mut self, v2: &InfoHash, v1: &InfoHash) -> Result<(), LedgerError>;

    /// Promotions in force at some time from `oldest` to `newest`, oldest id first.
    fn promotions(&mut self, oldest: i64, newest: i64) -> Result<Vec<Promotion>, LedgerError>;
    /// Adds a promotion (its `id` is ignored) and returns its id.
    fn add_promotion(&mut self, promotion: &Promotion) -> Result<i64, LedgerError>;
    /// Ends a promotion at `ends_at`; `false` when there is none of that id.
    fn end_promotion(&mut self, id: i64, ends_at: i64) -> Result<bool, LedgerError>;
    /// Gives the promotions for the user `old` to `new`.
    fn move_promotions(&mut self, old: &Passkey, new: &Passkey) -> Result<(), LedgerError>;

    /// Writes events, without their flags, whose key is free; which of them were written.
    fn insert_events(&mut self, events: &[&SettledRow]) -> Result<Vec<bool>, LedgerError>;
    /// Writes the flags of events, each unless its event has one.
    fn insert_flags(&mut self, events: &[&SettledRow]) -> Result<(), LedgerError>;
    /// Writes what [`SettledRow::fold`] changes of an event.
    fn update_event(&mut self, event: &SettledRow) -> Result<(), LedgerError>;
    /// Removes events with their flags.
    fn delete_events(&mut self, keys: &[EventKey]) -> Result<(), LedgerError>;
    /// The events of these keys, with their flags.
    fn events_at(&mut self, keys: &[EventKey]) -> Result<Vec<Option<SettledRow>>, LedgerError>;
    /// A user's events with their flags, newest first, in one second the newest entry first.
    fn events_of(&mut self, range: &EventRange) -> Result<Vec<SettledRow>, LedgerError>;
    /// The first `most` events after a key and no later than `until`, with their flags, in the order of keys.
    fn events_after(
        &mut self,
        after: Option<&EventKey>,
        until: i64,
        most: u32,
    ) -> Result<Vec<SettledRow>, LedgerError>;
    /// How many events there are in a range of unix seconds, of one user or of all.
    fn count_events(&mut self, passkey: Option<&Passkey>, time: (i64, i64)) -> Result<u64, LedgerError>;

    /// Remembers the keys of events that were added to the row of another one.
    fn insert_folded_keys(&mut self, keys: &[EventKey]) -> Result<(), LedgerError>;
    /// Gives those of the first info hash to the second.
    fn move_folded_keys(&mut self, from: &InfoHash, to: &InfoHash) -> Result<(), LedgerError>;
    /// Which of these keys are remembered so.
    fn are_folded(&mut self, keys: &[EventKey]) -> Result<Vec<bool>, LedgerError>;

    /// The accounts of these keys, which are in order.
    fn accounts(
        &mut self,
        table: Accounts,
        keys: &[AccountKey],
    ) -> Result<Vec<Option<TorrentAccount>>, LedgerError>;
    /// Writes accounts, in the order of their keys, whether they are there or not.
    fn save_accounts(
        &mut self,
        table: Accounts,
        accounts: &[(AccountKey, TorrentAccount)],
    ) -> Result<(), LedgerError>;
    /// All accounts of a user, in any order.
    fn accounts_of(
        &mut self,
        table: Accounts,
        passkey: &Passkey,
    ) -> Result<Vec<(InfoHash, TorrentAccount)>, LedgerError>;
    /// Who has an account of a torrent, in any order. Looks at every account: there is no index by torrent.
    fn users_of(&mut self, table: Accounts, info_hash: &InfoHash) -> Result<Vec<Passkey>, LedgerError>;
    /// Removes an account.
    fn delete_account(&mut self, table: Accounts, key: &AccountKey) -> Result<(), LedgerError>;
    /// A user's totals.
    fn user(&mut self, passkey: &Passkey) -> Result<Option<UserAccount>, LedgerError>;
    /// Adds to the totals of users, in the order of their passkeys. Sums stop at `i64::MAX`. In the database,
    /// because reading them first would cost as much again.
    fn add_to_users(&mut self, gains: &[(Passkey, UserAccount)]) -> Result<(), LedgerError>;
    /// Removes a user's totals and accounts.
    fn delete_user(&mut self, passkey: &Passkey) -> Result<(), LedgerError>;

    /// Shows every row that the audit compares, in the order of `AuditedRow::place`; see `merge::merged`.
    fn audit(&mut self, visit: &mut dyn FnMut(AuditedRow)) -> Result<(), LedgerError>;
    /// Flags whose event is not there.
    fn flags_without_events(&mut self) -> Result<Vec<AccountKey>, LedgerError>;
}
