//! The ledger: what every user has earned, in SQL tables that a site reads.
//!
//! What settling, pruning, rotating and verifying mean is written here once, over batches of rows that a
//! [`Dialect`] moves in and out of its database; `dialect.rs` says how to add one. A [`Ledger`] is
//! synchronous and owned by one thread (see [`LedgerHandle`]): a database connection is no shared thing, and
//! a transaction is a plain function.

mod aliases;
mod delivery;
mod dialect;
mod hybrid;
mod keeper;
mod location;
mod memory;
mod merge;
mod numbers;
mod prune;
mod rotate;
mod settle;
mod sqlite;
mod thread;
mod transaction;
mod verify;
mod witness;

use std::cmp::Reverse;

use contract::config::ServiceUrl;
use contract::{InfoHash, Passkey};
use thiserror::Error;

pub use delivery::{Delivery, Findings, Receipt};
pub use dialect::{AccountKey, Accounts, AuditedRow, Dialect, EventRange, Purpose};
pub use location::Location;
pub use memory::Memory;
pub use numbers::{Numbered, Numbers, Run};
pub use thread::LedgerHandle;
pub use witness::Witness;

use crate::entry::{Entry, EntryId};
use crate::settlement::{Promotion, Rules, Scope, SettledRow, TorrentAccount, UserAccount};
use transaction::transaction;

/// What a caller must do about it is what tells these apart.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// The database cannot do it now: down, locked, full, unwritable. Wait and try the same again; nothing
    /// was written.
    #[error("{0}")]
    Unavailable(String),
    /// The database refuses this data. Trying again will not help; nothing was written.
    #[error("the ledger refuses the data: {0}")]
    Rejected(String),
    /// Another transaction was in the way: a deadlock, a serialization failure. Nothing was written; the
    /// ledger repeats the whole transaction by itself, so that callers meet this only between a dialect and a
    /// ledger.
    #[error("{0}")]
    Conflict(String),
    /// The `database` setting names no database that is built in.
    #[error("{0}")]
    Unsupported(String),
}

/// What one call of [`Ledger::settle`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Entries whose key was new.
    pub settled: u64,
    /// Entries that had been settled before; they changed nothing.
    pub duplicates: u64,
    /// Of the settled ones, those credited nothing until an operator decides.
    pub flagged: u64,
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.settled += other.settled;
        self.duplicates += other.duplicates;
        self.flagged += other.flagged;
    }
}

/// What [`Ledger::migrate`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MigrationReport {
    /// Versions applied by this call, in order, such as `V1__ledger`.
    pub applied: Vec<String>,
    /// The newest version in force.
    pub current: String,
}

/// Selects settled events of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// The user's canonical passkey.
    pub passkey: Passkey,
    /// Only events of this torrent.
    pub info_hash: Option<InfoHash>,
    /// Unix seconds; older ones are left out.
    pub since: Option<i64>,
    /// At most so many: the newest.
    pub newest: u32,
}

/// A total that is not what the settled events add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// `user_traffic`, `torrent_traffic` or `flagged_events`.
    pub table: &'static str,
    /// The user whose row it is.
    pub passkey: Passkey,
    /// Of which torrent, when the table has one.
    pub info_hash: Option<InfoHash>,
    /// The column, or `row` when a whole row is missing or has nothing behind it.
    pub column: &'static str,
    /// The figure in the table.
    pub recorded: String,
    /// The figure that settled events add up to.
    pub recomputed: String,
}

/// Which ledger this is and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Random, made with the ledger.
    pub id: String,
    /// Transactions that settled something; an older copy of the ledger has fewer.
    pub batches: i64,
    /// Events of stream entries before this one may have been pruned.
    pub pruned_before: EntryId,
}

/// Whether to do something, or only to say what would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Only say what would be done.
    Look,
    /// Change the tables.
    Act,
}

/// What [`Ledger::prune`] did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Events whose sums were carried forward and whose rows went.
    pub events: u64,
    /// Old events that stay because an operator has not decided about their flag.
    pub flagged: u64,
}

/// What [`Ledger::rotate`] moved, or would move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rotated {
    /// Settled events that moved.
    pub events: u64,
    /// Torrents whose totals moved.
    pub torrents: u64,
    /// Promotions for this user alone, which moved too.
    pub promotions: u64,
    /// Whether the ledger knew the old passkey at all.
    pub known: bool,
}

