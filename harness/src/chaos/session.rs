//! One client and one torrent: its runs, its counters, and what each of its paths says next. Pure.
//!
//! It does what libtorrent does: one announce at a time on each path, `started` there until that is answered,
//! counters that move on meanwhile, `stopped` on every path that had an answer, and a new run with counters
//! from zero under the same peer id. It knows nothing of what became of an announce but its answer.

use std::sync::Arc;

use contract::{Event, PeerId};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use crate::announce::{Announce, Bytes};
use crate::books::ClientState;
use crate::torrent::Torrent;

const MIB: u64 = 1 << 20;

/// How far two paths of one client differ at most, as the trackers are told (`path_skew`): more than any
/// client here waits for an answer.
pub(crate) const SKEW_MS: u64 = 5_000;
/// A run of less than a skew, or a pause of less where some path was not heard all along, leaves open
/// which path's `started` belongs to which run.
const LONG_MS: u64 = SKEW_MS + 1_000;
/// How long a client that stops waits for the answers on all its paths.
const STOP_PATIENCE_MS: u64 = 8_000;
/// Runs under one peer id. Each `started` on each path is a beginning, repeated ones too; a session with too
/// many of them begins anew, and what it moves meanwhile is not claimed.
const MOST_RUNS: usize = 4;
/// Bytes a millisecond. A download that moves at all moves more than a MiB in a run.
const SPEEDS: [u64; 4] = [0, 1_000, 9_000, 60_000];

/// How a client uses its paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// All of them at once, as libtorrent does.
    Everywhere,
    /// One, and at once the next when there is no answer.
    FirstThatAnswers,
}

/// Where a client is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// It said `stopped`, or wants to, since then.
    Stopping {
        since: u64,
    },
    Paused {
        until: u64,
    },
    /// Its counters stand, and it repeats them until every path has answered.
    LastWords,
}

/// What becomes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    /// It was killed: what was under way is dropped, and it will run again with the same peer id.
    Crashed,
    /// Nobody hears of it any more.
    Left,
}

/// One path in one run. Times are milliseconds since the chaos began.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    first_answer: Option<u64>,
    last_answer: Option<u64>,
    /// Its last word of this run, or of all, was answered.
    done: bool,
    busy: bool,
    due: u64,
}

/// A session: (passkey, info hash, peer id).
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) torrent: Arc<Torrent>,
    pub(crate) peer_id: PeerId,
    habit: Habit,
    /// The mean time between two announces of one path.
    pace_ms: u64,
    ways: Vec<Way>,
    /// The path that a client with one at a time asks now.
    favourite: usize,
    phase: Phase,
    run: usize,
    /// Counters and bytes left as the run began.
    began_with: Bytes,
    left: u64,
    /// When the first answer of the run came. Nobody finds a client on a private torrent before that.
    moving_since: Option<u64>,
    frozen_at: Option<u64>,
    /// When the latest of its announces was said that was answered in this run.
    latest: Option<u64>,
    /// How long the run lasts after its first answer.
    length: u64,
    speed: Bytes,
    completed: bool,
    /// Announces without an answer, one after the other.
    failures: usize,
    /// It leaves when it has stopped.
    leaves: bool,
    /// It is told to come to an end.
    ending: bool,
}

impl Session {
    /// A client that appears: with nothing, or after it ran elsewhere.
    pub(crate) fn new(
        dice: &mut ChaCha8Rng,
        torrent: Arc<Torrent>,
        paths: usize,
        (now, pace_ms): (u64, u64),
    ) -> Self {
        let mut peer_id = *b"-CH0002-000000000000";
        peer_id[8..].fill_with(|| dice.random_range(b'a'..=b'z'));
        let ran_before = if dice.random_bool(0.2) { dice.random_range(0..5000 * MIB) } else { 0 };
        let left = if dice.random_bool(0.4) { 0 } else { dice.random_range(8 * MIB..1500 * MIB) };
        let habit = if dice.random_bool(0.6) { Habit::Everywhere } else { Habit::FirstThatAnswers };
        let pace_ms = if habit == Habit::Everywhere { pace_ms * paths as u64 } else { pace_ms };
        let mut session = Self {
            torrent,
            peer_id: PeerId(peer_id),
            habit,
            pace_ms,
            ways: vec![Way::default(); paths],
            favourite: 0,
            phase: Phase::Running,
            run: 0,
            began_with: Bytes { up: ran_before, down: ran_before / 3 },
            left,
            moving_since: None,
            frozen_at: None,
            latest: None,
            length: 0,
            speed: Bytes::default(),
            completed: false,
            failures: 0,
            leaves: false,
            ending: false,
        };
        session.draw_run(dice, now);
        session
    }

