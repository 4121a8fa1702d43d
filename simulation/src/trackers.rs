//! Trackers: a queue, one batch under way, sent again unchanged after an unknown outcome, and a spool on disk for when Redis is away.
//! The arguments of each call and the script that reads them are the shipped ones.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use contract::Event;
use tracker::announce::Report;
use tracker::traffic::{Entry, RecordScript, Rules};

use crate::mutation::Mutation;
use crate::redis::{Bytes, Reply, Server};
use crate::scenario::Clocks;
use crate::world::{Checked, World};

/// Announces in one call.
const BATCH: usize = 6;
/// How often a batch is sent before the tracker gives it up.
const ATTEMPTS: u32 = 3;

/// An announce with the name under which it is booked: that of the process which answered it, for ever.
#[derive(Debug, Clone)]
struct Record {
    fact: usize,
    /// The script as that process calls it.
    script: Rc<RecordScript>,
    entry: Entry,
}

/// The batch under way.
#[derive(Debug)]
struct Flight {
    number: u64,
    records: Vec<Record>,
    call: Rc<Vec<Bytes>>,
    attempts: u32,
    replay: bool,
    /// Entries that only a mutated tracker appends by itself.
    appends: VecDeque<Rc<Vec<Bytes>>>,
}

/// One tracker host: its process comes and goes, its spool stays.
pub(crate) struct Tracker {
    script: Rc<RecordScript>,
    pub(crate) process: u32,
    pub(crate) skew_ms: i64,
    pub(crate) link_up: bool,
    sequence: u64,
    batches: u64,
    queue: VecDeque<(usize, Report)>,
    flight: Option<Flight>,
    spooling: bool,
    spool: VecDeque<Record>,
    /// Records that a mutated tracker has answered and not written yet.
    unwritten: VecDeque<Record>,
}

impl Tracker {
    pub(crate) fn new(slot: usize, skew_ms: i64, rules: Rules) -> Self {
        Self {
            script: Rc::new(RecordScript::new(format!("t{slot}p0"), rules)),
            process: 0,
            skew_ms,
            link_up: true,
            sequence: 0,
            batches: 0,
            queue: VecDeque::new(),
            flight: None,
            spooling: false,
            spool: VecDeque::new(),
            unwritten: VecDeque::new(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.flight.is_none() && self.spool.is_empty() && self.unwritten.is_empty()
    }
}

/// Something between a tracker process and Redis. It is dropped when Redis goes, and not when the tracker goes.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) slot: usize,
    process: u32,
    batch: u64,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// A call of the script, and the announces it books.
    Book(Rc<Vec<Bytes>>, Rc<Vec<usize>>),
    /// An `XADD` of a mutated tracker's own.
    Append(Rc<Vec<Bytes>>),
    Booked(Reply),
    Appended,
}

impl World<'_> {
    pub(crate) fn tracker_hears(&mut self, slot: usize, fact: usize, ip: IpAddr) {
        let observed_ms = self.clock(self.trackers[slot].skew_ms);
        let report = self.report(fact, ip, observed_ms);
        self.trackers[slot].queue.push_back((fact, report));
    }

    /// A tracker does what it can without waiting.
    pub(crate) fn tracker_turn(&mut self, slot: usize) {
        self.write_behind(slot);
        if self.trackers[slot].spooling {
            let records = self.take_queue(slot, usize::MAX);
            self.spool(slot, records);
            if self.trackers[slot].is_idle() {
                self.trackers[slot].spooling = false;
                self.tell(|| format!("tracker {slot} has replayed its spool"));
            }
        }
        if self.trackers[slot].flight.is_some() {
            return;
        }
        let replay = self.trackers[slot].spooling;
        let records = if replay { self.head_of_spool(slot) } else { self.take_queue(slot, BATCH) };
        if !records.is_empty() {
            self.launch(slot, records, replay);
        }
    }

    fn take_queue(&mut self, slot: usize, most: usize) -> Vec<Record> {
        let tracker = &mut self.trackers[slot];
        let count = tracker.queue.len().min(most);
        let mut records = Vec::with_capacity(count);
        for (fact, report) in tracker.queue.drain(..count) {
            tracker.sequence += 1;
            let entry = Entry { booking: report.into(), sequence: tracker.sequence };
            records.push(Record { fact, script: tracker.script.clone(), entry });
        }
        records
    }

