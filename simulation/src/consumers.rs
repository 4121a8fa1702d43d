//! Consumers: the shipped reader and pump, carried out in virtual time. Each is killed between any two of its
//! steps, loses connections and answers, claims what others left, and is stopped now and then. The presence
//! arguments and scripts and the ledger are the shipped ones, too.

use std::time::Instant;

use books::presence::{self, Leases};
use books::settlement::Rules;
use books::site_clock::Dial;
use books::{Entry, EntryId};
use consumer::batch::Batch;
use consumer::pump::{Attempt, Entries, Next, Reading, Settled, Settling, acknowledgement};
use consumer::reader::{Answer, Ask};
use redis::{Cmd, RedisError, RedisResult, Value};
use service::redis::stream::{NewEntries, Pair};

use crate::mutation::Mutation;
use crate::redis::{Bytes, Reply, words};
use crate::world::{Checked, Connection, Consumer, GROUP, STREAM, Violation, World, violation};

/// What becomes of a command on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    /// Redis carries it out, and the consumer does not hear of it.
    AnswerLost,
    NotSent,
}

/// Whether a consumer's step brought anything about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    Useful,
    Idle,
}

impl World<'_> {
    /// A consumer takes a step in one of its halves.
    pub(crate) fn consumer_step(&mut self, who: usize) -> Result<Activity, Violation> {
        let reads_first = self.dice.percent(50);
        let mut activity = if reads_first { self.reading_step(who)? } else { self.settling_step(who)? };
        if activity == Activity::Idle {
            activity = if reads_first { self.settling_step(who)? } else { self.reading_step(who)? };
        }
        if activity == Activity::Idle && self.consumers[who].stopping {
            self.starts_again_if_stopped(who);
        }
        Ok(activity)
    }

    fn reading_step(&mut self, who: usize) -> Result<Activity, Violation> {
        let now = self.instant();
        let consumer = &mut self.consumers[who];
        if consumer.reads {
            return self.read_on(who);
        }
        let looks_back = consumer.reader.looks_back(now);
        let entries = if looks_back { Entries::GivenBefore } else { Entries::New };
        match consumer.pump.poll_reading(entries, now) {
            Next::Do(Reading::Read) => {
                consumer.reads = true;
                self.read_on(who)
            }
            Next::Do(Reading::Show(batch)) => self.show(who, batch).map(|()| Activity::Useful),
            Next::Wait(_) | Next::End => Ok(Activity::Idle),
        }
    }

    /// Asks one question or several, which something may come between.
    fn read_on(&mut self, who: usize) -> Result<Activity, Violation> {
        let now = self.instant();
        loop {
            let ask = self.consumers[who].reader.poll(now);
            let answer = self.redis_answers(who, &ask);
            let outcome = self.consumers[who].reader.answered(answer, now);
            if let Ok(None) = outcome {
                if !self.settling && self.dice.percent(30) {
                    return Ok(Activity::Useful);
                }
                continue;
            }
            return self.read_ends(who, outcome.ok().flatten(), now);
        }
    }

    fn read_ends(&mut self, who: usize, batch: Option<Batch>, now: Instant) -> Result<Activity, Violation> {
        let activity =
            if batch.as_ref().is_none_or(Batch::is_empty) { Activity::Idle } else { Activity::Useful };
        if let Some(batch) = &batch {
            self.makes_sense(who, batch)?;
        }
        let consumer = &mut self.consumers[who];
        consumer.reads = false;
        consumer.pump.read(batch, now);
        Ok(activity)
    }

    fn makes_sense(&mut self, who: usize, batch: &Batch) -> Checked {
        if let Some(broken) = batch.broken.first() {
            return violation(format!("entry {} cannot be read: {}", broken.id, broken.error));
        }
        if !batch.is_empty() {
            let ids = batch.entries.iter().map(|entry| entry.id).chain(batch.gone.iter().copied());
            let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
            self.tell(|| format!("consumer {who} reads {}", ids.join(", ")));
        }
        Ok(())
    }

    /// Whether a command that is sent now arrives, and its answer too.
    fn fate(&mut self, who: usize, connection: Connection) -> Fate {
        if !self.redis.up || std::mem::take(&mut self.consumers[who].broken_connections[connection as usize])
        {
            return Fate::NotSent;
        }
        let lost = !self.settling && self.dice.percent(self.scenario.faults / 3);
        if lost { Fate::AnswerLost } else { Fate::Answered }
    }

    fn redis_answers(&mut self, who: usize, ask: &Ask) -> RedisResult<Answer> {
        let fate = self.fate(who, Connection::Reader);
        if fate == Fate::NotSent {
            return Err(broken_connection());
        }
        let answer = match ask {
            Ask::Command(command) => value(self.redis.server.run(&arguments(command))).map(Answer::Reply),
            Ask::NewEntries(packed) => self.new_entries(packed).map(Answer::NewEntries),
        };
        if fate == Fate::AnswerLost { Err(broken_connection()) } else { answer }
    }

    /// As bytes that come in two pieces.
    fn new_entries(&mut self, packed: &[u8]) -> RedisResult<Batch> {
        let question = redis::parse_redis_value(packed)?;
        let reply = self.redis.server.run(&redis::from_redis_value::<Vec<Bytes>>(question)?);
        if matches!(reply, Reply::Error(_)) {
            return value(reply).map(|_| Batch::default());
        }
        let bytes = reply.encoded();
        let (mut entries, mut batch) = (NewEntries::default(), Batch::default());
        let mut add = |id, fields: Option<&[Pair<'_>]>| batch.add(id, fields);
        let cut = self.dice.index(bytes.len());
        let first = entries.read(&bytes[..cut], &mut add)?;
        entries.read(&bytes[first.taken..], &mut add)?;
        Ok(batch)
    }

    fn show(&mut self, who: usize, batch: Batch) -> Checked {
        let fate = self.fate(who, Connection::Presence);
        if fate != Fate::NotSent {
            let now = self.consumer_now(who);
            let mut args = self.bases();
            for update in presence::updates(Leases::default(), &batch.entries, now) {
                args.extend(update.arguments());
            }
            self.run_script(&self.scripts.apply, &args)?;
        }
        let now = self.instant();
        self.consumers[who].pump.shown(batch, attempt(fate), now);
        Ok(())
    }

    fn settling_step(&mut self, who: usize) -> Result<Activity, Violation> {
        let now = self.instant();
        let consumer = &mut self.consumers[who];
        let action = match consumer.acknowledged_early.take() {
            Some(entries) => Settling::Settle(entries),
            None => match consumer.pump.poll_settling(now) {
                Next::Do(Settling::Settle(entries)) if self.mutation == Some(Mutation::AckBeforeCommit) => {
                    self.acknowledge(who, &entries.iter().map(|entry| entry.id).collect::<Vec<_>>());
                    self.consumers[who].acknowledged_early = Some(entries);
                    return Ok(Activity::Useful);
                }
                Next::Do(action) => action,
                Next::Wait(_) | Next::End => return Ok(Activity::Idle),
            },
        };
        match action {
            Settling::Settle(entries) => self.settle(who, &entries)?,
            Settling::Bury(broken) => {
                violation(format!("entry {} is put aside: {}", broken.id, broken.error))?;
            }
            Settling::Acknowledge(ids) => {
                let fate = self.acknowledge(who, &ids);
                self.consumers[who].pump.acknowledged(attempt(fate), now);
            }
        }
        Ok(Activity::Useful)
    }

    /// A ledger that fails may have committed all the same.
    fn settle(&mut self, who: usize, entries: &[Entry]) -> Checked {
        let now = self.instant();
        let fails = !self.settling && self.dice.percent(self.scenario.faults / 2);
        if !fails || self.dice.percent(50) {
            self.commit(who, entries)?;
        }
        let settled = if fails { Settled::Unavailable } else { Settled::Committed };
        self.consumers[who].pump.settled(settled, now);
        Ok(())
    }

    fn commit(&mut self, who: usize, entries: &[Entry]) -> Checked {
        let new = self.ledger.commit(entries, &Rules::default())?;
        self.tell(|| format!("consumer {who} commits {} entries, {new} of them new", entries.len()));
        for entry in entries {
            let event = &entry.event;
            match self.session_of(&(event.passkey, event.info_hash, event.peer_id)) {
                Some(session) => self.no_more_than_the_truth(session)?,
                None => violation(format!("entry {} is of a session that never was", entry.id))?,
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, who: usize, ids: &[EntryId]) -> Fate {
        let fate = self.fate(who, Connection::Acknowledgements);
        if fate != Fate::NotSent && !ids.is_empty() {
            self.redis.server.run(&arguments(&acknowledgement((STREAM, GROUP), ids)));
            self.tell(|| format!("consumer {who} acknowledges {} entries", ids.len()));
        }
        fate
    }

    /// A consumer is killed, or told to stop; what it has in flight and does not finish stays pending in the
    /// group.
    pub(crate) fn consumer_crashes(&mut self, who: usize) {
        if self.dice.percent(25) {
            let consumer = &mut self.consumers[who];
            consumer.pump.stop();
            consumer.stopping = true;
            return self.tell(|| format!("consumer {who} is told to stop"));
        }
        let in_flight = self.consumers[who].pump.in_flight();
        self.starts_again(who);
        self.tell(|| format!("consumer {who} is killed with {in_flight} batches in flight"));
    }

    fn starts_again_if_stopped(&mut self, who: usize) {
        let now = self.instant();
        let pump = &mut self.consumers[who].pump;
        let reading = pump.poll_reading(Entries::New, now);
        if matches!((reading, pump.poll_settling(now)), (Next::End, Next::End)) {
            self.starts_again(who);
            self.tell(|| format!("consumer {who} has stopped and starts again"));
        }
    }

    fn starts_again(&mut self, who: usize) {
        let renamed = self.dice.percent(40);
        let name = &self.consumers[who].name;
        let name = if renamed { format!("{name}+") } else { name.clone() };
        self.consumers[who] = Consumer::new(name, self.scenario.batch_size, self.instant());
    }

    pub(crate) fn consumer_is_idle(&self, who: usize) -> bool {
        self.consumers[who].pump.in_flight() == 0 && self.consumers[who].chore.is_none()
    }

    /// Unix seconds on the site's clock, as a consumer sees it.
    pub(crate) fn consumer_now(&mut self, who: usize) -> u64 {
        let (dial, instant) = (self.dial(), self.instant());
        let now = self.consumers[who].clock.told(dial, instant) / 1000;
        self.latest_now = self.latest_now.max(now);
        now
    }

    fn dial(&self) -> Dial {
        let head = self.keys.head();
        let reply = self.redis.server.run(&words(&["HMGET", &head, "clock", "time"]));
        let redis_ms = self.clock(self.redis.skew_ms);
        let number = |reply: &Reply| reply.text().parse().ok();
        let left = match reply.items() {
            [clock, time] => number(clock).map(|clock| (clock, number(time).unwrap_or(redis_ms))),
            _ => None,
        };
        Dial { left, redis_ms }
    }
}

fn attempt(fate: Fate) -> Attempt {
    if fate == Fate::Answered { Attempt::Done } else { Attempt::Failed }
}

fn broken_connection() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()
}

fn arguments(command: &Cmd) -> Vec<Bytes> {
    let word = |arg| match arg {
        redis::Arg::Simple(word) => <[u8]>::to_vec(word),
        _ => Vec::new(),
    };
    command.args_iter().map(word).collect()
}

/// A reply as the redis crate gives it.
fn value(reply: Reply) -> RedisResult<Value> {
    match reply {
        Reply::Error(text) => redis::parse_redis_value(format!("-{text}\r\n").as_bytes())?.extract_error(),
        reply => Ok(nested(reply)),
    }
}

fn nested(reply: Reply) -> Value {
    match reply {
        Reply::Nil | Reply::Error(_) => Value::Nil,
        Reply::Int(number) => Value::Int(number),
        Reply::Status(text) => Value::SimpleString(text.into()),
        Reply::Bulk(bytes) => Value::BulkString(bytes),
        Reply::Array(items) => Value::Array(items.into_iter().map(nested).collect()),
    }
}