    /// The counters with which it appeared.
    pub(crate) fn baseline(&self) -> Bytes {
        self.began_with
    }

    fn draw_run(&mut self, dice: &mut ChaCha8Rng, now: u64) {
        for way in &mut self.ways {
            *way = Way { busy: way.busy, due: now + dice.random_range(0..=150), ..Way::default() };
        }
        let mut speed = || *SPEEDS.choose(dice).unwrap_or(&0);
        self.speed = Bytes { up: speed(), down: speed() };
        self.length = LONG_MS + dice.random_range(0..25_000);
        (self.moving_since, self.frozen_at, self.latest) = (None, None, None);
        self.phase = Phase::Running;
    }

    fn counters(&self, now: u64) -> Bytes {
        let end = self.frozen_at.unwrap_or(now);
        let lived = self.moving_since.map_or(0, |since| end.saturating_sub(since));
        let (up, down) = (self.speed.up * lived, (self.speed.down * lived).min(self.left));
        Bytes { up: self.began_with.up + up, down: self.began_with.down + down }
    }

    fn left_at(&self, now: u64) -> u64 {
        self.left - (self.counters(now).down - self.began_with.down)
    }

    /// When somebody should look again.
    pub(crate) fn wakes_at(&self) -> u64 {
        let life = match self.phase {
            Phase::Running if self.ending => self.moving_since.map_or(u64::MAX, |since| since + LONG_MS),
            Phase::Running => self.moving_since.map_or(u64::MAX, |since| since + self.length),
            Phase::Stopping { since } => since + STOP_PATIENCE_MS,
            Phase::Paused { until } => until,
            Phase::LastWords => u64::MAX,
        };
        self.speaking().map(|way| self.ways[way].due).min().unwrap_or(u64::MAX).min(life)
    }

    /// The paths that have something to say and nothing under way.
    fn speaking(&self) -> impl Iterator<Item = usize> {
        let speaks = |way: &Way, at: usize| match self.phase {
            Phase::Paused { .. } => false,
            // Every path of the run is told that it stopped.
            Phase::Stopping { .. } => way.first_answer.is_some() && !way.done,
            Phase::Running | Phase::LastWords => {
                !way.done && (self.habit == Habit::Everywhere || at == self.favourite)
            }
        };
        (0..self.ways.len()).filter(move |at| !self.ways[*at].busy && speaks(&self.ways[*at], *at))
    }

    /// A path that announces now.
    pub(crate) fn due(&self, now: u64) -> Option<usize> {
        self.speaking().find(|way| self.ways[*way].due <= now)
    }

    /// What this path says. Nothing else is said there until [`Session::hears`].
    pub(crate) fn says(&mut self, dice: &mut ChaCha8Rng, way: usize, now: u64) -> Announce {
        self.ways[way].busy = true;
        let (mut counters, left) = (self.counters(now), self.left_at(now));
        let event = match self.phase {
            _ if self.ways[way].first_answer.is_none() => Event::Started,
            Phase::Stopping { .. } => Event::Stopped,
            _ if left == 0 && self.left > 0 && !self.completed => Event::Completed,
            _ => Event::None,
        };
        if event == Event::Completed {
            // Clients report this one a little high, and not again.
            counters.down += dice.random_range(0..MIB);
        }
        let is_last = event == Event::Stopped || self.phase == Phase::LastWords;
        Announce { run: self.run, event, counters, left, said: now, is_last }
    }

    /// What became of it.
    pub(crate) fn hears(
        &mut self,
        dice: &mut ChaCha8Rng,
        way: usize,
        announce: &Announce,
        (answered, now): (bool, u64),
    ) {
        self.ways[way].busy = false;
        if announce.run != self.run {
            // Of a run that is over: now this path may say that it began another one.
            self.ways[way].due = now;
        } else if answered {
            self.is_answered(dice, way, announce, now);
        } else {
            self.is_not_answered(dice, way, now);
        }
    }