    /// The oldest records of one process.
    fn head_of_spool(&self, slot: usize) -> Vec<Record> {
        let spool = &self.trackers[slot].spool;
        let Some(first) = spool.front() else { return Vec::new() };
        let same = spool.iter().take_while(|record| Rc::ptr_eq(&record.script, &first.script));
        same.take(BATCH).cloned().collect()
    }

    fn launch(&mut self, slot: usize, records: Vec<Record>, replay: bool) {
        let call = Rc::new(self.call(&records));
        let tracker = &mut self.trackers[slot];
        tracker.batches += 1;
        let number = tracker.batches;
        let facts: Vec<usize> = records.iter().map(|record| record.fact).collect();
        tracker.flight =
            Some(Flight { number, records, call, attempts: 1, replay, appends: VecDeque::new() });
        self.tell(|| {
            let word = if replay { "replays" } else { "sends" };
            format!("tracker {slot} {word} batch {number}: announces {facts:?}")
        });
        self.transmit(slot);
    }

    /// How this site's trackers compute deltas.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            skip_idle: self.scenario.skip_idle,
            credit_first_started: self.scenario.credit_first,
            ..Rules::new(&self.keys)
        }
    }

    fn call(&self, records: &[Record]) -> Vec<Bytes> {
        let entries: Vec<Entry> = records.iter().map(|record| record.entry.clone()).collect();
        let call = records[0].script.call(&entries, 0);
        let mut args: Vec<Bytes> = call
            .args_iter()
            .map(|arg| match arg {
                ::redis::Arg::Simple(bytes) => bytes.to_vec(),
                _ => Bytes::new(),
            })
            .collect();
        if self.mutation.is_some() {
            args[1] = Server::sha(&self.scripts.record).into_bytes();
        }
        args
    }

    /// Puts what the flight has to say next on the wire, if there is one.
    fn transmit(&mut self, slot: usize) {
        let tracker = &self.trackers[slot];
        let (Some(flight), true) = (&tracker.flight, tracker.link_up && self.redis.up) else { return };
        let what = match flight.appends.front() {
            Some(append) => What::Append(append.clone()),
            None => {
                let facts = flight.records.iter().map(|record| record.fact).collect();
                What::Book(flight.call.clone(), Rc::new(facts))
            }
        };
        self.messages.push(Message { slot, process: tracker.process, batch: flight.number, what });
    }

    /// A tracker has waited long enough for an answer.
    pub(crate) fn tracker_times_out(&mut self, slot: usize) {
        let Some(flight) = &mut self.trackers[slot].flight else { return };
        if self.settling && self.messages.iter().any(|message| message.slot == slot) {
            return;
        }
        flight.attempts += 1;
        let number = flight.number;
        if flight.attempts <= ATTEMPTS || flight.replay || self.settling {
            self.tell(|| format!("tracker {slot} sends batch {number} again"));
            return self.transmit(slot);
        }
        let Some(flight) = self.trackers[slot].flight.take() else { return };
        self.tell(|| format!("tracker {slot} gives up on batch {number}"));
        if self.scenario.spool == 0 {
            return flight.records.iter().for_each(|record| self.answer(record.fact, false));
        }
        self.trackers[slot].spooling = true;
        self.spool(slot, flight.records);
    }

    /// Writes records to the disk, then answers; refuses those for which there is no room.
    fn spool(&mut self, slot: usize, records: Vec<Record>) {
        for record in records {
            let fact = record.fact;
            let stored = self.make_room(slot, &record);
            if stored {
                match self.mutation {
                    Some(Mutation::AnswerBeforeSpool) => self.trackers[slot].unwritten.push_back(record),
                    _ => self.trackers[slot].spool.push_back(record),
                }
            }
            self.tell(|| {
                format!(
                    "tracker {slot} {} announce {fact}",
                    if stored { "spools" } else { "has no room for" }
                )
            });
            self.answer(fact, stored);
        }
    }

    /// A plain announce takes the place of the session's last record when that is a plain one, too, of lower counters.
    fn make_room(&mut self, slot: usize, record: &Record) -> bool {
        let tracker = &mut self.trackers[slot];
        let under_way = tracker.flight.as_ref().map_or(0, |flight| flight.records.len());
        let session = self.facts[record.fact].session;
        let last = tracker.spool.iter().rposition(|old| self.facts[old.fact].session == session);
        let fact = self.facts[record.fact].clone();
        if let Some(at) = last.filter(|at| *at >= under_way) {
            let old = &mut self.facts[tracker.spool[at].fact];
            let plain = old.event == Event::None && fact.event == Event::None;
            if plain && old.up <= fact.up && old.down <= fact.down {
                old.replaced_by = Some(record.fact);
                tracker.spool.remove(at);
            }
        }
        tracker.spool.len() < self.scenario.spool
    }

    fn write_behind(&mut self, slot: usize) {
        let tracker = &mut self.trackers[slot];
        let late = std::mem::take(&mut tracker.unwritten);
        tracker.spool.extend(late);
    }

    pub(crate) fn tracker_crashes(&mut self, slot: usize) {
        self.tell(|| format!("tracker {slot} is killed and started again"));
        if self.scenario.clocks == Clocks::Wild {
            // With clocks that cannot be compared, what a dead process left on the wire must not come after its successor.
            self.messages.retain(|message| message.slot != slot);
        }
        let rules = self.rules();
        let tracker = &mut self.trackers[slot];
        let waiting: Vec<usize> = tracker.queue.drain(..).map(|(fact, _)| fact).collect();
        let under_way = tracker.flight.take();
        tracker.unwritten.clear();
        tracker.process += 1;
        tracker.sequence = 0;
        tracker.script = Rc::new(RecordScript::new(format!("t{slot}p{}", tracker.process), rules));
        tracker.spooling = !tracker.spool.is_empty();
        let unanswered = under_way.iter().filter(|flight| !flight.replay);
        let facts: Vec<usize> = unanswered
            .flat_map(|flight| flight.records.iter().map(|record| record.fact))
            .chain(waiting)
            .collect();
        facts.into_iter().for_each(|fact| self.answer(fact, false));
    }

    /// A message arrives: at Redis, or back at its tracker if that still lives.
    pub(crate) fn deliver(&mut self, message: Message) -> Checked {
        let Message { slot, process, batch, what } = message;
        let reply = match what {
            What::Book(call, facts) => What::Booked(self.redis_books(&call, &facts)?),
            What::Append(args) => {
                self.redis.server.run(&args);
                self.look_at_new_entries()?;
                What::Appended
            }
            What::Booked(reply) => return self.booked(slot, process, batch, &reply),
            What::Appended => {
                self.appended(slot, process, batch);
                return Ok(());
            }
        };
        self.messages.push(Message { slot, process, batch, what: reply });
        Ok(())
    }

    fn booked(&mut self, slot: usize, process: u32, batch: u64, reply: &Reply) -> Checked {
        let Some(flight) = self.flight(slot, process, batch) else { return Ok(()) };
        if let [Reply::Array(_), deferred] = reply.items() {
            let stream = b"tracker:traffic".to_vec();
            let command = |fields: &Reply| {
                let words = fields.items().iter().map(|word| word.text().as_bytes().to_vec());
                Rc::new([b"XADD".to_vec(), stream.clone(), b"*".to_vec()].into_iter().chain(words).collect())
            };
            flight.appends = deferred.items().iter().map(command).collect();
        }
        if flight.appends.is_empty() {
            self.land(slot);
        } else {
            self.transmit(slot);
        }
        Ok(())
    }

    fn appended(&mut self, slot: usize, process: u32, batch: u64) {
        let Some(flight) = self.flight(slot, process, batch) else { return };
        flight.appends.pop_front();
        if flight.appends.is_empty() {
            self.land(slot);
        } else {
            self.transmit(slot);
        }
    }

    fn flight(&mut self, slot: usize, process: u32, batch: u64) -> Option<&mut Flight> {
        let tracker = &mut self.trackers[slot];
        let same = tracker.process == process;
        tracker.flight.as_mut().filter(|flight| same && flight.number == batch)
    }

    /// The batch is booked: its clients are answered, or were when it was spooled.
    fn land(&mut self, slot: usize) {
        let tracker = &mut self.trackers[slot];
        let Some(flight) = tracker.flight.take() else { return };
        if flight.replay {
            tracker.spool.drain(..flight.records.len());
            return;
        }
        flight.records.iter().for_each(|record| self.answer(record.fact, true));
    }
}
