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

    pub(super) fn push(&mut self, batch: Arc<Vec<Computed>>, other: Option<Arc<str>>, now: Instant) {
        self.entries += batch.len();
        self.batches.push_back(Confirmed { at: now, batch, other });
        let most = usize::try_from(self.limits.max_bytes).unwrap_or(usize::MAX) / ENTRY_BYTES;
        let age = Duration::from_secs(self.limits.seconds);
        while let Some(oldest) = self.batches.front()
            && (self.entries > most || now.saturating_duration_since(oldest.at) > age)
        {
            self.entries -= oldest.batch.len();
            self.batches.pop_front();
        }
    }

    /// What has a number above this one, in the order in which Redis confirmed it; and everything that other
    /// processes numbered, because Redis knows whether it has that.
    pub(super) fn after(&self, number: u64) -> Vec<Lost<'_>> {
        let lost = self.batches.iter().map(|confirmed| {
            let is_lost = |it: &&Computed| confirmed.other.is_some() || it.entry.sequence > number;
            (confirmed.other.clone(), confirmed.batch.iter().filter(is_lost).collect::<Vec<_>>())
        });
        lost.filter(|(_, entries)| !entries.is_empty()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }
}
