//! The shipped ledger over tables in memory, and what the simulation asks of it beside what it settles.

use books::Entry;
use books::ledger::{self, LedgerError, Memory};
use books::settlement::{EventKey, Rules};
use contract::{InfoHash, Passkey, PeerId};

/// What is unique for ever.
pub(crate) type Key = (Passkey, InfoHash, PeerId, i64);
/// (passkey, info hash, peer id).
pub(crate) type SessionKey = (Passkey, InfoHash, PeerId);

/// The site's ledger. All consumers settle into the one.
#[derive(Debug)]
pub(crate) struct Ledger {
    tables: Memory,
    ledger: ledger::Ledger,
}

impl Default for Ledger {
    fn default() -> Self {
        let tables = Memory::default();
        Self { ledger: tables.ledger(), tables }
    }
}

impl Ledger {
    /// One committed transaction; returns how many keys were new.
    pub(crate) fn commit(&mut self, entries: &[Entry], rules: &Rules) -> Result<u64, LedgerError> {
        self.ledger.settle(entries, rules).map(|outcome| outcome.settled)
    }

    /// Whether this key is settled.
    pub(crate) fn holds(&self, (passkey, info_hash, peer_id, ts): &Key) -> bool {
        let key = EventKey { ts: *ts, passkey: *passkey, info_hash: *info_hash, peer_id: *peer_id };
        self.tables.holds(&key)
    }

    /// How many events are settled.
    pub(crate) fn size(&self) -> usize {
        self.tables.len()
    }

    /// Raw bytes (up, down) settled for a session.
    pub(crate) fn session(&self, (passkey, info_hash, peer_id): &SessionKey) -> (i64, i64) {
        self.tables.fold((0, 0), |sums, row| {
            let theirs = row.peer_id == *peer_id && row.passkey == *passkey && row.info_hash == *info_hash;
            if theirs { (sums.0 + row.raw_up, sums.1 + row.raw_down) } else { sums }
        })
    }

    /// Whether every total is what the settled events add up to.
    pub(crate) fn balances(&self) -> Result<bool, LedgerError> {
        Ok(self.tables.ledger().verify(&mut |_, _| {})?.is_empty())
    }
}