/// What [`Ledger::alias_torrents`] moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Aliased {
    /// Torrents that were not known yet to be another one's second name.
    pub torrents: u64,
    /// Users whose totals moved.
    pub accounts: u64,
    /// Bytes that clients had claimed under both names, and that were given back: of upload and of download.
    pub given_back: [u64; 2],
}

/// Called now and then during long work with (done, total).
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What opening a ledger may do to its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Create what is missing, then read and write.
    Write,
    /// The database must be there; read and write.
    Existing,
    /// The database must be there and stays as it is.
    Read,
}

/// A ledger in one database. Dropping it closes it.
pub struct Ledger(Box<dyn Dialect>);

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger")
    }
}

impl Ledger {
    /// The ledger in a database.
    #[must_use]
    pub fn over(dialect: impl Dialect + 'static) -> Self {
        Self(Box::new(dialect))
    }

    /// Brings the tables to the newest version.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] when the database cannot be changed now.
    pub fn migrate(&mut self) -> Result<MigrationReport, LedgerError> {
        self.0.migrate()
    }

    /// Settles entries in one transaction: those whose key is new count, the others change nothing. Without
    /// entries it only sees that the ledger is there.
    ///
    /// # Errors
    /// As [`LedgerError`] says; in every case nothing was written.
    pub fn settle(&mut self, entries: &[Entry], rules: &Rules) -> Result<Outcome, LedgerError> {
        let purpose = if entries.is_empty() { Purpose::Read } else { Purpose::Write };
        self.transaction(purpose, |dialect| settle::settle(dialect, entries, rules))
    }

    /// Settles what a consumer was given, unless this is not the ledger that Redis knows: then nothing is
    /// written. Remembers besides which entries came, by their numbers.
    ///
    /// # Errors
    /// As [`LedgerError`] says; in every case nothing was written.
    pub fn deliver(&mut self, delivery: &Delivery, rules: &Rules) -> Result<Receipt, LedgerError> {
        let empty = delivery.entries.is_empty() && delivery.also_seen.is_empty();
        let purpose = if empty { Purpose::Read } else { Purpose::Write };
        self.transaction(purpose, |dialect| delivery::deliver(dialect, delivery, rules))
    }

    /// Writes down what a consumer found out about numbers; how many entries turned out to be lost, and what
    /// was seen.
    ///
    /// # Errors
    /// As [`LedgerError`] says; in every case nothing was written.
    pub fn account(&mut self, findings: &Findings) -> Result<(u64, Numbers), LedgerError> {
        self.transaction(Purpose::Write, |dialect| delivery::account(dialect, findings))
    }

