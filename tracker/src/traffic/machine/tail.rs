//! The tail: what Redis confirmed lately, as it was computed. A Redis that comes back older (a power cut, a
//! replica that lagged) is given it again, under the old numbers and seconds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::traffic::bookkeeper::Computed;
use crate::traffic::spool::TailLimits;

/// Bytes that an entry takes, roughly.
const ENTRY_BYTES: usize = 640;

#[derive(Debug)]
pub(super) struct Tail {
    limits: TailLimits,
    batches: VecDeque<Confirmed>,
    entries: usize,
}

/// What Redis confirmed at one time.
#[derive(Debug)]
struct Confirmed {
    /// The last call that was made until then.
    call: u64,
    at: Instant,
    batch: Arc<Vec<Computed>>,
    /// The other process that numbered it.
    other: Option<Arc<str>>,
}

/// Entries that Redis lost, and the other process that numbered them.
pub(super) type Lost<'a> = (Option<Arc<str>>, Vec<&'a Computed>);

impl Tail {
    pub(super) fn new(limits: TailLimits) -> Self {
        Self { limits, batches: VecDeque::new(), entries: 0 }
    }

    pub(super) fn push(
        &mut self,
        call: u64,
        batch: Arc<Vec<Computed>>,
        other: Option<Arc<str>>,
        now: Instant,
    ) {
        self.entries += batch.len();
        self.batches.push_back(Confirmed { call, at: now, batch, other });
        self.forget_what_is_old(now);
    }

    /// Takes over what another process was confirmed: before this call, as far as anybody knows.
    pub(super) fn join(&mut self, earlier: Self, tracker_id: &Arc<str>, call: u64) {
        for mut confirmed in earlier.batches {
            confirmed.call = call;
            confirmed.other.get_or_insert_with(|| tracker_id.clone());
            self.entries += confirmed.batch.len();
            self.batches.push_back(confirmed);
        }
        self.batches.make_contiguous().sort_by_key(|confirmed| confirmed.at);
    }

    /// Redis has had time enough to write it down.
    pub(super) fn forget_what_is_old(&mut self, now: Instant) {
        let most = usize::try_from(self.limits.max_bytes).unwrap_or(usize::MAX) / ENTRY_BYTES;
        let age = Duration::from_secs(self.limits.seconds);
        while let Some(oldest) = self.batches.front()
            && (self.entries > most || now.saturating_duration_since(oldest.at) > age)
        {
            self.entries -= oldest.batch.len();
            self.batches.pop_front();
        }
    }

    /// What was booked after this call, in parts of `most`. In the order of the numbers, which is not that in
    /// which Redis confirmed them: it takes a number below its highest for one that it has booked.
    pub(super) fn after(&self, call: u64, most: usize) -> Vec<Lost<'_>> {
        let mut lost: Vec<Lost<'_>> = Vec::new();
        for Confirmed { batch, other, .. } in self.batches.iter().filter(|confirmed| confirmed.call > call) {
            match lost.iter_mut().find(|(known, _)| known == other) {
                Some((_, known)) => known.extend(batch.iter()),
                None => lost.push((other.clone(), batch.iter().collect())),
            }
        }
        for (_, entries) in &mut lost {
            entries.sort_by_key(|it| it.entry.sequence);
            entries.dedup_by_key(|it| it.entry.sequence);
        }
        let parts = lost.iter().flat_map(|(other, entries)| {
            entries.chunks(most.max(1)).map(|part| (other.clone(), part.to_vec()))
        });
        parts.collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }
}
