//! The ledger as the database keeps it, with the real settlement and the real accounts: settled keys and
//! totals, changed together or not at all.

use std::collections::BTreeMap;

use books::Entry;
use books::settlement::{Promotions, Rules, SettledRow, TorrentAccount, UserAccount, settle};
use contract::{InfoHash, Passkey, PeerId};

/// What is unique for ever.
pub type Key = (Passkey, InfoHash, PeerId, i64);
/// (passkey, info hash, peer id).
pub type SessionKey = (Passkey, InfoHash, PeerId);

/// Keys and totals.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    rows: BTreeMap<Key, SettledRow>,
    users: BTreeMap<Passkey, UserAccount>,
    torrents: BTreeMap<(Passkey, InfoHash), TorrentAccount>,
    sessions: BTreeMap<SessionKey, (i64, i64)>,
}

impl Ledger {
    /// One committed transaction; returns how many keys were new.
    pub fn commit(&mut self, entries: &[Entry], promotions: &Promotions, rules: &Rules) -> usize {
        entries.iter().filter(|entry| self.add(settle(entry.id, &entry.event, promotions, rules))).count()
    }

    fn add(&mut self, row: SettledRow) -> bool {
        let key = (row.passkey, row.info_hash, row.peer_id, row.ts);
        if self.rows.contains_key(&key) {
            return false;
        }
        let gain = self.torrents.entry((row.passkey, row.info_hash)).or_default().add(&row);
        self.users.entry(row.passkey).or_default().add(&row, gain);
        let session = self.sessions.entry((row.passkey, row.info_hash, row.peer_id)).or_default();
        session.0 += row.raw_up;
        session.1 += row.raw_down;
        self.rows.insert(key, row);
        true
    }

    /// Whether this key is settled.
    #[must_use]
    pub fn holds(&self, key: &Key) -> bool {
        self.rows.contains_key(key)
    }

    /// How many events are settled.
    #[must_use]
    pub fn size(&self) -> usize {
        self.rows.len()
    }

    /// Raw bytes (up, down) settled for a session.
    #[must_use]
    pub fn session(&self, key: &SessionKey) -> (i64, i64) {
        self.sessions.get(key).copied().unwrap_or_default()
    }

    /// A user's totals.
    #[must_use]
    pub fn user(&self, passkey: &Passkey) -> UserAccount {
        self.users.get(passkey).cloned().unwrap_or_default()
    }

    /// A user's totals on one torrent.
    #[must_use]
    pub fn torrent(&self, passkey: &Passkey, info_hash: &InfoHash) -> TorrentAccount {
        self.torrents.get(&(*passkey, *info_hash)).cloned().unwrap_or_default()
    }

    /// Whether every total is what the settled rows add up to, in another order.
    #[must_use]
    pub fn balances(&self) -> bool {
        let mut anew = Self::default();
        for row in self.rows.values() {
            anew.add(row.clone());
        }
        anew.users == self.users && anew.torrents == self.torrents
    }
}
