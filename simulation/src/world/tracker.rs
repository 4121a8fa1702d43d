//! A tracker host: the shipped recorder and spool, and what is still to be done of what they asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use tracker::traffic::{
    Call, DiskRequest, DiskResult, Limits, MemoryDisk, RecordScript, RecorderMachine, RecorderState, Rules,
    SharedClock, Store, Submission,
};

use super::Visit;
use super::message::Flight;

/// One recorder, from a start or a reload to the next one's.
pub(crate) struct Recording {
    /// Which of its tracker's recorders it is.
    pub(crate) number: u32,
    pub(crate) machine: RecorderMachine<usize>,
    /// What it stamps by; a reload hands it on.
    pub(crate) clock: SharedClock,
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
    pub(crate) fn new(
        (number, id): (u32, String),
        limits: Limits,
        rules: Rules,
        (clock, now): (SharedClock, Instant),
    ) -> Self {
        Self {
            number,
            machine: RecorderMachine::new(id.clone(), limits, rules.clone(), (clock.clone(), now)),
            clock,
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
        let rests = !matches!(self.machine.state(), RecorderState::Spooling | RecorderState::Refusing);
        self.unanswered.is_empty() && self.flight.is_none() && disk_is_idle && rests
    }
}

/// One tracker host: its recorders come and go, its disk stays.
pub(crate) struct Tracker {
    /// The working one first. While it has the spool, those behind it wait.
    pub(crate) recordings: VecDeque<Recording>,
    /// How many recorders there were: each books under an id of its own.
    pub(crate) started: u32,
    /// The first of them since it was killed last: each leaves its tail to the next.
    pub(crate) first: u32,
    /// Which tracker it is to its clients' paths: kept on its disk, or drawn anew by each process.
    pub(crate) identity: u32,
    /// What has reached it and is not with its recorder yet.
    pub(crate) visits: Vec<Visit>,
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
    pub(crate) fn new(identity: u32, skew_ms: i64, disk: MemoryDisk, store: Store<MemoryDisk>) -> Self {
        Self {
            recordings: VecDeque::new(),
            started: 0,
            first: 0,
            identity,
            visits: Vec::new(),
            skew_ms,
            link_up: true,
            disk,
            store,
            spooled: Vec::new(),
            numbered: BTreeMap::new(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.visits.is_empty() && self.recordings.iter().all(Recording::is_idle) && self.store.records() == 0
    }

    /// Whether this recorder's tail is still there: with it, or with one that followed.
    pub(crate) fn has_tail(&self, number: Option<u32>) -> bool {
        number.is_some_and(|number| number >= self.first) && !self.recordings.is_empty()
    }

    /// Whether this recorder may give Redis a tail that Redis has not lost: the one before has left it.
    pub(crate) fn takes_over(&self, number: Option<u32>) -> bool {
        number.is_none_or(|number| number > self.first)
    }

    /// The announce that is booked under a number.
    pub(crate) fn fact(&self, tracker_id: &str, sequence: u64) -> Option<usize> {
        let place = usize::try_from(sequence).ok()?.checked_sub(1)?;
        self.numbered.get(tracker_id)?.get(place).copied()
    }

    pub(crate) fn facts_of(&self, call: &Call, own: &str) -> Vec<usize> {
        let tracker_id = call.other_tracker_id().unwrap_or(own);
        call.entries().filter_map(|entry| self.fact(tracker_id, entry.sequence)).collect()
    }
}
