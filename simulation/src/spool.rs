//! A tracker's spool: on disk before the clients are answered, booked in order and before anything newer.
//!
//! Out of room, it drops plain announces that lie between a lower and a higher one of their session, as the
//! tracker's own does.

use std::collections::BTreeMap;
use std::rc::Rc;

use contract::Event;

use crate::mutation::Mutation;
use crate::trackers::{BATCH, Record};
use crate::world::World;

impl World<'_> {
    /// Writes a batch to the disk, all of it or nothing, then answers.
    pub(crate) fn spool(&mut self, slot: usize, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        if !self.has_room(slot, records.len()) {
            self.compact(slot);
        }
        let stored = self.has_room(slot, records.len());
        let facts: Vec<usize> = records.iter().map(|record| record.fact).collect();
        self.tell(|| {
            format!(
                "tracker {slot} {} announces {facts:?}",
                if stored { "spools" } else { "has no room for" }
            )
        });
        if stored {
            let tracker = &mut self.trackers[slot];
            match self.mutation {
                Some(Mutation::AnswerBeforeSpool) => tracker.unwritten.extend(records),
                _ => tracker.spool.extend(records),
            }
        }
        facts.into_iter().for_each(|fact| self.answer(fact, stored));
    }

    fn has_room(&self, slot: usize, records: usize) -> bool {
        let tracker = &self.trackers[slot];
        tracker.spool.len() + tracker.unwritten.len() + records <= self.scenario.spool
    }

    fn compact(&mut self, slot: usize) {
        let tracker = &mut self.trackers[slot];
        // What is on its way to Redis stays where it is.
        let under_way = tracker.flight.as_ref().map_or(0, |flight| flight.records.len());
        let mut newest: BTreeMap<usize, (usize, bool)> = BTreeMap::new();
        let mut dropped = Vec::new();
        for (place, record) in tracker.spool.iter().enumerate() {
            let session = self.facts[record.fact].session;
            let earlier = newest.get(&session).copied();
            let rises = earlier.is_some_and(|(before, _)| rises(&tracker.spool[before], record));
            if let Some((before, true)) = earlier
                && rises
                && before >= under_way
                && alike(&tracker.spool[before], record)
            {
                self.facts[tracker.spool[before].fact].replaced_by = Some(record.fact);
                dropped.push(before);
            }
            newest.insert(session, (place, rises));
        }
        dropped.sort_unstable();
        for place in dropped.into_iter().rev() {
            tracker.spool.remove(place);
        }
    }

    /// The oldest records of one process.
    pub(crate) fn head_of_spool(&self, slot: usize) -> Vec<Record> {
        let spool = &self.trackers[slot].spool;
        let Some(first) = spool.front() else { return Vec::new() };
        let same = spool.iter().take_while(|record| Rc::ptr_eq(&record.script, &first.script));
        same.take(BATCH).cloned().collect()
    }

    /// What a mutated tracker has answered reaches the disk.
    pub(crate) fn write_behind(&mut self, slot: usize) {
        let tracker = &mut self.trackers[slot];
        let late = std::mem::take(&mut tracker.unwritten);
        tracker.spool.extend(late);
    }
}

fn rises(earlier: &Record, later: &Record) -> bool {
    let (earlier, later) = (&earlier.entry.booking, &later.entry.booking);
    later.uploaded >= earlier.uploaded && later.downloaded >= earlier.downloaded
}

fn alike(earlier: &Record, later: &Record) -> bool {
    let (earlier, later) = (&earlier.entry.booking, &later.entry.booking);
    let plain = earlier.event == Event::None && later.event == Event::None;
    plain && (earlier.left == 0) == (later.left == 0)
}