    fn is_answered(&mut self, dice: &mut ChaCha8Rng, at: usize, announce: &Announce, now: u64) {
        self.moving_since.get_or_insert(now);
        self.failures = 0;
        self.latest = self.latest.max(Some(announce.said));
        self.completed |= announce.event == Event::Completed;
        let way = &mut self.ways[at];
        way.first_answer.get_or_insert(now);
        way.last_answer = Some(now);
        way.done |= announce.is_last;
        let soon = if self.phase == Phase::Running { self.pace_ms } else { 0 };
        let due = now + soon * dice.random_range(30..170) / 100;
        way.due = due;
        if self.habit == Habit::FirstThatAnswers && dice.random_bool(0.1) {
            self.asks_next(due, at);
        }
    }

    /// Whoever asks one tracker at a time asks the next one at once.
    fn is_not_answered(&mut self, dice: &mut ChaCha8Rng, at: usize, now: u64) {
        self.failures += 1;
        let asked_all = self.failures.is_multiple_of(self.ways.len());
        if self.habit == Habit::FirstThatAnswers && !asked_all {
            self.ways[at].due = now + dice.random_range(0..=30);
            self.asks_next(self.ways[at].due, at);
        } else {
            self.ways[at].due = now + dice.random_range(200..=900);
            if self.habit == Habit::FirstThatAnswers {
                self.asks_next(self.ways[at].due, at);
            }
        }
    }

    fn asks_next(&mut self, due: u64, after: usize) {
        self.favourite = (after + 1) % self.ways.len();
        self.ways[self.favourite].due = due;
    }

    /// Goes on with its life.
    pub(crate) fn lives(&mut self, dice: &mut ChaCha8Rng, now: u64) -> Change {
        match self.phase {
            Phase::Running => self.ends_its_run(dice, now),
            Phase::Stopping { since } => self.pauses(dice, since, now),
            Phase::Paused { until } if until <= now => self.runs_again(dice, now),
            Phase::Paused { .. } | Phase::LastWords => Change::Nothing,
        }
    }

    fn ends_its_run(&mut self, dice: &mut ChaCha8Rng, now: u64) -> Change {
        let Some(lived) = self.moving_since.map(|since| now.saturating_sub(since)) else {
            return Change::Nothing;
        };
        if self.ending && lived >= LONG_MS {
            self.falls_silent(Phase::LastWords, now);
        }
        if self.ending || lived < self.length {
            return Change::Nothing;
        }
        // Of a run that nobody heard for longer than a skew the paths' order stays open.
        let is_known = self.latest.zip(self.moving_since).is_some_and(|(said, since)| said > since + LONG_MS);
        if !is_known {
            self.length += 500;
            return Change::Nothing;
        }
        let is_last = self.run + 1 >= MOST_RUNS;
        match dice.random_range(0..100) {
            0..65 => {
                self.leaves = dice.random_bool(0.25) || is_last;
                self.falls_silent(Phase::Stopping { since: now }, now);
                Change::Nothing
            }
            65..85 if !is_last => {
                self.phase = Phase::Paused { until: now + self.pause(dice) };
                self.frozen_at = Some(now);
                self.ways.iter_mut().for_each(|way| way.busy = false);
                Change::Crashed
            }
            _ => Change::Left,
        }
    }

    /// Its counters stand from now on.
    fn falls_silent(&mut self, phase: Phase, now: u64) {
        (self.phase, self.frozen_at) = (phase, Some(now));
        self.ways.iter_mut().for_each(|way| way.due = now);
    }

    /// All paths of the run know that it stopped, or it has waited long enough.
    fn pauses(&mut self, dice: &mut ChaCha8Rng, since: u64, now: u64) -> Change {
        let told = self.ways.iter().all(|way| way.first_answer.is_none() || way.done);
        let waits = self.ending || !self.ways.iter().any(|way| way.done);
        if !told && (waits || now < since + STOP_PATIENCE_MS) {
            if now >= since + STOP_PATIENCE_MS {
                self.phase = Phase::Stopping { since: now };
            }
            return Change::Nothing;
        }
        self.phase = Phase::Paused { until: now + self.pause(dice) };
        if self.leaves { Change::Left } else { Change::Nothing }
    }

    /// How long it pauses: see [`LONG_MS`].
    fn pause(&self, dice: &mut ChaCha8Rng) -> u64 {
        let span = |way: &Way| Some(way.last_answer? - way.first_answer?);
        let heard_all_along = |way: &Way| span(way).is_some_and(|span| span > LONG_MS);
        if self.ways.len() == 1 || self.ways.iter().all(heard_all_along) {
            dice.random_range(200..3_000)
        } else {
            LONG_MS + dice.random_range(0..2_000)
        }
    }

