//! One client's counters, and what an announce of them is worth. Pure.
//!
//! An announce is repeated with the same counters until it is answered, and only then the counters move on.
//! So it makes no difference which of its copies were booked, and what the session has earned is known to the
//! byte.

use contract::{Event, InfoHash, PeerId};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::books::{Bytes, ClientState};

const MIB: u64 = 1 << 20;

/// Whether the clients of a session stay with one tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loyalty {
    OneTracker,
    BothTrackers,
}

/// What an announce is to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The first of all: counting begins at its counters.
    Baseline,
    /// The first after a restart of the client: `started`, and its counters count from 0.
    NewRun,
    GoesOn,
}

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announce {
    pub(crate) part: Part,
    pub(crate) event: Event,
    pub(crate) counters: Bytes,
    pub(crate) left: u64,
}

/// A session: (passkey, info hash, peer id).
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) user: usize,
    pub(crate) info_hash: InfoHash,
    pub(crate) peer_id: PeerId,
    pub(crate) loyalty: Loyalty,
    now: Bytes,
    /// The highest counters of the present run that were answered.
    marks: Bytes,
    left: u64,
    next: Part,
}

impl Session {
    /// A client that appears: with nothing, or after it ran elsewhere.
    pub(crate) fn new(dice: &mut ChaCha8Rng, user: usize, info_hash: InfoHash, loyalty: Loyalty) -> Self {
        let mut peer_id = *b"-CH0001-000000000000";
        peer_id[8..].fill_with(|| dice.random_range(b'a'..=b'z'));
        let ran_before = dice.random_bool(0.3);
        let before = if ran_before { dice.random_range(0..5000 * MIB) } else { 0 };
        let left = if dice.random_bool(0.4) { 0 } else { dice.random_range(MIB..3000 * MIB) };
        let now = Bytes { up: before, down: before / 3 };
        let peer_id = PeerId(peer_id);
        Self { user, info_hash, peer_id, loyalty, now, marks: now, left, next: Part::Baseline }
    }

    /// Some time passes. Nobody finds a client on a private torrent before its first answer.
    pub(crate) fn moves(&mut self, dice: &mut ChaCha8Rng) {
        if self.next != Part::GoesOn {
            return;
        }
        let pace =
            *[0, 4_000, 900_000, 50 * MIB, 4_000 * MIB].get(dice.random_range(0..5usize)).unwrap_or(&0);
        self.now.up += dice.random_range(0..=pace);
        let down = dice.random_range(0..=pace).min(self.left.saturating_sub(1));
        self.now.down += down;
        self.left -= down;
    }

    /// The next announce in the course of things.
    pub(crate) fn announce(&mut self) -> Announce {
        let event = if self.next == Part::GoesOn { Event::None } else { Event::Started };
        self.say(event, self.now)
    }

    /// The download is complete, if there is one. Its counter is reported a little high, as clients do, and
    /// not again; only where one tracker hears both in order.
    pub(crate) fn completes(&mut self, dice: &mut ChaCha8Rng) -> Announce {
        if self.left == 0 || self.next != Part::GoesOn {
            return self.announce();
        }
        self.now.down += self.left;
        self.left = 0;
        let extra = if self.loyalty == Loyalty::OneTracker { dice.random_range(0..MIB) } else { 0 };
        self.say(Event::Completed, Bytes { down: self.now.down + extra, ..self.now })
    }

    pub(crate) fn stops(&mut self) -> Announce {
        if self.next == Part::GoesOn { self.say(Event::Stopped, self.now) } else { self.announce() }
    }

    /// The client crashed, or was closed, and begins again with the same peer id. It may have moved a little
    /// before its first announce: less than before, and less than a MiB, or nobody could tell that it began
    /// again.
    pub(crate) fn restarts(&mut self, dice: &mut ChaCha8Rng) {
        let mut little = |mark: u64| if mark < 2 { 0 } else { dice.random_range(0..mark.min(MIB)) };
        self.now = Bytes { up: little(self.marks.up), down: little(self.marks.down) };
        self.next = if self.next == Part::Baseline { Part::Baseline } else { Part::NewRun };
    }

