//! What is between a tracker and Redis: calls one way, answers the other, in any order, more than once, or
//! never.

use std::collections::VecDeque;
use std::rc::Rc;

use tracker::traffic::{Call, FailureKind, Input, Receipt, SendFailure};

use crate::redis::{Bytes, Reply, Server};
use crate::world::{Checked, Flight, Message, Tail, What, World};

/// How long a tracker waits for an answer.
const CALL_MS: u64 = 5000;

impl World<'_> {
    /// Puts a call on the wire, if there is one.
    pub(crate) fn launch(&mut self, slot: usize, place: usize, call: &Call) {
        let tracker = &self.trackers[slot];
        let script = &tracker.recordings[place].script;
        let facts = tracker.facts_of(call, script.tracker_id());
        let id: Rc<str> = script.tracker_id().into();
        let other = call.other_tracker_id().map(|other| script.on_behalf_of(other));
        let command = other.as_ref().unwrap_or(script).call(call.batch(), call.said());
        let mut args: Vec<Bytes> = command.args_iter().map(|arg| bytes(&arg)).collect();
        if self.mutation.is_some() {
            args[1] = Server::sha(&self.scripts.record).into_bytes();
        }
        let number = call.number;
        self.tell(|| format!("tracker {slot} ({id}) makes call {number}: announces {facts:?}"));
        let lost = !(self.trackers[slot].link_up && self.redis.up);
        let flight = Flight { number, lost, sent_ms: self.now_ms, deferred: None };
        self.trackers[slot].recordings[place].flight = Some(flight);
        if !lost {
            let what = What::Book(Rc::new(args), Rc::new(facts));
            self.messages.push(Message { slot, sent_ms: self.now_ms, from: (id, number), what });
        }
    }

    /// A connection that cannot be made fails at once, a silent one when the tracker is tired of it.
    pub(crate) fn notices_lost_call(&mut self, slot: usize, place: usize) {
        let Some(flight) = &self.trackers[slot].recordings[place].flight else { return };
        if flight.lost || self.is_overdue(flight) {
            self.give_up(slot, place, flight.number);
        }
    }

    fn is_overdue(&self, flight: &Flight) -> bool {
        self.now_ms > flight.sent_ms + CALL_MS
    }

    /// A tracker has waited long enough for an answer.
    pub(crate) fn tracker_times_out(&mut self, slot: usize) {
        if self.settling && self.messages.iter().any(|message| message.slot == slot) {
            return;
        }
        for place in 0..self.trackers[slot].recordings.len() {
            if let Some(Flight { number, .. }) = self.trackers[slot].recordings[place].flight {
                self.give_up(slot, place, number);
            }
        }
    }

    fn give_up(&mut self, slot: usize, place: usize, number: u64) {
        self.trackers[slot].recordings[place].flight = None;
        let failure = SendFailure { kind: FailureKind::Unreachable, reason: "no answer".into() };
        self.hand(slot, place, Input::Answered { call: number, answer: Err(failure) });
    }

    /// A message arrives: at Redis, or back at its recorder if that still lives.
    pub(crate) fn deliver(&mut self, message: Message) -> Checked {
        let Message { slot, from, what, .. } = message;
        let what = match what {
            What::Book(call, facts) => {
                let tail = Tail { slot, number: self.recorder(slot, &from.0) };
                let (receipt, reply) = self.redis_books(tail, &call, &facts)?;
                What::Booked(receipt, reply)
            }
            What::Append(args) => {
                self.redis.server.run(&args);
                self.look_at_new_entries()?;
                What::Appended
            }
            What::Booked(receipt, reply) => {
                self.booked(slot, &from, receipt, &reply);
                return Ok(());
            }
            What::Appended => {
                self.appended(slot, &from);
                return Ok(());
            }
        };
        self.messages.push(Message { slot, sent_ms: self.now_ms, from, what });
        Ok(())
    }

    fn booked(&mut self, slot: usize, from: &(Rc<str>, u64), receipt: Receipt, reply: &Reply) {
        let Some(place) = self.recording(slot, &from.0) else { return };
        self.notices_lost_call(slot, place);
        let stream = b"tracker:traffic".to_vec();
        let command = |fields: &Reply| {
            let words = fields.items().iter().map(|word| word.text().as_bytes().to_vec());
            Rc::new([b"XADD".to_vec(), stream.clone(), b"*".to_vec()].into_iter().chain(words).collect())
        };
        let deferred: VecDeque<_> = match reply.items() {
            [Reply::Array(_), deferred] => deferred.items().iter().map(command).collect(),
            _ => VecDeque::new(),
        };
        let flight = self.trackers[slot].recordings[place].flight.as_mut();
        match flight.filter(|flight| flight.number == from.1) {
            Some(flight) if !deferred.is_empty() => {
                flight.deferred = Some((receipt, deferred));
                self.append_next(slot, place, from);
            }
            // An answer that nobody waits for any more reaches the recorder, too.
            flight => {
                if flight.is_some() {
                    self.trackers[slot].recordings[place].flight = None;
                }
                self.hand(slot, place, Input::Answered { call: from.1, answer: Ok(receipt) });
            }
        }
    }

    fn append_next(&mut self, slot: usize, place: usize, from: &(Rc<str>, u64)) {
        let recording = &mut self.trackers[slot].recordings[place];
        let Some(Flight { deferred: Some((_, appends)), .. }) = &recording.flight else { return };
        match appends.front() {
            Some(append) => {
                let what = What::Append(append.clone());
                self.messages.push(Message { slot, sent_ms: self.now_ms, from: from.clone(), what });
            }
            None => {
                let Some((receipt, _)) = recording.flight.take().and_then(|flight| flight.deferred) else {
                    return;
                };
                self.hand(slot, place, Input::Answered { call: from.1, answer: Ok(receipt) });
            }
        }
    }

    fn appended(&mut self, slot: usize, from: &(Rc<str>, u64)) {
        let Some(place) = self.recording(slot, &from.0) else { return };
        let flight = self.trackers[slot].recordings[place].flight.as_mut();
        let Some(flight) = flight.filter(|flight| flight.number == from.1) else { return };
        if let Some((_, appends)) = &mut flight.deferred {
            appends.pop_front();
        }
        self.append_next(slot, place, from);
    }

    /// Which of a tracker's recorders has this id, or had it.
    fn recorder(&self, slot: usize, id: &str) -> Option<u32> {
        self.recording(slot, id).map(|place| self.trackers[slot].recordings[place].number)
    }

    fn recording(&self, slot: usize, id: &str) -> Option<usize> {
        self.trackers[slot].recordings.iter().position(|recording| recording.script.tracker_id() == id)
    }
}

fn bytes(arg: &::redis::Arg<&[u8]>) -> Bytes {
    match arg {
        ::redis::Arg::Simple(bytes) => bytes.to_vec(),
        _ => Bytes::new(),
    }
}
