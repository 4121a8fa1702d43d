//! The site's answers about passkeys, yes and no, each remembered for its own time. Pure: the time is passed
//! in.

use std::time::{Duration, Instant};

use contract::Passkey;
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::MOMENT;

/// Approved users remembered at most: a site has fewer.
const MAX_APPROVED: usize = 1 << 20;
/// Strangers remembered at most: random names must not fill the memory.
const MAX_REFUSED: usize = 1 << 16;

/// How long an approval from before stands while the site is away, until it is asked about again.
const OUTAGE: Duration = Duration::from_secs(30);

/// What the site wants to hear again in this user's traffic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// Film id.
    pub fd: Option<String>,
    /// Playlist id.
    pub pd: Option<String>,
}

impl Extras {
    /// These, and the other's where these say nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { fd: self.fd.or(other.fd), pd: self.pd.or(other.pd) }
    }
}

/// The site's word about a passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opinion {
    /// May announce.
    Approved(Extras),
    /// May not.
    Refused,
}

/// How long answers count. Less than a moment is a moment: whoever waited for an answer must get to see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of an approval.
    pub approved: Duration,
    /// Of a refusal.
    pub refused: Duration,
}

/// The answers. Shared between the hook and the task that asks.
#[derive(Debug)]
pub struct Answers {
    lifetimes: Lifetimes,
    shelves: Mutex<Shelves>,
}

#[derive(Debug, Default)]
struct Shelves {
    /// Kept beyond its time, until the room is needed: who was approved before may matter while the site is
    /// away.
    approved: HashMap<Passkey, (Extras, Instant)>,
    refused: HashMap<Passkey, Instant>,
}

impl Answers {
    #[must_use]
    pub(crate) fn new(lifetimes: Lifetimes) -> Self {
        Self { lifetimes, shelves: Mutex::default() }
    }

    /// What counts now; `None` when the site has to be asked.
    #[must_use]
    pub fn look(&self, passkey: &Passkey, now: Instant) -> Option<Opinion> {
        let shelves = self.shelves.lock();
        if let Some((extras, _)) = shelves.approved.get(passkey).filter(|(_, until)| now < *until) {
            return Some(Opinion::Approved(extras.clone()));
        }
        shelves.refused.get(passkey).filter(|until| now < **until).map(|_| Opinion::Refused)
    }

    /// Stores what the site said.
    pub fn learn(&self, passkey: Passkey, opinion: Opinion, now: Instant) {
        let mut shelves = self.shelves.lock();
        match opinion {
            Opinion::Approved(extras) => {
                shelves.refused.remove(&passkey);
                make_room(&mut shelves.approved, MAX_APPROVED, |(_, until)| now < *until);
                shelves.approved.insert(passkey, (extras, now + self.lifetimes.approved.max(MOMENT)));
            }
            Opinion::Refused => {
                shelves.approved.remove(&passkey);
                make_room(&mut shelves.refused, MAX_REFUSED, |until| now < *until);
                shelves.refused.insert(passkey, now + self.lifetimes.refused.max(MOMENT));
            }
        }
    }

    /// Lets an approval from before count a while longer; `false` when there is none.
    pub fn prolong(&self, passkey: &Passkey, now: Instant) -> bool {
        let mut shelves = self.shelves.lock();
        let Some((_, until)) = shelves.approved.get_mut(passkey) else { return false };
        *until = (*until).max(now + OUTAGE);
        true
    }
}

/// Drops what no longer counts when a shelf is full, and everything when that is not enough: the site is
/// asked again.
fn make_room<V>(shelf: &mut HashMap<Passkey, V>, limit: usize, counts: impl Fn(&V) -> bool) {
    if shelf.len() < limit {
        return;
    }
    shelf.retain(|_, value| counts(value));
    if shelf.len() > limit / 2 {
        shelf.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passkey(text: &str) -> Passkey {
        text.parse().unwrap()
    }

    fn answers(approved: u64, refused: u64) -> Answers {
        let lifetime = Duration::from_secs;
        Answers::new(Lifetimes { approved: lifetime(approved), refused: lifetime(refused) })
    }

    fn yes() -> Opinion {
        Opinion::Approved(Extras { fd: Some("17".into()), pd: None })
    }

    #[test]
    fn each_answer_counts_for_its_own_time() {
        let (answers, start) = (answers(60, 30), Instant::now());
        answers.learn(passkey("a"), yes(), start);
        answers.learn(passkey("b"), Opinion::Refused, start);
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(answers.look(&passkey("a"), later(59)), Some(yes()));
        assert_eq!(answers.look(&passkey("a"), later(60)), None);
        assert_eq!(answers.look(&passkey("b"), later(29)), Some(Opinion::Refused));
        assert_eq!(answers.look(&passkey("b"), later(30)), None);
        assert_eq!(answers.look(&passkey("c"), start), None);
    }

    #[test]
    fn an_answer_that_is_not_to_be_remembered_still_reaches_those_who_waited() {
        let (answers, start) = (answers(0, 0), Instant::now());
        answers.learn(passkey("a"), yes(), start);
        assert_eq!(answers.look(&passkey("a"), start + MOMENT / 2), Some(yes()));
        assert_eq!(answers.look(&passkey("a"), start + MOMENT), None);
    }

    #[test]
    fn the_last_word_counts() {
        let (answers, start) = (answers(60, 60), Instant::now());
        answers.learn(passkey("a"), yes(), start);
        answers.learn(passkey("a"), Opinion::Refused, start);
        assert_eq!(answers.look(&passkey("a"), start), Some(Opinion::Refused));
        assert!(!answers.prolong(&passkey("a"), start), "a refusal ends what was approved before");
        answers.learn(passkey("a"), yes(), start);
        assert_eq!(answers.look(&passkey("a"), start), Some(yes()));
    }

    #[test]
    fn an_approval_from_before_can_be_prolonged_after_it_ran_out() {
        let (answers, start) = (answers(60, 30), Instant::now());
        answers.learn(passkey("a"), yes(), start);
        let later = start + Duration::from_secs(3600);
        assert!(answers.prolong(&passkey("a"), later));
        assert_eq!(answers.look(&passkey("a"), later), Some(yes()));
        assert_eq!(answers.look(&passkey("a"), later + OUTAGE), None);
        assert!(!answers.prolong(&passkey("b"), later));
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let (answers, start) = (answers(60, 30), Instant::now());
        for n in 0..3 * MAX_REFUSED {
            answers.learn(passkey(&format!("stranger-{n}")), Opinion::Refused, start);
        }
        assert!(answers.shelves.lock().refused.len() <= MAX_REFUSED);
    }
}
