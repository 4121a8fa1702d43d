//! What is between a tracker process and Redis: batches one way, answers the other, in any order, more than
//! once, or never.

use std::rc::Rc;

use crate::redis::{Bytes, Reply};
use crate::trackers::Flight;
use crate::world::{Checked, World};

/// Something between a tracker process and Redis. It is dropped when Redis goes, and not when the tracker
/// goes.
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
    /// Puts what the flight has to say next on the wire, if there is one.
    pub(crate) fn transmit(&mut self, slot: usize) {
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
}
