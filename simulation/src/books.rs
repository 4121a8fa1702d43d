//! Redis in the world: booking batches with the real script, telling the oracle, crashing and coming back.

use books::Entry;
use contract::{Event, TrafficEvent};
use tracker::traffic::{Outcome, Receipt};

use crate::oracle::BookedReport;
use crate::redis::{Bytes, Reply, words};
use crate::scenario::Durability;
use crate::world::{Checked, Consumer, STREAM, Violation, World, violation};

impl World<'_> {
    pub(crate) fn redis_books(
        &mut self,
        call: &[Bytes],
        facts: &[usize],
    ) -> Result<(Receipt, Reply), Violation> {
        let known: Vec<bool> = call[5..5 + facts.len()].iter().map(|key| self.has(key)).collect();
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
        self.tell(|| format!("Redis books announces {facts:?}: {:?}", receipt.outcomes));
        if receipt.lost > 0 && !self.redis.rolled_back {
            violation("Redis says that it lost announces, and lost none")?;
        }
        // A session that appears in this batch for the first time has its snapshot from then on.
        let mut booked = std::collections::BTreeSet::new();
        for ((fact, word), known) in facts.iter().zip(&receipt.outcomes).zip(known) {
            let session = self.facts[*fact].session;
            let snapshot = known || booked.contains(&session);
            match word {
                Outcome::Booked | Outcome::Idle | Outcome::Late => self.hear(*fact, snapshot),
                Outcome::Repeated => continue,
                other => violation(format!("Redis refused announce {fact}: {other:?}"))?,
            }
            booked.insert(session);
        }
        self.look_at_new_entries()?;
        Ok((receipt, reply))
    }

    fn has(&self, key: &Bytes) -> bool {
        self.redis.server.run(&[b"EXISTS".to_vec(), key.clone()]) == Reply::Int(1)
    }

    fn hear(&mut self, fact: usize, snapshot: bool) {
        let known = &mut self.facts[fact];
        known.heard = true;
        let truth = &mut self.sessions[known.session].truth;
        if !snapshot {
            truth.forgotten |= truth.up.begun();
            truth.first = fact;
        }
        let report = BookedReport {
            early: fact < truth.first,
            run: known.run,
            started: known.event == Event::Started,
            snapshot,
            credit_first: self.scenario.credit_first,
        };
        truth.up.hear(known.up, report);
        truth.down.hear(known.down, report);
        if self.scenario.durability == Durability::EverySecond {
            self.redis.unwritten.insert(known.session);
        }
    }

    /// Every entry is an event that can be read, under a key that nobody had before.
    pub(crate) fn look_at_new_entries(&mut self) -> Checked {
        for entry in self.entries_after(self.redis.seen)? {
            self.redis.seen = entry.id;
            let event = &entry.event;
            let key =
                (event.passkey, event.info_hash, event.peer_id, i64::try_from(event.ts).unwrap_or(i64::MAX));
            let (id, du, dd, ts) = (entry.id, event.du, event.dd, event.ts);
            self.tell(|| format!("  entry {id}: du {du}, dd {dd}, ts {ts}, {:?}", event.event));
            let may_repeat = self.redis.lost_entries || self.may_repeat(&entry);
            if !self.event_keys.insert(key) && !may_repeat {
                return violation(format!("entry {id} has the key of an earlier one (ts {ts})"));
            }
            self.history.push(entry);
        }
        Ok(())
    }

    fn may_repeat(&self, entry: &Entry) -> bool {
        let event = &entry.event;
        let session = self.session_of(&(event.passkey, event.info_hash, event.peer_id));
        let forgotten = session.is_some_and(|session| self.sessions[session].truth.forgotten);
        forgotten && (self.scenario.credit_first || (event.du, event.dd) == (0, 0))
    }

    fn entries_after(&self, after: books::EntryId) -> Result<Vec<Entry>, Violation> {
        let keyspace = self.redis.server.keyspace();
        let Some(stream) = keyspace.peek_stream(STREAM) else { return Ok(Vec::new()) };
        let fresh = stream.entries.range(after.next()..);
        let read = |(id, fields): (&books::EntryId, &crate::redis::Fields)| {
            TrafficEvent::from_fields(fields.iter().map(|(name, value)| (&name[..], &value[..])))
                .map(|event| Entry { id: *id, event })
                .map_err(|error| Violation(format!("entry {id} cannot be read: {error}")))
        };
        fresh.map(read).collect()
    }

    /// The file catches up with the memory.
    pub(crate) fn redis_writes(&mut self) {
        if self.scenario.durability == Durability::EverySecond && self.redis.up {
            self.redis.disk = Some(self.redis.server.keyspace().clone());
            self.redis.unwritten.clear();
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
        if self.scenario.durability == Durability::EverySecond {
            self.redis.rolled_back = true;
            self.lose_unwritten();
        }
    }

    pub(crate) fn redis_returns(&mut self) {
        if !self.redis.up {
            self.redis.up = true;
            self.redis.server.run(&words(&["SCRIPT", "FLUSH"]));
            self.tell(|| "Redis is back");
        }
    }

    fn lose_unwritten(&mut self) {
        let disk = self.redis.disk.clone().unwrap_or_default();
        let last = disk.peek_stream(STREAM).map_or_else(Default::default, |stream| stream.last);
        *self.redis.server.keyspace() = disk;
        self.set_redis_clock();
        let unwritten = std::mem::take(&mut self.redis.unwritten);
        self.tell(|| format!("  and forgets what it did for sessions {unwritten:?}"));
        self.redis.lost_entries |= !unwritten.is_empty();
        for session in unwritten {
            self.sessions[session].truth.lost_reports = true;
        }
        let kept = self.history.iter().position(|entry| entry.id > last).unwrap_or(self.history.len());
        for entry in self.history.split_off(kept) {
            let event = &entry.event;
            if let Some(session) = self.session_of(&(event.passkey, event.info_hash, event.peer_id)) {
                let lost = &mut self.sessions[session].truth.lost;
                (lost.0, lost.1) = (lost.0 + event.du, lost.1 + event.dd);
            }
        }
        self.redis.seen = last;
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
