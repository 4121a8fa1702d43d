//! The truth: what the clients were told is recorded, kept by the clients themselves.
//!
//! Each announce is claimed before it is sent for the first time and earned when it is answered. So at any
//! moment the ledger may hold at most what was claimed; in the end, when everybody has been answered, exactly
//! what was earned.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use contract::{InfoHash, PeerId};
use parking_lot::Mutex;

/// Lines kept of one session; most need a tenth of it.
const LONGEST_STORY: usize = 300;

/// What both counters moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        self.up += other.up;
        self.down += other.down;
    }
}

impl Bytes {
    /// Whether both counters are at most the other's.
    pub(crate) fn within(self, bound: Self) -> bool {
        self.up <= bound.up && self.down <= bound.down
    }

    /// By how much they differ, together.
    pub(crate) fn distance(self, other: Self) -> u64 {
        self.up.abs_diff(other.up) + self.down.abs_diff(other.down)
    }
}

/// What a client said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientState {
    Unheard,
    Seeds,
    Leeches,
    Gone,
}

/// Who seeds or leeches what, as the sets in Redis hold it.
pub(crate) type Members = BTreeMap<InfoHash, BTreeSet<PeerId>>;

/// One session and what it earned.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) user: usize,
    pub(crate) info_hash: InfoHash,
    pub(crate) peer_id: PeerId,
    pub(crate) earned: Bytes,
    claimed: Bytes,
    state: ClientState,
    /// What its client heard, newest last, for the story of a difference.
    pub(crate) heard: Vec<String>,
}

/// All sessions of a run.
#[derive(Debug, Default)]
pub(crate) struct Books(Mutex<Vec<Account>>);

impl Books {
    /// Opens a session's account; its number.
    pub(crate) fn open(&self, user: usize, info_hash: InfoHash, peer_id: PeerId) -> usize {
        let mut accounts = self.0.lock();
        let (earned, claimed, state) = (Bytes::default(), Bytes::default(), ClientState::Unheard);
        accounts.push(Account { user, info_hash, peer_id, earned, claimed, state, heard: Vec::new() });
        accounts.len() - 1
    }

    /// An announce worth so much is about to be sent for the first time.
    pub(crate) fn claim(&self, session: usize, gain: Bytes) {
        self.0.lock()[session].claimed += gain;
    }

    /// It was answered.
    pub(crate) fn earn(&self, session: usize, gain: Bytes, state: ClientState) {
        let account = &mut self.0.lock()[session];
        account.earned += gain;
        account.state = state;
    }

    /// Notes what happened to a session.
    pub(crate) fn note(&self, session: usize, line: String) {
        let heard = &mut self.0.lock()[session].heard;
        if heard.len() < LONGEST_STORY {
            heard.push(line);
        }
    }

    /// A user's bytes by what was answered.
    pub(crate) fn earned(&self, user: usize) -> Bytes {
        self.sum(user, |account| account.earned)
    }

    /// The most that a user may have been credited by now.
    pub(crate) fn claimed(&self, user: usize) -> Bytes {
        self.sum(user, |account| account.claimed)
    }

    fn sum(&self, user: usize, figure: fn(&Account) -> Bytes) -> Bytes {
        let mut sum = Bytes::default();
        self.0
            .lock()
            .iter()
            .filter(|account| account.user == user)
            .for_each(|account| sum += figure(account));
        sum
    }

    /// Who of a user's clients stands so.
    pub(crate) fn members(&self, user: usize, state: ClientState) -> Members {
        let mut members = Members::new();
        for account in self.0.lock().iter().filter(|account| account.user == user && account.state == state) {
            members.entry(account.info_hash).or_default().insert(account.peer_id);
        }
        members
    }

    /// A user's sessions.
    pub(crate) fn sessions(&self, user: usize) -> Vec<Account> {
        self.0.lock().iter().filter(|account| account.user == user).cloned().collect()
    }

    pub(crate) fn session_count(&self) -> usize {
        self.0.lock().len()
    }
}
