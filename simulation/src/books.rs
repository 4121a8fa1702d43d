//! Redis in the world: booking batches with the real script, crashing, and coming back, perhaps as it was
//! some time ago.

use books::{Entry, EntryId};
use contract::TrafficEvent;
use tracker::traffic::{Outcome, Receipt, Verdict};

use crate::ledger::SessionKey;
use crate::oracle::Forgotten;
use crate::redis::{Bytes, Keyspace, Reply, words};
use crate::scenario::Durability;
use crate::world::{Booked, Checked, Consumer, STREAM, Tail, Violation, World, key_of, violation};

/// How old may be what Redis loses, for trackers to have it in their tails: they keep a minute.
const TAIL_MS: u64 = 50_000;

impl World<'_> {
    pub(crate) fn redis_books(
        &mut self,
        tail: Tail,
        call: &[Bytes],
        facts: &[usize],
    ) -> Result<(Receipt, Reply), Violation> {
        let reply = self.ask(&self.scripts.record, call);
        if let Reply::Error(error) = &reply {
            return Err(Violation(format!("the script failed: {error}")));
        }
        let answer = match reply.items() {
            [answer @ Reply::Array(_), _deferred] => answer,
            _ => &reply,
        };
        let receipt = Receipt::read(value(answer), facts.len())
            .map_err(|error| Violation(format!("{error} to announces {facts:?}: {answer:?}")))?;
        match &receipt.verdict {
            Verdict::SeenTo(outcomes) => self.seen_to(tail, facts, outcomes)?,
            Verdict::WentBack { call, .. } => {
                self.tell(|| format!("Redis knows calls up to {call} only"));
                if !self.redis.went_back && !self.trackers[tail.slot].takes_over(tail.number) {
                    violation("Redis says that it went back in time, and did not")?;
                }
            }
        }
        self.look_at_new_entries()?;
        Ok((receipt, reply))
    }

    fn seen_to(&mut self, tail: Tail, facts: &[usize], outcomes: &[Outcome]) -> Checked {
        self.tell(|| {
            let words: Vec<String> = facts
                .iter()
                .zip(outcomes)
                .map(|(fact, outcome)| format!("{fact} {}", word(outcome)))
                .collect();
            format!("Redis sees to announces {}", words.join(", "))
        });
        for (fact, outcome) in facts.iter().zip(outcomes) {
            match outcome {
                Outcome::Booked => self.hear(*fact, tail)?,
                Outcome::Repeated if !self.was_heard(*fact) && !self.is_forgotten(*fact) => {
                    violation(format!("Redis says that announce {fact} was booked before, and it was not"))?;
                }
                outcome if outcome.is_recorded() || outcome.is_stale() => {}
                other => violation(format!("Redis refused announce {fact}: {other:?}"))?,
            }
        }
        Ok(())
    }

    /// Of what was refused a tail's file may know; nobody waits for that.
    fn was_heard(&self, fact: usize) -> bool {
        self.facts[fact].heard || self.facts[fact].refused
    }

    fn is_forgotten(&self, fact: usize) -> bool {
        self.sessions[self.facts[fact].session].truth.forgotten.is_some()
    }

    fn hear(&mut self, fact: usize, tail: Tail) -> Checked {
        if self.facts[fact].heard && !self.is_forgotten(fact) {
            return violation(format!("announce {fact} is booked twice"));
        }
        self.facts[fact].heard = true;
        self.redis.owed.retain(|owed| owed.fact != fact);
        if self.scenario.durability != Durability::Always {
            self.redis.unwritten.push(Booked { fact, tail, at_ms: self.now_ms });
        }
        Ok(())
    }

    /// Every entry is an event that can be read, under a key and a number that no other one has.
    pub(crate) fn look_at_new_entries(&mut self) -> Checked {
        for entry in self.entries_after(self.redis.seen)? {
            self.redis.seen = entry.id;
            let event = &entry.event;
            let (id, du, dd, ts) = (entry.id, event.du, event.dd, event.ts);
            let Some(claim) = event.claim else { return violation(format!("entry {id} claims nothing")) };
            self.tell(|| {
                let contract::Claim { at_ms, tu, td, n, .. } = claim;
                let at = at_ms.cast_signed() - crate::world::T0_MS.cast_signed();
                format!(
                    "  entry {id}, n {n}: du {du}/{tu}, dd {dd}/{td}, at {at}, ts {ts}, {:?}",
                    event.event
                )
            });
            let forgotten =
                self.look_at_its_line((event.passkey, event.info_hash, event.peer_id), claim.born_ms);
            // A session that began anew with reports from before it was forgotten claims nothing with them;
            // they may be of the very second of one that was booked before it was.
            let begins = (du, dd, claim.tu, claim.td) == (0, 0, 0, 0);
            let may_repeat = begins || forgotten && ((du, dd) == (0, 0) || self.scenario.credit_first);
            if !self.event_keys.insert(key_of(event)) && !may_repeat {
                return violation(format!("entry {id} has the key of an earlier one (ts {ts})"));
            }
            if self.history.last().is_some_and(|last| number_of(last) + 1 != claim.n) {
                return violation(format!("entry {id} has the number {}, which is not the next", claim.n));
            }
            self.history.push(entry);
        }
        Ok(())
    }

    /// A session that is born again while Redis has lost nothing had no snapshot any more. Whether it was
    /// forgotten.
    fn look_at_its_line(&mut self, key: SessionKey, born_ms: u64) -> bool {
        let Some(session) = self.session_of(&key) else { return false };
        let session = &mut self.sessions[session];
        let before = session.born_ms.replace(born_ms);
        if before.is_some_and(|before| before < born_ms) && session.truth.forgotten.is_none() {
            session.truth.forgotten = Some(Forgotten::Expired);
        }
        session.truth.forgotten.is_some()
    }

    fn entries_after(&self, after: EntryId) -> Result<Vec<Entry>, Violation> {
        let keyspace = self.redis.server.keyspace();
        let Some(stream) = keyspace.peek_stream(STREAM) else { return Ok(Vec::new()) };
        let fresh = stream.entries.range(after.next()..);
        let read = |(id, fields): (&EntryId, &crate::redis::Fields)| {
            TrafficEvent::from_fields(fields.iter().map(|(name, value)| (&name[..], &value[..])))
                .map(|event| Entry { id: *id, event })
                .map_err(|error| Violation(format!("entry {id} cannot be read: {error}")))
        };
        fresh.map(read).collect()
    }

    /// The file, or the replica, catches up with the memory.
    pub(crate) fn redis_writes(&mut self) {
        if self.scenario.durability != Durability::Always && self.redis.up {
            self.redis.disk = Some(self.redis.server.keyspace().clone());
            self.redis.unwritten.clear();
        }
    }

    /// A file that lags no further than the tails reach is written in time.
    pub(crate) fn redis_writes_before(&mut self, now_ms: u64) {
        let oldest = self.redis.unwritten.first().map(|booked| booked.at_ms);
        let is_due = oldest.is_some_and(|at_ms| at_ms + TAIL_MS < now_ms);
        if is_due && self.scenario.durability == Durability::WithinTheTail {
            self.redis_writes();
        }
    }

    pub(crate) fn redis_crashes(&mut self) {
        if !self.redis.up {
            return;
        }
        self.redis.up = false;
        self.messages.clear();
        self.consumers.iter_mut().for_each(Consumer::loses_redis);
        self.tell(|| "Redis crashes");
        match self.scenario.durability {
            Durability::Always => {}
            Durability::Careless if self.dice.percent(30) => self.goes_back_to(Keyspace::default()),
            _ => self.goes_back_to(self.redis.disk.clone().unwrap_or_default()),
        }
    }

    pub(crate) fn redis_returns(&mut self) {
        if !self.redis.up {
            self.redis.up = true;
            self.redis.server.run(&words(&["SCRIPT", "FLUSH"]));
            self.tell(|| "Redis is back");
        }
    }

    fn goes_back_to(&mut self, keyspace: Keyspace) {
        let last = keyspace.peek_stream(STREAM).map_or_else(Default::default, |stream| stream.last);
        *self.redis.server.keyspace() = keyspace;
        self.set_redis_clock();
        self.redis.went_back = true;
        let kept = self.history.iter().position(|entry| entry.id > last).unwrap_or(self.history.len());
        let lost = self.history.split_off(kept);
        self.tell(|| format!("  and forgets {} entries", lost.len()));
        for entry in &lost {
            self.event_keys.remove(&key_of(&entry.event));
        }
        self.redis.seen = last;
        self.remember_lines();
        for booked in std::mem::take(&mut self.redis.unwritten) {
            self.facts[booked.fact].heard = false;
            self.redis.owed.push(booked);
        }
        if self.scenario.durability == Durability::Careless {
            self.sessions
                .iter_mut()
                .for_each(|session| session.truth.forgotten = Some(Forgotten::BeyondTheTail));
        }
        self.what_no_tail_has();
    }

    fn remember_lines(&mut self) {
        self.sessions.iter_mut().for_each(|session| session.born_ms = None);
        for Entry { event, .. } in &self.history {
            let key = (event.passkey, event.info_hash, event.peer_id);
            if let Some(session) = self.sessions.iter_mut().find(|session| session.key == key) {
                session.born_ms = event.claim.map(|claim| claim.born_ms);
            }
        }
    }

    /// What Redis lost and is owed by a tail that is gone is lost.
    pub(crate) fn what_no_tail_has(&mut self) {
        let owed = std::mem::take(&mut self.redis.owed);
        let (kept, gone): (Vec<Booked>, Vec<Booked>) =
            owed.into_iter().partition(|booked| self.trackers[booked.tail.slot].has_tail(booked.tail.number));
        self.redis.owed = kept;
        for Booked { fact, .. } in gone {
            self.tell(|| format!("  announce {fact} is in no tail any more"));
            self.sessions[self.facts[fact].session].truth.forgotten = Some(Forgotten::BeyondTheTail);
        }
    }
}

fn number_of(entry: &Entry) -> u64 {
    entry.event.claim.map_or(0, |claim| claim.n)
}

/// What became of an announce, for a trace.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Booked => "booked",
        Outcome::Repeated => "repeated",
        Outcome::Stale(_) => "stale",
        Outcome::Renamed { .. } => "renamed",
        Outcome::Folding { .. } => "folding",
        Outcome::Failed(_) | Outcome::Unwritable(_) => "refused",
    }
}

/// A reply as a tracker's connection would hand it over.
fn value(reply: &Reply) -> ::redis::Value {
    match reply {
        Reply::Nil => ::redis::Value::Nil,
        Reply::Int(number) => ::redis::Value::Int(*number),
        Reply::Bulk(bytes) => ::redis::Value::BulkString(bytes.clone()),
        Reply::Array(items) => ::redis::Value::Array(items.iter().map(value).collect()),
        Reply::Status(_) | Reply::Error(_) => ::redis::Value::SimpleString(reply.text().to_owned()),
    }
}