    /// Which entries it has seen.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn numbers(&mut self) -> Result<Numbers, LedgerError> {
        self.transaction(Purpose::Read, |dialect| dialect.numbers())
    }

    /// Makes it another ledger than all copies of it: none of them passes for it any more.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn rename(&mut self, id: &str) -> Result<Mark, LedgerError> {
        self.transaction(Purpose::Write, |dialect| {
            dialect.rename(id)?;
            dialect.next_batch()
        })
    }

    /// A user's totals; `None` for one who never announced.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn user(&mut self, passkey: &Passkey) -> Result<Option<UserAccount>, LedgerError> {
        self.transaction(Purpose::Read, |dialect| dialect.user(passkey))
    }

    /// A user's totals on one torrent.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn torrent_of(
        &mut self,
        passkey: &Passkey,
        info_hash: &InfoHash,
    ) -> Result<Option<TorrentAccount>, LedgerError> {
        self.transaction(Purpose::Read, |dialect| torrent_of(dialect, (*passkey, *info_hash)))
    }

    /// A user's totals per torrent, most recently seen first.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn torrents_of(&mut self, passkey: &Passkey) -> Result<Vec<(InfoHash, TorrentAccount)>, LedgerError> {
        let mut torrents =
            self.transaction(Purpose::Read, |dialect| dialect.accounts_of(Accounts::Totals, passkey))?;
        torrents.sort_unstable_by_key(|(info_hash, account)| (Reverse(account.sums.last_seen), *info_hash));
        Ok(torrents)
    }

    /// Settled events with their flags, oldest first.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn events(&mut self, query: &EventQuery) -> Result<Vec<SettledRow>, LedgerError> {
        let mut events = self.transaction(Purpose::Read, |dialect| {
            let (first, last) = time_range(dialect, query)?;
            let first = query.since.map_or(first, |since| since.max(first));
            let EventQuery { passkey, info_hash, newest, .. } = *query;
            dialect.events_of(&EventRange { passkey, info_hash, time: (first, last), newest })
        })?;
        events.reverse();
        Ok(events)
    }

    /// Adds every total up again from the settled events and lists what differs. In one transaction: what a
    /// consumer settles meanwhile is neither here nor there.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn verify(&mut self, progress: Progress<'_>) -> Result<Vec<Drift>, LedgerError> {
        self.transaction(Purpose::Read, |dialect| verify::verify(dialect, progress))
    }

    /// Which ledger this is.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], also for a database that holds no ledger of this version.
    pub fn mark(&mut self) -> Result<Mark, LedgerError> {
        self.transaction(Purpose::Read, |dialect| dialect.mark())
    }

    /// For each entry in turn: whether it is settled, or was before it was pruned.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn are_settled(&mut self, entries: &[Entry]) -> Result<Vec<bool>, LedgerError> {
        self.transaction(Purpose::Read, |dialect| settle::were_settled(dialect, entries))
    }

    /// Removes the events of stream entries before `before` and carries their sums forward, so that totals
    /// stay and still balance. From then on an entry before `before` counts as settled: pass nothing later
    /// than the oldest entry that can still be delivered. In several transactions; a kill in between leaves a
    /// ledger that balances.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`]; what was pruned stays pruned.
    pub fn prune(
        &mut self,
        before: EntryId,
        intent: Intent,
        progress: Progress<'_>,
    ) -> Result<Pruned, LedgerError> {
        prune::prune(self.0.as_mut(), before, intent, progress)
    }

    /// Gives everything of the first passkey to the second, in one transaction, and settles entries of the
    /// first as the second's from then on. Doing it again moves nothing more.
    ///
    /// # Errors
    /// [`LedgerError::Rejected`] when either passkey was rotated to another one before.
    pub fn rotate(
        &mut self,
        old_and_new: (&Passkey, &Passkey),
        intent: Intent,
        progress: Progress<'_>,
    ) -> Result<Rotated, LedgerError> {
        let purpose = if intent == Intent::Act { Purpose::Write } else { Purpose::Read };
        self.transaction(purpose, |dialect| rotate::rotate(dialect, old_and_new, intent, progress))
    }

    /// Books everything of hybrid torrents' v2 info hashes on their v1 info hashes, each in one transaction,
    /// and settles entries of the first as the second's from then on. What both names had claimed of one
    /// client is given back. A pair that is known, or would make a chain, changes nothing.
    ///
    /// # Errors
    /// As [`LedgerError`] says; torrents that were done stay done.
    pub fn alias_torrents(&mut self, pairs: &[(InfoHash, InfoHash)]) -> Result<Aliased, LedgerError> {
        let mut aliased = Aliased::default();
        for chunk in pairs.chunks(hybrid::LOOKED_AT) {
            let news = self.transaction(Purpose::Read, |dialect| hybrid::unknown(dialect, chunk))?;
            for (v2, v1) in news {
                aliased += self.transaction(Purpose::Write, |dialect| hybrid::alias(dialect, (&v2, &v1)))?;
            }
        }
        Ok(aliased)
    }

    /// Those of the pairs, v2 info hash and v1, that [`Ledger::alias_torrents`] was not told of.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn unknown_aliases(
        &mut self,
        pairs: &[(InfoHash, InfoHash)],
    ) -> Result<Vec<(InfoHash, InfoHash)>, LedgerError> {
        let mut unknown = Vec::new();
        for chunk in pairs.chunks(hybrid::LOOKED_AT) {
            unknown.extend(self.transaction(Purpose::Read, |dialect| hybrid::unknown(dialect, chunk))?);
        }
        Ok(unknown)
    }

    /// How many hybrid torrents it was told of.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn count_aliases(&mut self) -> Result<u64, LedgerError> {
        self.transaction(Purpose::Read, |dialect| dialect.count_torrent_aliases())
    }

    /// The info hash that a torrent's traffic is booked on: its own, unless it is a hybrid's v2 info hash.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn booked_on(&mut self, info_hash: &InfoHash) -> Result<InfoHash, LedgerError> {
        let v1 = self.transaction(Purpose::Read, |dialect| aliases::v1_of(dialect, info_hash))?;
        Ok(v1.unwrap_or(*info_hash))
    }

    /// All promotions, oldest id first.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn promotions(&mut self) -> Result<Vec<Promotion>, LedgerError> {
        self.transaction(Purpose::Read, |dialect| dialect.promotions(i64::MIN, i64::MAX))
    }

    /// Adds a promotion (its `id` is ignored) and returns its id.
    ///
    /// # Errors
    /// As [`LedgerError`] says.
    pub fn add_promotion(&mut self, promotion: &Promotion) -> Result<i64, LedgerError> {
        self.transaction(Purpose::Write, |dialect| dialect.add_promotion(promotion))
    }

    /// Ends a promotion at `ends_at` unix seconds; `false` when there is none of that id.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn end_promotion(&mut self, id: i64, ends_at: i64) -> Result<bool, LedgerError> {
        self.transaction(Purpose::Write, |dialect| dialect.end_promotion(id, ends_at))
    }

    /// Does something with the rows themselves, in one transaction that is repeated from its beginning when
    /// another one was in its way.
    ///
    /// # Errors
    /// As [`LedgerError`] says; in every case nothing was written.
    pub fn transaction<T>(
        &mut self,
        purpose: Purpose,
        work: impl FnMut(&mut dyn Dialect) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        transaction(self.0.as_mut(), purpose, work)
    }
}

