//! The end of a schedule: faults stop, everybody comes up, every client gets one last answer, everything is
//! read and settled. Then the books must balance.

use std::collections::{BTreeMap, BTreeSet};

use books::Entry;
use books::presence::{Judgement, Leases, Place};
use claims::{Counters, DEFAULT_SKEW_MS, Report};
use contract::{Event, TrafficEvent};

use crate::consumers::Activity;
use crate::ledger::SessionKey;
use crate::oracle::{Baseline, Forgotten};
use crate::world::{
    Arrival, CLAIM_IDLE_MS, Checked, Fact, GROUP, Life, STREAM, Session, Tracker, Violation, World, key_of,
    violation,
};

/// Rounds that everything may take to settle; in practice some ten.
const ROUNDS: usize = 300;
/// Nothing travels longer.
const LONGEST_WAY_MS: u64 = 100_000;
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
        self.pass_time(LONGEST_WAY_MS);
        self.old_messages_are_lost();
        self.line_drains()?;
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
            if self.travelling.is_empty() && self.trackers.iter().all(Tracker::is_idle) {
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
        self.consumer_now(0);
        for _ in 0..ROUNDS {
            if self.sweep(0, Judgement::at(self.latest_now))? == 0 {
                return Ok(());
            }
        }
        violation("the sweep never ends")
    }

    fn check(&mut self) -> Checked {
        self.answered_means_recorded()?;
        self.nothing_is_left()?;
        for session in 0..self.sessions.len() {
            self.books_balance(session)?;
            self.stream_balances(session)?;
        }
        if !self.ledger.balances()? {
            return violation("the totals are not what the settled rows add up to");
        }
        if self.was_heard_in_the_future() { Ok(()) } else { self.presence_is_true() }
    }

    fn answered_means_recorded(&self) -> Checked {
        for (number, fact) in self.facts.iter().enumerate().filter(|(_, fact)| fact.answered) {
            let mut last = fact;
            while let Some(next) = last.replaced_by {
                last = &self.facts[next];
            }
            if !last.heard && self.sessions[fact.session].truth.forgotten.is_none() {
                return violation(format!("announce {number} was answered and never booked"));
            }
        }
        Ok(())
    }

    fn nothing_is_left(&self) -> Checked {
        match self.history.iter().find(|entry| !self.ledger.holds(&key_of(&entry.event))) {
            Some(entry) => violation(format!("entry {} was never settled", entry.id)),
            None => Ok(()),
        }
    }

    /// What was answered is in the ledger, unless its reports can be explained by less.
    fn books_balance(&mut self, number: usize) -> Checked {
        self.no_more_than_the_truth(number)?;
        let Session { key, truth, .. } = &self.sessions[number];
        if truth.forgotten.is_some() {
            return Ok(());
        }
        let (up, down) = self.ledger.session(key);
        let baseline = self.baseline(number);
        let settled = [up, down].map(i64::unsigned_abs);
        let answered = [truth.up.least(baseline), truth.down.least(baseline)];
        if settled.iter().zip(&answered).all(|(settled, answered)| settled >= answered) {
            return Ok(());
        }
        let least = self.least_story(number, baseline);
        if settled[0] >= answered[0].min(least.up) && settled[1] >= answered[1].min(least.down) {
            self.figures.open += 1;
            return Ok(());
        }
        violation(format!(
            "session {number} has {settled:?} bytes up and down in the ledger, and {answered:?} were answered"
        ))
    }

    fn baseline(&self, session: usize) -> Baseline {
        let heard = self.facts.iter().filter(|fact| fact.session == session && fact.heard);
        let first = heard.min_by_key(|fact| fact.arrival.map(|arrival| arrival.at_ms));
        let trusted = self.scenario.credit_first && first.is_some_and(|first| first.event == Event::Started);
        if trusted { Baseline::Credited } else { Baseline::ClaimsNothing }
    }

    /// What the rule of the claims makes of all that was answered, in the order in which it arrived.
    fn least_story(&self, session: usize, baseline: Baseline) -> Counters {
        let answered = self.facts.iter().filter(|fact| fact.session == session && fact.answered);
        let report = |fact: &Fact| {
            let Arrival { at_ms, path } = fact.arrival?;
            let counters = Counters { up: fact.up, down: fact.down };
            Some(Report { path, at_ms, counters, started: fact.event == Event::Started })
        };
        let mut reports: Vec<Report> = answered.filter_map(report).collect();
        reports.sort_by_key(|report| report.at_ms);
        let mut books = match baseline {
            Baseline::ClaimsNothing => claims::Session::default(),
            Baseline::Credited => claims::Session::with_known_beginning(),
        };
        for report in &reports {
            books.book(report, DEFAULT_SKEW_MS);
        }
        books.claimed()
    }

    /// Whoever adds up the stream's entries has no more than the truth either.
    fn stream_balances(&self, session: usize) -> Checked {
        let Session { key, truth, .. } = &self.sessions[session];
        let theirs = |event: &TrafficEvent| (event.passkey, event.info_hash, event.peer_id) == *key;
        let events = self.history.iter().map(|entry| &entry.event).filter(|event| theirs(event));
        let (up, down) = events.fold((0, 0), |sums, event| (sums.0 + event.du, sums.1 + event.dd));
        if up > truth.up.most() || down > truth.down.most() {
            return violation(format!("session {session} has {up} and {down} earned bytes in the stream"));
        }
        Ok(())
    }

    /// A tracker whose own clock was ahead when Redis had told it no time yet: the sweep brings back what is
    /// due long after any lease can be, and nobody can say which.
    fn was_heard_in_the_future(&self) -> bool {
        self.history.iter().any(|entry| Place::of(entry).at_ms / 1000 > self.latest_now)
    }

    fn presence_is_true(&self) -> Checked {
        let mut shown = self.redis.server.keyspace().dump_sets("tracker:passkey:");
        let mut expected = self.presence_by_definition();
        self.spare_what_was_lost(&mut shown);
        self.spare_what_was_lost(&mut expected);
        if shown == expected {
            return Ok(());
        }
        Err(Violation(format!(
            "the presence sets are\n  {}\nand should be\n  {}",
            shown.join("\n  "),
            expected.join("\n  ")
        )))
    }

    /// What a consumer has read it shows, although Redis lost it meanwhile and no tail has it.
    fn spare_what_was_lost(&self, sets: &mut Vec<String>) {
        let is_lost = |session: &&Session| session.truth.forgotten == Some(Forgotten::BeyondTheTail);
        for Session { key: (passkey, info_hash, peer_id), .. } in self.sessions.iter().filter(is_lost) {
            let (seeding, leeching) = (self.keys.seeding(passkey), self.keys.leeching(passkey));
            for set in sets.iter_mut() {
                let mut words = set.split(' ');
                let is_users = words.next().is_some_and(|key| key == seeding || key == leeching);
                let lost = if is_users { info_hash.to_string() } else { peer_id.to_string() };
                *set = set.replace(&format!(" {lost}"), "");
            }
        }
        sets.retain(|set| set.contains(' '));
    }

    /// The sets as they are defined: by each session's newest report and the time, without guards and
    /// scripts.
    fn presence_by_definition(&self) -> Vec<String> {
        let mut newest: BTreeMap<SessionKey, &Entry> = BTreeMap::new();
        for entry in &self.history {
            let session = (entry.event.passkey, entry.event.info_hash, entry.event.peer_id);
            let known = newest.entry(session).or_insert(entry);
            if Place::of(known) <= Place::of(entry) {
                *known = entry;
            }
        }
        let mut sets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for ((passkey, info_hash, peer_id), entry) in newest {
            let over = Place::of(entry).at_ms / 1000 + Leases::default().lease_s(entry.event.interval)
                <= self.latest_now;
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