    fn runs_again(&mut self, dice: &mut ChaCha8Rng, now: u64) -> Change {
        self.left = self.left_at(now);
        (self.run, self.began_with) = (self.run + 1, Bytes::default());
        self.draw_run(dice, now);
        Change::Nothing
    }

    /// From now on it only says its last words.
    pub(crate) fn ends(&mut self) {
        self.ending = true;
    }

    /// Whether it has said its last words, and been answered.
    pub(crate) fn is_over(&self) -> bool {
        let answered = match (self.phase, self.habit) {
            (Phase::Paused { .. }, _) => true,
            (Phase::LastWords, Habit::Everywhere) => self.ways.iter().all(|way| way.done),
            (Phase::LastWords, Habit::FirstThatAnswers) => self.ways.iter().any(|way| way.done),
            (Phase::Running | Phase::Stopping { .. }, _) => false,
        };
        self.ending && answered && self.ways.iter().all(|way| !way.busy)
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

    fn session(paths: usize, habit: Habit) -> (Session, ChaCha8Rng) {
        let mut dice = ChaCha8Rng::seed_from_u64(1);
        let torrent = Arc::new(Torrent::plain());
        let mut session = Session::new(&mut dice, torrent, paths, (0, 1_000));
        (session.habit, session.speed, session.left) = (habit, Bytes { up: 10, down: 0 }, 0);
        session.ways.iter_mut().for_each(|way| way.due = 0);
        (session, dice)
    }

    fn says(session: &mut Session, dice: &mut ChaCha8Rng, way: usize, now: u64, answered: bool) -> Announce {
        let announce = session.says(dice, way, now);
        session.hears(dice, way, &announce, (answered, now + 1));
        announce
    }

    #[test]
    fn each_path_says_started_until_it_is_answered_and_counters_move_on_meanwhile() {
        let (mut session, mut dice) = session(2, Habit::Everywhere);
        let first = says(&mut session, &mut dice, 0, 0, false);
        let again = says(&mut session, &mut dice, 0, 500, true);
        assert_eq!((first.event, again.event), (Event::Started, Event::Started));
        assert_eq!(again.counters, first.counters, "nobody finds it before its first answer");
        let late = says(&mut session, &mut dice, 1, 1_501, false);
        let later = says(&mut session, &mut dice, 1, 2_501, true);
        assert_eq!((late.event, later.event), (Event::Started, Event::Started));
        assert_eq!(later.counters.up - first.counters.up, 20_000);
        assert_eq!(says(&mut session, &mut dice, 0, 3_000, true).event, Event::None);
    }

    #[test]
    fn whoever_asks_one_tracker_at_a_time_asks_the_next_one_at_once() {
        let (mut session, mut dice) = session(3, Habit::FirstThatAnswers);
        assert_eq!(session.due(0), Some(0));
        says(&mut session, &mut dice, 0, 0, false);
        assert_eq!(session.due(31), Some(1));
        says(&mut session, &mut dice, 1, 31, true);
        assert_eq!(session.due(40), None);
    }

    #[test]
    fn its_last_words_are_said_until_every_path_has_answered() {
        let (mut session, mut dice) = session(2, Habit::Everywhere);
        says(&mut session, &mut dice, 0, 0, true);
        session.ends();
        assert_eq!(session.lives(&mut dice, LONG_MS + 10), Change::Nothing);
        let last = says(&mut session, &mut dice, 0, LONG_MS + 20, true);
        assert!(!session.is_over());
        let other = says(&mut session, &mut dice, 1, LONG_MS + 90, true);
        assert_eq!((last.counters, other.event), (other.counters, Event::Started));
        assert!(session.is_over());
    }

    #[test]
    fn a_run_begins_from_nothing_under_the_same_peer_id() {
        let (mut session, mut dice) = session(1, Habit::Everywhere);
        let before = says(&mut session, &mut dice, 0, 0, true);
        session.phase = Phase::Paused { until: 9_000 };
        session.lives(&mut dice, 9_000);
        let after = says(&mut session, &mut dice, 0, 9_500, true);
        assert_eq!((after.run, after.event, after.counters), (1, Event::Started, Bytes::default()));
        assert_eq!(before.run, 0);
    }
}
