//! A tracker host: the shipped recorder and spool, and what is still to be done of what they asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tracker::traffic::{
    Call, DiskRequest, DiskResult, Limits, MemoryDisk, RecordScript, RecorderMachine, Rules, Store,
    Submission,
};

use super::message::Flight;

/// One recorder, from a start or a reload to the next one's.
pub(crate) struct Recording {
    pub(crate) machine: RecorderMachine<usize>,
    pub(crate) script: RecordScript,
    /// Announces that the recorder has not taken yet.
    pub(crate) queue: VecDeque<Submission<usize>>,
    /// Announces whose clients wait.
    pub(crate) unanswered: BTreeSet<usize>,
    /// The call under way.
    pub(crate) flight: Option<Flight>,
    /// What the recorder asks of the disk, until the disk has done it.
    pub(crate) request: Option<DiskRequest>,
    /// What came of it, until the recorder knows.
    pub(crate) result: Option<DiskResult>,
    /// What a mutated tracker has told the recorder to be written and has not written yet.
    pub(crate) unwritten: Vec<DiskRequest>,
    /// Nothing more comes: a reload put another recorder in its place.
    pub(crate) replaced: bool,
}

impl Recording {
    pub(crate) fn new(id: String, limits: Limits, rules: Rules) -> Self {
        Self {
            machine: RecorderMachine::new(id.clone(), limits),
            script: RecordScript::new(id, rules),
            queue: VecDeque::new(),
            unanswered: BTreeSet::new(),
            flight: None,
            request: None,
            result: None,
            unwritten: Vec::new(),
            replaced: false,
        }
    }

    fn is_idle(&self) -> bool {
        let disk_is_idle = self.request.is_none() && self.result.is_none() && self.unwritten.is_empty();
        self.unanswered.is_empty() && self.flight.is_none() && disk_is_idle
    }
}

/// One tracker host: its recorders come and go, its disk stays.
pub(crate) struct Tracker {
    /// The working one first. While it has the spool, those behind it wait.
    pub(crate) recordings: VecDeque<Recording>,
    /// How many recorders there were: each books under an id of its own.
    pub(crate) started: u32,
    pub(crate) skew_ms: i64,
    pub(crate) link_up: bool,
    pub(crate) disk: MemoryDisk,
    pub(crate) store: Store<MemoryDisk>,
    /// What is in the spool, by the ids and numbers under which it is booked.
    pub(crate) spooled: Vec<(String, u64)>,
    /// The announces that each recorder has numbered, in that order.
    pub(crate) numbered: BTreeMap<String, Vec<usize>>,
}

impl Tracker {
    pub(crate) fn new(skew_ms: i64, disk: MemoryDisk, store: Store<MemoryDisk>) -> Self {
        Self {
            recordings: VecDeque::new(),
            started: 0,
            skew_ms,
            link_up: true,
            disk,
            store,
            spooled: Vec::new(),
            numbered: BTreeMap::new(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.recordings.iter().all(Recording::is_idle) && self.store.is_empty()
    }

    /// The announce that is booked under a number.
    pub(crate) fn fact(&self, tracker_id: &str, sequence: u64) -> Option<usize> {
        let place = usize::try_from(sequence).ok()?.checked_sub(1)?;
        self.numbered.get(tracker_id)?.get(place).copied()
    }

    pub(crate) fn facts_of(&self, call: &Call, own: &str) -> Vec<usize> {
        let tracker_id = call.other_tracker_id().unwrap_or(own);
        call.entries().iter().filter_map(|entry| self.fact(tracker_id, entry.sequence)).collect()
    }
}
