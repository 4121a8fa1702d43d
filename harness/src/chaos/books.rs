//! The truth: what the clients said and what they were told, kept by the clients themselves.
//!
//! A run's bytes are its highest counter. What was said is the most that the ledger may hold of it at any
//! time; what was answered is the least that it must hold in the end. Where a client's last announce of a
//! run was answered the two are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::sync::Arc;

use contract::{Event, InfoHash, PeerId};
use parking_lot::Mutex;

use crate::announce::{Announce, Bytes};
use crate::torrent::Torrent;

/// Lines kept of one session; most need a tenth of it.
const LONGEST_STORY: usize = 400;
/// Of two announces that lie closer together than this nobody says which came later: two machines' clocks.
const CLOSE_MS: u64 = 400;

/// At least what was answered, at most what was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) answered: Bytes,
    pub(crate) said: Bytes,
}

impl Bounds {
    /// By how much a figure is outside, both counters together.
    pub(crate) fn missed_by(&self, figure: Bytes) -> u64 {
        self.answered.less(figure).sum() + figure.less(self.said).sum()
    }

    /// What was said and never answered.
    pub(crate) fn open(&self) -> u64 {
        self.said.less(self.answered).sum()
    }

    fn times(self, factors: Bytes) -> Self {
        Self { answered: self.answered.times(factors), said: self.said.times(factors) }
    }
}

impl AddAssign for Bounds {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.said += other.said;
    }
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ClientState {
    Seeds,
    Leeches,
    /// In neither set.
    Gone,
}

/// An announce that may be the last that arrived.
#[derive(Debug, Clone, Copy)]
struct Moment {
    ticket: u64,
    announce: Announce,
    said: u64,
    /// What was said before it in the same run.
    before: Option<u64>,
    /// When it was answered, or given up: it arrived between.
    ended: Option<u64>,
    answered: bool,
}

/// Milliseconds of seeding that can be told from the announces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seeding {
    pub(crate) at_least: u64,
    pub(crate) at_most: u64,
    pub(crate) runs: u64,
}

impl AddAssign for Seeding {
    fn add_assign(&mut self, other: Self) {
        self.at_least += other.at_least;
        self.at_most += other.at_most;
        self.runs += other.runs;
    }
}

/// One session and what it is worth.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) user: usize,
    pub(crate) torrent: Arc<Torrent>,
    pub(crate) peer_id: PeerId,
    /// The counters with which it appeared: counting begins there.
    baseline: Bytes,
    runs: Vec<Bounds>,
    /// A `completed` was said; it was answered.
    completed: [bool; 2],
    moments: Vec<Moment>,
    tickets: u64,
    /// The run and the time of what it said last.
    last_said: Option<(usize, u64)>,
    seeding: Seeding,
    /// The run in which it seeded last, and until when.
    seeds: Option<(usize, u64)>,
    /// What its client heard, newest last, for the story of a difference.
    pub(crate) heard: Vec<String>,
}

impl Account {
    fn says(&mut self, announce: Announce, now: u64) -> u64 {
        let run = announce.run;
        self.runs.resize(self.runs.len().max(run + 1), Bounds::default());
        self.runs[run].said = self.runs[run].said.max(announce.counters);
        self.completed[0] |= announce.event == Event::Completed;
        let before = self.last_said.filter(|(earlier, _)| *earlier == run).map(|(_, at)| at);
        self.last_said = Some((run, now));
        self.tickets += 1;
        let (ticket, said) = (self.tickets, now);
        self.moments.push(Moment { ticket, announce, said, before, ended: None, answered: false });
        if announce.left == 0 {
            self.seeds_until(run, before.unwrap_or(now), now);
        }
        ticket
    }

