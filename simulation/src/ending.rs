//! The end of a schedule: faults stop, everybody comes up, every client gets one last answer, everything is
//! read and settled. Then the books must balance.

use std::collections::{BTreeMap, BTreeSet};

use books::Entry;
use books::presence::Leases;
use contract::Event;

use crate::consumers::Activity;
use crate::ledger::SessionKey;
use crate::world::{
    CLAIM_IDLE_MS, Checked, GROUP, Life, STREAM, Session, Tracker, Violation, World, violation,
};

/// Rounds that everything may take to settle; in practice some ten.
const ROUNDS: usize = 300;
/// Turns that a consumer may take in one round.
const MOST_TURNS: usize = 50;

impl World<'_> {
    /// Lets everything finish, then checks every promise.
    pub(crate) fn end(&mut self) -> Checked {
        self.settling = true;
        self.tell(|| "no more faults: everybody finishes");
        self.redis_returns();
        self.trackers_are_mended();
        self.everybody_is_answered()?;
        self.everything_is_settled()?;
        self.leases_are_judged()?;
        self.check()
    }

    fn everybody_is_answered(&mut self) -> Checked {
        for client in &mut self.clients {
            client.hang_up();
        }
        // What is under way comes before the last announces, so that every client's last word is the newest.
        self.line_drains()?;
        self.now_ms += 2000;
        let mut asked = BTreeSet::new();
        for _ in 0..ROUNDS {
            self.pass_time(100);
            let mut quiet = true;
            for who in 0..self.clients.len() {
                if self.clients[who].life != Life::Gone && (asked.insert(who) || self.clients[who].is_busy())
                {
                    self.everyone_of(who);
                    quiet = false;
                }
            }
            self.line_drains()?;
            if quiet {
                return Ok(());
            }
        }
        violation("a client gets no answer")
    }

    fn everyone_of(&mut self, who: usize) {
        for at in 0..self.clients[who].endpoints() {
            self.announces_at(who, at);
        }
    }

    fn line_drains(&mut self) -> Checked {
        for _ in 0..ROUNDS {
            // Longer than a recorder waits before it tries again.
            self.pass_time(300);
            for slot in 0..self.trackers.len() {
                self.tracker_step(slot);
                self.tracker_times_out(slot);
            }
            while !self.messages.is_empty() {
                let message = self.messages.remove(0);
                self.deliver(message)?;
            }
            if self.trackers.iter().all(Tracker::is_idle) {
                return Ok(());
            }
        }
        violation("a tracker never gets rid of its announces")
    }

    fn everything_is_settled(&mut self) -> Checked {
        let mut idle = 0;
        for _ in 0..ROUNDS {
            self.pass_time(CLAIM_IDLE_MS / 2 + 1);
            let before = self.reads();
            for who in 0..self.consumers.len() {
                self.consumer_finishes(who)?;
            }
            idle = if self.reads() == before { idle + 1 } else { 0 };
            if idle > 4 && self.nothing_is_pending() {
                return Ok(());
            }
            // A Redis whose clock was set back counts idle time from a delivery in the future.
            if idle > 4 {
                self.pass_time(86_400_000);
            }
        }
        violation("the consumers never finish")
    }

    fn nothing_is_pending(&self) -> bool {
        let keyspace = self.redis.server.keyspace();
        let group = keyspace.peek_stream(STREAM).and_then(|stream| stream.group(GROUP));
        group.is_none_or(|group| group.oldest_pending().is_none())
    }

    fn reads(&self) -> (usize, bool) {
        (self.ledger.size(), (0..self.consumers.len()).all(|who| self.consumer_is_idle(who)))
    }

    fn consumer_finishes(&mut self, who: usize) -> Checked {
        while !self.chore_is_done(who) {
            self.chore_step(who)?;
        }
        let mut idle = 0;
        for _ in 0..MOST_TURNS {
            idle = if self.consumer_step(who)? == Activity::Idle { idle + 1 } else { 0 };
            if idle > 3 {
                break;
            }
        }
        Ok(())
    }

    fn leases_are_judged(&mut self) -> Checked {
        self.latest_now = self.latest_now.max(self.now_ms / 1000);
        for _ in 0..ROUNDS {
            if self.sweep(0, self.latest_now)? == 0 {
                return Ok(());
            }
        }
        violation("the sweep never ends")
    }

    fn check(&self) -> Checked {
        self.answered_means_recorded()?;
        self.nothing_is_left()?;
        self.sessions
            .iter()
            .enumerate()
            .try_for_each(|(number, session)| self.books_balance(number, session))?;
        if !self.ledger.balances()? {
            return violation("the totals are not what the settled rows add up to");
        }
        if self.redis.rolled_back { Ok(()) } else { self.presence_is_true() }
    }

    fn answered_means_recorded(&self) -> Checked {
        for (number, fact) in self.facts.iter().enumerate().filter(|(_, fact)| fact.answered) {
            let mut last = fact;
            while let Some(next) = last.replaced_by {
                last = &self.facts[next];
            }
            if !last.heard && !self.sessions[fact.session].truth.lost_reports {
                return violation(format!("announce {number} was answered and never booked"));
            }
        }
        Ok(())
    }

    fn nothing_is_left(&self) -> Checked {
        let key = |entry: &Entry| {
            let event = &entry.event;
            (event.passkey, event.info_hash, event.peer_id, i64::try_from(event.ts).unwrap_or(i64::MAX))
        };
        match self.history.iter().find(|entry| !self.ledger.holds(&key(entry))) {
            Some(entry) => violation(format!("entry {} was never settled", entry.id)),
            None => Ok(()),
        }
    }

    fn books_balance(&self, number: usize, session: &Session) -> Checked {
        self.no_more_than_the_truth(number)?;
        let (up, down) = self.ledger.session(&session.key);
        for (word, settled, meter) in [("up", up, &session.truth.up), ("down", down, &session.truth.down)] {
            let exact = !meter.hazy() && !session.truth.lost_reports;
            if exact && settled.unsigned_abs() != meter.earned() {
                let earned = meter.earned();
                return violation(format!(
                    "session {number} has {settled} bytes {word} in the ledger, and earned {earned}"
                ));
            }
        }
        Ok(())
    }

    fn presence_is_true(&self) -> Checked {
        let shown = self.redis.server.keyspace().dump_sets("tracker:passkey:");
        let expected = self.presence_by_definition();
        if shown == expected {
            return Ok(());
        }
        Err(Violation(format!(
            "the presence sets are\n  {}\nand should be\n  {}",
            shown.join("\n  "),
            expected.join("\n  ")
        )))
    }

    /// The sets as they are defined: by each session's newest entry and the time, without guards and scripts.
    fn presence_by_definition(&self) -> Vec<String> {
        let mut newest: BTreeMap<SessionKey, &Entry> = BTreeMap::new();
        for entry in &self.history {
            newest.insert((entry.event.passkey, entry.event.info_hash, entry.event.peer_id), entry);
        }
        let mut sets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for ((passkey, info_hash, peer_id), entry) in newest {
            let over =
                entry.id.unix_seconds() + Leases::default().lease_s(entry.event.interval) <= self.latest_now;
            if over || entry.event.event == Event::Stopped {
                continue;
            }
            let (user, members) = match entry.event.left {
                0 => (self.keys.seeding(&passkey), self.keys.seeding_members(&passkey, &info_hash)),
                _ => (self.keys.leeching(&passkey), self.keys.leeching_members(&passkey, &info_hash)),
            };
            sets.entry(user).or_default().insert(info_hash.to_string());
            sets.entry(members).or_default().insert(peer_id.to_string());
        }
        let line = |(key, members): (String, BTreeSet<String>)| {
            format!("{key} {}", members.into_iter().collect::<Vec<_>>().join(" "))
        };
        sets.into_iter().map(line).collect()
    }
}
