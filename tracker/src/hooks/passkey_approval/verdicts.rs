//! What is known about passkeys: a cache that one change of the whitelist makes stale as a whole.
//!
//! Redis says *that* the set changed, not which member. So a verdict carries the epoch in which its question was *sent*, and
//! counts while that epoch lasts. A change that races with an answer is then always seen: either the answer is already
//! stale when it is stored, or it becomes stale a moment later. Only for an instant ([`GRACE`]) does a stale answer still
//! count, so that a site that adds users all day does not keep announces asking in circles.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use contract::Passkey;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::announce::UserTag;

const SHARDS: usize = 64;

/// More strangers than this are forgotten and asked about again: random passkeys must not fill the memory.
const MAX_UNAPPROVED_PER_SHARD: usize = 1024;

/// How long an answer counts although the whitelist changed after it was asked for. Well below the second within which a
/// revocation must be obeyed.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// When a question was sent: read it *before* sending.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    epoch: u64,
    at: Instant,
}

/// What the cache says about a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// On the whitelist, with the passkey its traffic is booked on (itself, unless it has an alias).
    Approved(Passkey),
    /// Not on the whitelist.
    Unapproved,
    /// Not asked yet, or stale.
    Unknown,
}

/// 128 bits of two keyed hashes: nobody can aim at a collision, and by chance one among 10^6 users comes once in 10^26 sites.
type Fingerprint = (u64, u64);

#[derive(Debug, Clone)]
struct Entry {
    asked: Asked,
    /// `None`: booked on itself. Boxed, because few passkeys have an alias.
    alias: Option<Box<Passkey>>,
}

#[derive(Debug, Default)]
struct Shard {
    approved: HashMap<Fingerprint, Entry>,
    unapproved: HashMap<Fingerprint, Asked>,
}

/// The cache. Shared between the hook and the task that asks Redis.
#[derive(Debug)]
pub struct Verdicts {
    shards: Box<[Mutex<Shard>]>,
    keys: (RandomState, RandomState),
    epoch: AtomicU64,
    /// Until the first connection, and while Redis is away: nothing can have been revoked there that we could learn of: verdicts stay in force.
    frozen: AtomicBool,
}

impl Default for Verdicts {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            keys: (RandomState::new(), RandomState::new()),
            epoch: AtomicU64::new(0),
            frozen: AtomicBool::new(true),
        }
    }
}

impl Verdicts {
    /// What is known now.
    #[must_use]
    pub fn look(&self, passkey: &Passkey, now: Instant) -> Known {
        let fingerprint = self.fingerprint(passkey);
        let shard = self.shard(fingerprint).lock();
        match shard.approved.get(&fingerprint) {
            Some(entry) if self.counts(entry.asked, now) => {
                Known::Approved(entry.alias.as_deref().copied().unwrap_or(*passkey))
            }
            Some(_) => Known::Unknown,
            None => match shard.unapproved.get(&fingerprint) {
                Some(asked) if self.counts(*asked, now) => Known::Unapproved,
                _ => Known::Unknown,
            },
        }
    }

    /// The user's tag in swarms and logs.
    #[must_use]
    pub fn tag(&self, passkey: &Passkey) -> UserTag {
        UserTag(NonZeroU64::new(self.fingerprint(passkey).0).unwrap_or(NonZeroU64::MIN))
    }

    /// The stamp for a question that is about to be sent.
    #[must_use]
    pub fn asking(&self, now: Instant) -> Asked {
        Asked { epoch: self.epoch.load(Ordering::Acquire), at: now }
    }

    /// Stores an answer.
    pub fn learn(&self, passkey: &Passkey, approved: bool, alias: Option<Passkey>, asked: Asked) {
        let fingerprint = self.fingerprint(passkey);
        let mut shard = self.shard(fingerprint).lock();
        if approved {
            shard.unapproved.remove(&fingerprint);
            shard.approved.insert(fingerprint, Entry { asked, alias: alias.map(Box::new) });
        } else {
            shard.approved.remove(&fingerprint);
            if shard.unapproved.len() >= MAX_UNAPPROVED_PER_SHARD {
                shard.unapproved.clear();
            }
            shard.unapproved.insert(fingerprint, asked);
        }
    }