    /// It seeds in this run until now, from then on if it has not seeded in this run before.
    fn seeds_until(&mut self, run: usize, from: u64, now: u64) {
        let since = match self.seeds {
            Some((seeding, _)) if seeding > run => return,
            Some((seeding, until)) if seeding == run => until,
            _ => {
                self.seeding.runs += 1;
                from
            }
        };
        self.seeding.at_most += now.saturating_sub(since);
        self.seeds = Some((run, now.max(since)));
    }

    fn hears(&mut self, ticket: u64, answered: bool, now: u64) {
        let Some(moment) = self.moments.iter_mut().find(|moment| moment.ticket == ticket) else { return };
        (moment.ended, moment.answered) = (Some(now), answered);
        let Moment { announce, said, before, .. } = *moment;
        if announce.left == 0 {
            self.seeds_until(announce.run, said, now);
        }
        if !answered {
            return;
        }
        self.completed[1] |= announce.event == Event::Completed;
        self.runs[announce.run].answered = self.runs[announce.run].answered.max(announce.counters);
        if announce.left == 0 && matches!(announce.event, Event::None | Event::Stopped) {
            self.seeding.at_least += before.map_or(0, |before| said - before);
        }
        // What arrived before this one was said is not the last.
        self.moments
            .retain(|other| other.ticket == ticket || other.ended.is_none_or(|end| end + CLOSE_MS > said));
    }

    /// What the ledger may hold of it.
    pub(crate) fn bounds(&self) -> Bounds {
        let mut sum = Bounds::default();
        self.runs.iter().for_each(|run| sum += *run);
        Bounds { answered: sum.answered.less(self.baseline), said: sum.said.less(self.baseline) }
    }

    /// In which states it may be shown: those of the announces that may have arrived last.
    fn states(&self) -> BTreeSet<ClientState> {
        let nothing = !self.moments.iter().any(|moment| moment.answered);
        let states = self.moments.iter().map(|moment| moment.announce.state());
        states.chain(nothing.then_some(ClientState::Gone)).collect()
    }
}

/// What a user's figures must be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Truth {
    pub(crate) raw: Bounds,
    pub(crate) credited: Bounds,
    /// At least, at most.
    pub(crate) completions: [u64; 2],
    pub(crate) seeding: Seeding,
}

/// Each session of a user with the states in which it may be shown.
pub(crate) type States = BTreeMap<(InfoHash, PeerId), BTreeSet<ClientState>>;

/// All sessions of a run.
#[derive(Debug, Default)]
pub(crate) struct Books(Mutex<Vec<Account>>);

impl Books {
    /// Opens a session's account; its number.
    pub(crate) fn open(&self, user: usize, torrent: Arc<Torrent>, peer_id: PeerId, baseline: Bytes) -> usize {
        let mut accounts = self.0.lock();
        accounts.push(Account {
            user,
            torrent,
            peer_id,
            baseline,
            runs: Vec::new(),
            completed: [false; 2],
            moments: Vec::new(),
            tickets: 0,
            last_said: None,
            seeding: Seeding::default(),
            seeds: None,
            heard: Vec::new(),
        });
        accounts.len() - 1
    }

    /// An announce is about to be sent; its ticket.
    pub(crate) fn says(&self, session: usize, announce: Announce, now: u64) -> u64 {
        self.0.lock()[session].says(announce, now)
    }

    /// It was answered, or nobody waits for it any more.
    pub(crate) fn hears(&self, session: usize, ticket: u64, answered: bool, now: u64) {
        self.0.lock()[session].hears(ticket, answered, now);
    }

    /// The session's client is gone, and whatever it waited for.
    pub(crate) fn hangs_up(&self, session: usize, now: u64) {
        let account = &mut self.0.lock()[session];
        let open = account.moments.iter().filter(|moment| moment.ended.is_none());
        let tickets: Vec<u64> = open.map(|moment| moment.ticket).collect();
        tickets.into_iter().for_each(|ticket| account.hears(ticket, false, now));
    }

