//! Verdicts about members (is this passkey or torrent on the list?): a cache that one change of the list in
//! Redis makes stale as a whole.
//!
//! Redis says *that* the set changed, not which member. So a verdict carries the epoch in which its question
//! was *sent*, and counts while that epoch lasts. A change that races with an answer is then always seen:
//! either the answer is already stale when it is stored, or it becomes stale a moment later. Only for an
//! instant ([`GRACE`]) does a stale answer still count, so that a site that adds users all day does not keep
//! announces asking in circles. While Redis is away every verdict counts, and when it is back all are stale:
//! what changed meanwhile is not known.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::Member;

const SHARDS: usize = 64;

/// How long an answer counts although the whitelist changed after it was asked for. Well below the second
/// within which a revocation must be obeyed.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// When a question was sent: read it *before* sending.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    epoch: u64,
    at: Instant,
}

/// What the cache says about somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<M> {
    /// On the list, with the name that traffic is booked on (its own, unless it has an alias).
    Listed(M),
    /// Not on the list, but perhaps an alias of something.
    Unlisted(M),
    /// Not asked yet, or stale.
    Unknown,
}

/// 128 bits of a keyed hash: nobody can aim at a collision, and by chance one among 10^6 users comes once in
/// 10^26 sites.
type Fingerprint = (u64, u64);

#[derive(Debug, Clone)]
struct Entry<M: Member> {
    asked: Asked,
    note: M::Note,
    /// `None`: booked on itself. Boxed, because few members have an alias.
    alias: Option<Box<M>>,
}

#[derive(Debug)]
struct Shard<M: Member> {
    listed: HashMap<Fingerprint, Entry<M>>,
    unlisted: HashMap<Fingerprint, Entry<M>>,
}

impl<M: Member> Default for Shard<M> {
    fn default() -> Self {
        Self { listed: HashMap::new(), unlisted: HashMap::new() }
    }
}

/// The cache. Shared between the hook and the task that asks Redis.
#[derive(Debug)]
pub struct Verdicts<M: Member> {
    shards: Box<[Mutex<Shard<M>>]>,
    /// With a key drawn for this cache.
    hasher: SipHasher13,
    epoch: AtomicU64,
    /// Until the first connection, and while Redis is away: no revocation there could be learnt of, so
    /// verdicts stay in force.
    frozen: AtomicBool,
    /// Redis answered at least once, so that there may be known members.
    reached: AtomicBool,
}

impl<M: Member> Default for Verdicts<M> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: SipHasher13::new_with_keys(rand::random(), rand::random()),
            epoch: AtomicU64::new(0),
            frozen: AtomicBool::new(true),
            reached: AtomicBool::new(false),
        }
    }
}

impl<M: Member> Verdicts<M> {
    /// What is known now. `now` is asked for only when a verdict is stale.
    #[must_use]
    pub fn look(&self, member: &M, now: impl Fn() -> Instant) -> Known<M> {
        self.look_with_note(member, now).0
    }

    /// The same with the note on the name that traffic is booked on.
    #[must_use]
    pub fn look_with_note(&self, member: &M, now: impl Fn() -> Instant) -> (Known<M>, Option<M::Note>) {
        let fingerprint = self.fingerprint(member);
        let shard = self.shard(fingerprint).lock();
        let fresh = |entry: &&Entry<M>| self.counts(entry.asked, &now);
        let name = |entry: &Entry<M>| entry.alias.as_deref().copied().unwrap_or(*member);
        if let Some(entry) = shard.listed.get(&fingerprint).filter(fresh) {
            return (Known::Listed(name(entry)), Some(entry.note));
        }
        match shard.unlisted.get(&fingerprint).filter(fresh) {
            Some(entry) => (Known::Unlisted(name(entry)), Some(entry.note)),
            None => (Known::Unknown, None),
        }
    }

    /// The stamp for a question that is about to be sent.
    #[must_use]
    pub fn asking(&self, now: Instant) -> Asked {
        Asked { epoch: self.epoch.load(Ordering::Acquire), at: now }
    }

