//! Trackers: a queue, one batch under way, sent again unchanged after an unknown outcome, and a spool on disk
//! for when Redis is away. The arguments of each call and the script that reads them are the shipped ones.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use tracker::traffic::{Booking, Entry, RecordScript, Rules};

use crate::redis::{Bytes, Server};
use crate::scenario::Clocks;
use crate::world::World;

/// Announces in one call.
pub(crate) const BATCH: usize = 6;
/// How often a batch is sent before the tracker gives it up.
const ATTEMPTS: u32 = 3;

/// An announce with the name under which it is booked: that of the process which answered it, for ever.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) fact: usize,
    /// The script as that process calls it.
    pub(crate) script: Rc<RecordScript>,
    pub(crate) entry: Entry,
}

/// The batch under way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) number: u64,
    pub(crate) records: Vec<Record>,
    pub(crate) call: Rc<Vec<Bytes>>,
    pub(crate) attempts: u32,
    pub(crate) replay: bool,
    /// Entries that only a mutated tracker appends by itself.
    pub(crate) appends: VecDeque<Rc<Vec<Bytes>>>,
}

/// One tracker host: its process comes and goes, its spool stays.
pub(crate) struct Tracker {
    pub(crate) script: Rc<RecordScript>,
    pub(crate) process: u32,
    pub(crate) skew_ms: i64,
    pub(crate) link_up: bool,
    pub(crate) sequence: u64,
    /// This process's highest number that Redis is known to have booked.
    pub(crate) confirmed: u64,
    pub(crate) batches: u64,
    pub(crate) queue: VecDeque<(usize, Booking)>,
    pub(crate) flight: Option<Flight>,
    pub(crate) spooling: bool,
    pub(crate) spool: VecDeque<Record>,
    /// Records that a mutated tracker has answered and not written yet.
    pub(crate) unwritten: VecDeque<Record>,
}

impl Tracker {
    pub(crate) fn new(slot: usize, skew_ms: i64, rules: Rules) -> Self {
        Self {
            script: Rc::new(RecordScript::new(format!("t{slot}p0"), rules)),
            process: 0,
            skew_ms,
            link_up: true,
            sequence: 0,
            confirmed: 0,
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

impl World<'_> {
    pub(crate) fn tracker_hears(&mut self, slot: usize, fact: usize, ip: IpAddr) {
        let observed_ms = self.clock(self.trackers[slot].skew_ms);
        let booking = self.booking(fact, ip, observed_ms);
        self.trackers[slot].queue.push_back((fact, booking));
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
        for (fact, booking) in tracker.queue.drain(..count) {
            tracker.sequence += 1;
            let entry = Entry { booking, sequence: tracker.sequence };
            records.push(Record { fact, script: tracker.script.clone(), entry });
        }
        records
    }

    fn launch(&mut self, slot: usize, records: Vec<Record>, replay: bool) {
        let call = Rc::new(self.call(slot, &records));
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

    fn call(&self, slot: usize, records: &[Record]) -> Vec<Bytes> {
        let entries: Vec<Entry> = records.iter().map(|record| record.entry.clone()).collect();
        let (tracker, script) = (&self.trackers[slot], &records[0].script);
        let own = Rc::ptr_eq(script, &tracker.script);
        let call = script.call(&entries, if own { tracker.confirmed } else { 0 });
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

    pub(crate) fn tracker_crashes(&mut self, slot: usize) {
        self.tell(|| format!("tracker {slot} is killed and started again"));
        if self.scenario.clocks == Clocks::Wild {
            // With clocks that cannot be compared, what a dead process left on the wire must not come after
            // its successor.
            self.messages.retain(|message| message.slot != slot);
        }
        let rules = self.rules();
        let tracker = &mut self.trackers[slot];
        let waiting: Vec<usize> = tracker.queue.drain(..).map(|(fact, _)| fact).collect();
        let under_way = tracker.flight.take();
        tracker.unwritten.clear();
        tracker.process += 1;
        (tracker.sequence, tracker.confirmed) = (0, 0);
        tracker.script = Rc::new(RecordScript::new(format!("t{slot}p{}", tracker.process), rules));
        tracker.spooling = !tracker.spool.is_empty();
        let unanswered = under_way.iter().filter(|flight| !flight.replay);
        let facts: Vec<usize> = unanswered
            .flat_map(|flight| flight.records.iter().map(|record| record.fact))
            .chain(waiting)
            .collect();
        facts.into_iter().for_each(|fact| self.answer(fact, false));
    }

    /// The batch is booked: its clients are answered, or were when it was spooled.
    pub(crate) fn land(&mut self, slot: usize) {
        let tracker = &mut self.trackers[slot];
        let Some(flight) = tracker.flight.take() else { return };
        if let Some(last) = flight.records.last().filter(|last| Rc::ptr_eq(&last.script, &tracker.script)) {
            tracker.confirmed = tracker.confirmed.max(last.entry.sequence);
        }
        if flight.replay {
            tracker.spool.drain(..flight.records.len());
            return;
        }
        flight.records.iter().for_each(|record| self.answer(record.fact, true));
    }
}