    fn say(&self, event: Event, counters: Bytes) -> Announce {
        Announce { part: self.next, event, counters, left: self.left }
    }

    /// An announce as the query of a URL.
    pub(crate) fn query(&self, announce: &Announce) -> String {
        let Announce { event, counters: Bytes { up, down }, left, .. } = announce;
        let info_hash: String = self.info_hash.0.iter().map(|byte| format!("%{byte:02x}")).collect();
        let peer_id = String::from_utf8_lossy(&self.peer_id.0);
        let event = if *event == Event::None { "" } else { event.as_str() };
        format!(
            "info_hash={info_hash}&peer_id={peer_id}&port=6881&uploaded={up}&downloaded={down}&left={left}&compact=1\
             &numwant=5&event={event}"
        )
    }

    /// What an announce is worth once it is booked.
    pub(crate) fn gain(&self, announce: &Announce) -> Bytes {
        let Bytes { up, down } = announce.counters;
        match announce.part {
            Part::Baseline => Bytes::default(),
            Part::NewRun => announce.counters,
            Part::GoesOn => {
                Bytes { up: up.saturating_sub(self.marks.up), down: down.saturating_sub(self.marks.down) }
            }
        }
    }

    /// Whether these are the counters that were answered last.
    pub(crate) fn stands_at(&self, counters: Bytes) -> bool {
        self.marks == counters
    }

    /// It was answered.
    pub(crate) fn answered(&mut self, announce: &Announce) {
        let Bytes { up, down } = announce.counters;
        self.marks = match announce.part {
            Part::Baseline | Part::NewRun => announce.counters,
            Part::GoesOn => Bytes { up: up.max(self.marks.up), down: down.max(self.marks.down) },
        };
        self.next = Part::GoesOn;
    }
}

impl Announce {
    /// Where it leaves its client.
    pub(crate) fn state(&self) -> ClientState {
        match (self.event, self.left) {
            (Event::Stopped, _) => ClientState::Gone,
            (_, 0) => ClientState::Seeds,
            _ => ClientState::Leeches,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn session() -> (Session, ChaCha8Rng) {
        let mut dice = ChaCha8Rng::seed_from_u64(1);
        let mut session = Session::new(&mut dice, 0, InfoHash([7; 20]), Loyalty::OneTracker);
        (session.now, session.marks, session.left) = (Bytes { up: 500, down: 100 }, Bytes::default(), 900);
        (session, dice)
    }

    #[test]
    fn a_session_earns_what_it_moved_since_its_baseline_and_in_each_later_run() {
        let (mut session, mut dice) = session();
        let mut total = Bytes::default();
        let mut hear = |session: &mut Session, announce: Announce| {
            total += session.gain(&announce);
            session.answered(&announce);
            total
        };
        let first = session.announce();
        assert_eq!(hear(&mut session, first), Bytes::default());
        session.now.up += 40;
        let next = session.announce();
        assert_eq!(hear(&mut session, next), Bytes { up: 40, down: 0 });
        session.restarts(&mut dice);
        let Bytes { up, down } = session.now;
        let again = session.announce();
        assert_eq!((again.event, again.part), (Event::Started, Part::NewRun));
        assert_eq!(hear(&mut session, again), Bytes { up: 40 + up, down });
    }

    #[test]
    fn a_completed_reported_too_high_is_earned_once() {
        let (mut session, mut dice) = session();
        let first = session.announce();
        session.answered(&first);
        let completed = session.completes(&mut dice);
        let gain = session.gain(&completed);
        assert!(gain.down > 900 && completed.state() == ClientState::Seeds);
        session.answered(&completed);
        let after = session.announce();
        assert!(after.counters.down < completed.counters.down);
        assert_eq!(session.gain(&after), Bytes::default());
    }
}