    pub(crate) fn learn(&self, member: &M, listed: bool, alias: Option<M>, asked: Asked) {
        let fingerprint = self.fingerprint(member);
        let note = alias.as_ref().unwrap_or(member).note();
        let entry = Entry { asked, note, alias: alias.map(Box::new) };
        let mut shard = self.shard(fingerprint).lock();
        if listed {
            shard.unlisted.remove(&fingerprint);
            shard.listed.insert(fingerprint, entry);
        } else {
            shard.listed.remove(&fingerprint);
            if shard.unlisted.len() >= M::MAX_UNLISTED / SHARDS {
                shard.unlisted.clear();
            }
            shard.unlisted.insert(fingerprint, entry);
        }
    }

    /// The list changed: every verdict is stale.
    pub fn invalidate(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Redis went away: what is known stays in force until it is back.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::Release);
    }

    /// Redis is back and will tell of changes from now on; what changed meanwhile is not known, so all is
    /// stale.
    pub fn thaw(&self) {
        self.invalidate();
        self.frozen.store(false, Ordering::Release);
        self.reached.store(true, Ordering::Release);
    }

    /// Whether Redis never answered: nothing can be known.
    #[must_use]
    pub fn knows_nothing(&self) -> bool {
        !self.reached.load(Ordering::Acquire)
    }

    #[must_use]
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    fn counts(&self, asked: Asked, now: impl Fn() -> Instant) -> bool {
        asked.epoch == self.epoch.load(Ordering::Acquire)
            || self.is_frozen()
            || now().saturating_duration_since(asked.at) < GRACE
    }

    fn fingerprint(&self, member: &M) -> Fingerprint {
        let mut hasher = self.hasher;
        member.hash(&mut hasher);
        hasher.finish128().as_u64()
    }

    fn shard(&self, fingerprint: Fingerprint) -> &Mutex<Shard<M>> {
        &self.shards[usize::try_from(fingerprint.1 % SHARDS as u64).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::UserTag;
    use contract::Passkey;

    fn passkey(text: &str) -> Passkey {
        text.parse().unwrap()
    }

    struct Scene {
        verdicts: Verdicts<Passkey>,
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

        fn later(&self, text: &str) -> Known<Passkey> {
            self.verdicts.look(&passkey(text), || self.start + GRACE)
        }
    }

    #[test]
    fn an_answer_counts_until_the_list_changes() {
        let scene = Scene::new();
        assert_eq!(scene.later("a"), Known::Unknown);
        scene.learn("a", true);
        scene.learn("b", false);
        assert_eq!(scene.later("a"), Known::Listed(passkey("a")));
        assert_eq!(scene.later("b"), Known::Unlisted(passkey("b")));
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
        assert_eq!(scene.verdicts.look(&passkey("a"), || scene.start), Known::Listed(passkey("a")));
        assert_eq!(scene.later("a"), Known::Unknown);
    }

    #[test]
    fn while_redis_is_away_known_users_stay_known_and_after_it_everybody_is_asked_again() {
        let scene = Scene::new();
        scene.learn("a", true);
        scene.verdicts.freeze();
        scene.verdicts.invalidate();
        assert_eq!(scene.later("a"), Known::Listed(passkey("a")));
        scene.verdicts.thaw();
        assert_eq!(scene.later("a"), Known::Unknown);
    }

    #[test]
    fn an_alias_books_on_the_canonical_passkey() {
        let scene = Scene::new();
        let asked = scene.verdicts.asking(scene.start);
        scene.verdicts.learn(&passkey("old"), true, Some(passkey("new")), asked);
        assert_eq!(scene.later("old"), Known::Listed(passkey("new")));
        let (_, tag) = scene.verdicts.look_with_note(&passkey("old"), || scene.start);
        assert_eq!(tag, Some(UserTag::of(&passkey("new"))));
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let scene = Scene::new();
        for n in 0..100_000 {
            scene.learn(&format!("stranger-{n}"), false);
        }
        let held: usize = scene.verdicts.shards.iter().map(|shard| shard.lock().unlisted.len()).sum();
        assert!(held <= Passkey::MAX_UNLISTED);
    }
}