    /// Notes what happened to a session.
    pub(crate) fn note(&self, session: usize, line: String) {
        let heard = &mut self.0.lock()[session].heard;
        if heard.len() < LONGEST_STORY {
            heard.push(line);
        }
    }

    /// What a user's figures must be.
    pub(crate) fn truth(&self, user: usize) -> Truth {
        let mut truth = Truth::default();
        for account in self.0.lock().iter().filter(|account| account.user == user) {
            let bounds = account.bounds();
            truth.raw += bounds;
            truth.credited += bounds.times(account.torrent.factors);
            truth.seeding += account.seeding;
            let [said, answered] = account.completed.map(u64::from);
            truth.completions = [truth.completions[0] + answered, truth.completions[1] + said];
        }
        truth
    }

    /// How a user's sessions may be shown.
    pub(crate) fn states(&self, user: usize) -> States {
        let accounts = self.0.lock();
        let of_user = accounts.iter().filter(|account| account.user == user);
        of_user.map(|account| ((account.torrent.name(), account.peer_id), account.states())).collect()
    }

    /// A user's sessions.
    pub(crate) fn sessions(&self, user: usize) -> Vec<Account> {
        self.0.lock().iter().filter(|account| account.user == user).cloned().collect()
    }

    pub(crate) fn session_count(&self) -> usize {
        self.0.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books() -> (Books, usize) {
        let books = Books::default();
        let baseline = Bytes { up: 100, down: 0 };
        let session = books.open(0, Arc::new(Torrent::plain()), PeerId([1; 20]), baseline);
        (books, session)
    }

    fn announce(run: usize, up: u64, event: Event) -> Announce {
        Announce { run, event, counters: Bytes { up, down: 0 }, left: 0, said: 0, is_last: false }
    }

    #[test]
    fn what_was_said_bounds_the_ledger_from_above_and_what_was_answered_from_below() {
        let (books, session) = books();
        for (run, up, answered) in
            [(0, 100, true), (0, 400, true), (0, 500, false), (1, 0, true), (1, 30, true)]
        {
            let ticket = books.says(session, announce(run, up, Event::None), 0);
            books.hears(session, ticket, answered, 1);
        }
        let Bounds { answered, said } = books.truth(0).raw;
        assert_eq!((answered.up, said.up), (330, 430));
        let outside = |up| Bounds { answered, said }.missed_by(Bytes { up, down: 0 });
        assert_eq!([300, 330, 430, 440].map(outside), [30, 0, 0, 10]);
    }

    #[test]
    fn a_session_is_where_the_announce_put_it_that_arrived_last() {
        let (books, session) = books();
        let states = |books: &Books| books.states(0).into_values().next().unwrap();
        let seeds = books.says(session, announce(0, 100, Event::Started), 0);
        assert_eq!(states(&books).len(), 2, "it may have arrived or not");
        books.hears(session, seeds, true, 10);
        assert_eq!(states(&books), BTreeSet::from([ClientState::Seeds]));
        let stop = books.says(session, announce(0, 100, Event::Stopped), 1_000);
        books.hears(session, stop, false, 2_000);
        assert_eq!(states(&books), BTreeSet::from([ClientState::Seeds, ClientState::Gone]));
        let again = books.says(session, announce(0, 100, Event::Stopped), 3_000);
        books.hears(session, again, true, 3_010);
        assert_eq!(states(&books), BTreeSet::from([ClientState::Gone]));
    }

    #[test]
    fn seeding_lasts_from_the_first_to_the_last_announce_of_a_run() {
        let (books, session) = books();
        for (said, heard, event) in
            [(0, 10, Event::Started), (4_000, 4_010, Event::None), (9_000, 9_010, Event::Stopped)]
        {
            let ticket = books.says(session, announce(0, 100, event), said);
            books.hears(session, ticket, true, heard);
        }
        let Seeding { at_least, at_most, runs } = books.truth(0).seeding;
        assert_eq!((at_least, at_most, runs), (9_000, 9_010, 1));
    }
}
