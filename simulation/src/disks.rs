//! Trackers' disks: when they do what the spool asks, what they keep when a tracker dies, and which spooled
//! announce took the place of another.

use tracker::traffic::{DiskRequest, DiskResult, Fault, MemoryDisk, NumberedBooking, Store};

use crate::world::World;

/// Bytes that a disk may have written without being told to: parts of an entry, or whole ones.
const UNASKED: u64 = 300;

impl World<'_> {
    /// The disk does what the spool asks.
    pub(crate) fn disk_works(&mut self, slot: usize, request: DiskRequest) -> DiskResult {
        let appended = match &request {
            DiskRequest::Append { tracker_id, entries } => names(tracker_id, entries),
            _ => Vec::new(),
        };
        let left = match &request {
            DiskRequest::LetGo { batch, .. } => names(&batch.tracker_id, &batch.entries),
            _ => Vec::new(),
        };
        let tracker = &mut self.trackers[slot];
        let coalesced = tracker.store.coalesced();
        let result = request.carry_out(&mut tracker.store);
        if tracker.store.coalesced() > coalesced {
            self.find_replaced(slot);
        }
        let spooled = &mut self.trackers[slot].spooled;
        match &result {
            DiskResult::Appended(Ok(())) => spooled.extend(appended),
            DiskResult::LetGo(Ok(_)) => spooled.retain(|name| !left.contains(name)),
            _ => {}
        }
        self.tell(|| format!("the disk of tracker {slot}: {result:?}"));
        result
    }

    /// Out of room, the spool drops what says nothing that a later announce of its session does not say.
    fn find_replaced(&mut self, slot: usize) {
        let tracker = &mut self.trackers[slot];
        let left = listed(&tracker.disk, self.scenario.spool_bytes());
        let before = std::mem::take(&mut tracker.spooled);
        let facts: Vec<(usize, bool)> = before
            .iter()
            .filter_map(|name| Some((tracker.fact(&name.0, name.1)?, left.contains(name))))
            .collect();
        tracker.spooled = before.into_iter().filter(|name| left.contains(name)).collect();
        for (place, (fact, _)) in facts.iter().enumerate().filter(|(_, (_, stays))| !stays) {
            let session = self.facts[*fact].session;
            let same = |(next, stays): &&(usize, bool)| *stays && self.facts[*next].session == session;
            if let Some((next, _)) = facts[place..].iter().find(same)
                && !self.facts[*fact].heard
            {
                self.facts[*fact].replaced_by = Some(*next);
            }
        }
    }

    /// A disk is full or broken until it is mended.
    pub(crate) fn disk_fails(&mut self, slot: usize) {
        let room = usize::try_from(self.dice.within(0..=UNASKED)).unwrap_or(0);
        let fault = if self.dice.percent(50) { Fault::Broken } else { Fault::Full { room } };
        self.trackers[slot].disk.fail(Some(fault));
        self.tell(|| format!("the disk of tracker {slot} fails: {fault:?}"));
    }

    /// A tracker that was killed finds its disk as it was, or as a loss of power left it.
    pub(crate) fn disk_restarts(&mut self, slot: usize) {
        let keeps = usize::try_from(self.dice.within(0..=UNASKED)).unwrap_or(0);
        let power = self.dice.percent(50);
        let max_bytes = self.scenario.spool_bytes();
        let tracker = &mut self.trackers[slot];
        tracker.disk.fail(None);
        if power {
            tracker.disk.lose_power(keeps);
        }
        match Store::on(tracker.disk.clone(), max_bytes) {
            Ok(store) => tracker.store = store,
            // It has just been mended.
            Err(error) => unreachable!("a disk that works: {error}"),
        }
        tracker.spooled = listed(&tracker.disk, max_bytes);
        self.tell(|| {
            format!("the disk of tracker {slot} {}", if power { "lost power" } else { "is as it was" })
        });
    }
}

fn names(tracker_id: &str, entries: &[NumberedBooking]) -> Vec<(String, u64)> {
    entries.iter().map(|entry| (tracker_id.to_owned(), entry.sequence)).collect()
}

/// What a disk's spool holds, as the next tracker would find it.
fn listed(disk: &MemoryDisk, max_bytes: u64) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    let Ok(mut store) = Store::on(disk.copy(), max_bytes) else { return all };
    while let Ok(Some(batch)) = store.oldest(usize::MAX) {
        store.booked(&batch);
        all.extend(names(&batch.tracker_id, &batch.entries));
    }
    all
}