    /// The whitelist changed: every verdict is stale.
    pub fn invalidate(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Redis went away: what is known stays in force until it is back.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::Release);
    }

    /// Redis is back and will tell of changes from now on; what changed meanwhile is not known, so all is stale.
    pub fn thaw(&self) {
        self.invalidate();
        self.frozen.store(false, Ordering::Release);
    }

    /// Whether Redis is away.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    fn counts(&self, asked: Asked, now: Instant) -> bool {
        asked.epoch == self.epoch.load(Ordering::Acquire)
            || self.is_frozen()
            || now.saturating_duration_since(asked.at) < GRACE
    }

    fn fingerprint(&self, passkey: &Passkey) -> Fingerprint {
        (self.keys.0.hash_one(passkey), self.keys.1.hash_one(passkey))
    }

    fn shard(&self, fingerprint: Fingerprint) -> &Mutex<Shard> {
        &self.shards[usize::try_from(fingerprint.1 % SHARDS as u64).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passkey(text: &str) -> Passkey {
        text.parse().unwrap()
    }

    struct Scene {
        verdicts: Verdicts,
        start: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let verdicts = Verdicts::default();
            verdicts.thaw();
            Self { verdicts, start: Instant::now() }
        }

        fn learn(&self, text: &str, approved: bool) {
            self.verdicts.learn(&passkey(text), approved, None, self.verdicts.asking(self.start));
        }

        fn later(&self, text: &str) -> Known {
            self.verdicts.look(&passkey(text), self.start + GRACE)
        }
    }

    #[test]
    fn an_answer_counts_until_the_whitelist_changes() {
        let scene = Scene::new();
        assert_eq!(scene.later("a"), Known::Unknown);
        scene.learn("a", true);
        scene.learn("b", false);
        assert_eq!(scene.later("a"), Known::Approved(passkey("a")));
        assert_eq!(scene.later("b"), Known::Unapproved);
        scene.verdicts.invalidate();
        assert_eq!(scene.later("a"), Known::Unknown);
        assert_eq!(scene.later("b"), Known::Unknown);
    }

    #[test]
    fn a_change_between_question_and_answer_makes_the_answer_stale_after_the_grace() {
        let scene = Scene::new();
        let asked = scene.verdicts.asking(scene.start);
        scene.verdicts.invalidate();
        scene.verdicts.learn(&passkey("a"), true, None, asked);
        assert_eq!(scene.verdicts.look(&passkey("a"), scene.start), Known::Approved(passkey("a")));
        assert_eq!(scene.later("a"), Known::Unknown);
    }

    #[test]
    fn while_redis_is_away_known_users_stay_known_and_after_it_everybody_is_asked_again() {
        let scene = Scene::new();
        scene.learn("a", true);
        scene.verdicts.freeze();
        scene.verdicts.invalidate();
        assert_eq!(scene.later("a"), Known::Approved(passkey("a")));
        scene.verdicts.thaw();
        assert_eq!(scene.later("a"), Known::Unknown);
    }

    #[test]
    fn an_alias_books_on_the_canonical_passkey() {
        let scene = Scene::new();
        let asked = scene.verdicts.asking(scene.start);
        scene.verdicts.learn(&passkey("old"), true, Some(passkey("new")), asked);
        assert_eq!(scene.later("old"), Known::Approved(passkey("new")));
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let scene = Scene::new();
        for n in 0..100_000 {
            scene.learn(&format!("stranger-{n}"), false);
        }
        let held: usize = scene.verdicts.shards.iter().map(|shard| shard.lock().unapproved.len()).sum();
        assert!(held <= SHARDS * MAX_UNAPPROVED_PER_SHARD);
    }
}