fn torrent_of(dialect: &mut dyn Dialect, key: AccountKey) -> Result<Option<TorrentAccount>, LedgerError> {
    Ok(dialect.accounts(Accounts::Totals, &[key])?.pop().flatten())
}

/// When the first and the last of the wanted events happened, as far as the totals know: there is no index by
/// user.
fn time_range(dialect: &mut dyn Dialect, query: &EventQuery) -> Result<(i64, i64), LedgerError> {
    let sums = match query.info_hash {
        Some(info_hash) => torrent_of(dialect, (query.passkey, info_hash))?.map(|torrent| torrent.sums),
        None => dialect.user(&query.passkey)?.map(|user| user.sums),
    };
    Ok(sums.map_or((i64::MIN, i64::MAX), |sums| (sums.first_seen, sums.last_seen)))
}

/// Opens the ledger that a `database` setting names.
///
/// # Errors
/// [`LedgerError::Unsupported`] for a URL of another kind, [`LedgerError::Unavailable`] when it cannot be
/// opened.
pub fn open(url: &ServiceUrl, access: Access) -> Result<Ledger, LedgerError> {
    Location::parse(url)?.open(access)
}

/// Copies the ledger that a `database` setting names to a file, while others settle into it; says what the
/// copy is.
///
/// # Errors
/// [`LedgerError::Unavailable`] when it cannot be copied, or the file is there already.
pub fn back_up(
    url: &ServiceUrl,
    file: &std::path::Path,
    progress: Progress<'_>,
) -> Result<Mark, LedgerError> {
    match Location::parse(url)? {
        Location::Sqlite(path) => sqlite::back_up(&path, file, progress),
    }
}

/// Reads a promotion's columns as any database returns them.
fn promotion_of(
    id: i64,
    scope: (&str, &str),
    factors: (f64, f64),
    starts_at: i64,
    ends_at: Option<i64>,
) -> Result<Promotion, LedgerError> {
    let read = || {
        Ok(Promotion {
            id,
            scope: Scope::read(scope.0, scope.1)?,
            up_milli: Promotion::milli(factors.0)?,
            down_milli: Promotion::milli(factors.1)?,
            starts_at,
            ends_at,
        })
    };
    read().map_err(|error: crate::settlement::PromotionError| {
        LedgerError::Unavailable(format!("promotion {id} cannot be used until it is corrected: {error}"))
    })
}
