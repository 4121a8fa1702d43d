//! Trackers in virtual time: the shipped recorder and the shipped spool, and around them what a tracker's
//! driver does: it carries the recorder's actions out, one after the other and whenever the dice say so,
//! until it is killed in between.

use std::time::Duration;

use tracker::traffic::{
    Action, DiskRequest, DiskResult, Input, Limits, MemoryDisk, Rules, SharedClock, Store, Submission,
    TailLimits,
};

use crate::mutation::Mutation;
use crate::world::{Recording, Tracker, Visit, World};

/// Announces in one call.
const BATCH: usize = 6;
/// How often in a hundred steps an announce goes on to the recorder, with and without a slow look-up.
const LINGERING: u64 = 10;
const PROMPT: u64 = 85;

impl World<'_> {
    pub(crate) fn add_tracker(&mut self, skew_ms: i64) {
        let disk = MemoryDisk::default();
        let Ok(store) = Store::on(disk.clone(), self.scenario.spool_bytes()) else { return };
        self.identities += 1;
        self.trackers.push(Tracker::new(self.identities, skew_ms, disk, store));
        self.start_recorder(self.trackers.len() - 1);
    }

    fn start_recorder(&mut self, slot: usize) {
        let limits = Limits {
            batch: BATCH,
            replay_batch: BATCH,
            retry_count: self.scenario.retries,
            retry_interval: Duration::from_millis(200),
            has_spool: self.scenario.spool > 0,
            tail: TailLimits::default(),
        };
        let rules = self.rules();
        let (wall_ms, now) = (self.clock(self.trackers[slot].skew_ms), self.instant());
        let tracker = &mut self.trackers[slot];
        let id = (tracker.started, format!("t{slot}p{}", tracker.started));
        tracker.started += 1;
        let left_ms = tracker.store.newest_ms().unwrap_or_default();
        let last = tracker.recordings.back().map(|last| last.clock.clone());
        let clock = last.unwrap_or_else(|| SharedClock::guessed(wall_ms, left_ms, now));
        tracker.recordings.push_back(Recording::new(id, limits, rules, (clock, now)));
        let place = tracker.recordings.len() - 1;
        // Only a spool must not have two owners.
        if place == 0 || self.scenario.spool == 0 {
            self.hand(slot, place, Input::Begin);
        }
    }

    /// How this site's trackers compute deltas.
    fn rules(&self) -> Rules {
        Rules {
            skip_idle: self.scenario.skip_idle,
            credit_first_started: self.scenario.credit_first,
            ..Rules::new(&self.keys)
        }
    }

    /// What has arrived is read in any order, and waits for its look-up.
    fn visits_go_on(&mut self, slot: usize) {
        for _ in 0..self.trackers[slot].visits.len() {
            let place = self.dice.index(self.trackers[slot].visits.len());
            let lingers = self.trackers[slot].visits[place].lingers;
            if self.settling || self.dice.percent(if lingers { LINGERING } else { PROMPT }) {
                let visit = self.trackers[slot].visits.swap_remove(place);
                self.is_submitted(slot, visit);
            }
        }
    }

    fn is_submitted(&mut self, slot: usize, Visit { fact, arrived_ms, .. }: Visit) {
        let is_late = self.mutation == Some(Mutation::ArrivalTakenLate);
        let arrived_ms = if is_late { self.now_ms } else { arrived_ms };
        let arrived = self.instant_of(arrived_ms);
        let Some(booking) = self.booking(fact) else { return };
        let Some(newest) = self.trackers[slot].recordings.back_mut() else { return };
        newest.unanswered.insert(fact);
        newest.queue.push_back(Submission { booking, arrived, token: fact });
    }

    /// A tracker does what it can without waiting.
    pub(crate) fn tracker_step(&mut self, slot: usize) {
        self.visits_go_on(slot);
        for place in 0..self.trackers[slot].recordings.len() {
            self.disk_step(slot, place);
            self.notices_lost_call(slot, place);
            let recording = &self.trackers[slot].recordings[place];
            if recording.machine.deadline().is_some_and(|deadline| deadline <= self.instant()) {
                self.hand(slot, place, Input::Time);
            }
            self.reports(slot, place);
        }
        self.next_recorder(slot);
    }

    fn disk_step(&mut self, slot: usize, place: usize) {
        let recording = &mut self.trackers[slot].recordings[place];
        for late in std::mem::take(&mut recording.unwritten) {
            self.disk_works(slot, late);
        }
        if let Some(request) = self.trackers[slot].recordings[place].request.take() {
            let result = self.disk_works(slot, request);
            self.trackers[slot].recordings[place].result = Some(result);
            // The tracker may be killed before it knows.
            if !self.settling && self.dice.percent(30) {
                return;
            }
        }
        if let Some(result) = self.trackers[slot].recordings[place].result.take() {
            self.hand(slot, place, Input::Disk(result));
        }
    }

    fn reports(&mut self, slot: usize, place: usize) {
        let recording = &mut self.trackers[slot].recordings[place];
        let count = recording.machine.room().min(recording.queue.len());
        if count == 0 {
            if recording.replaced && recording.queue.is_empty() && recording.machine.room() > 0 {
                self.hand(slot, place, Input::Closed);
            }
            return;
        }
        let mut reports: Vec<Submission<usize>> = recording.queue.drain(..count).collect();
        let facts = reports.iter().map(|report| report.token);
        let id = recording.script.tracker_id().to_owned();
        self.trackers[slot].numbered.entry(id).or_default().extend(facts);
        self.hand(slot, place, Input::Reports(&mut reports));
    }

    /// The next recorder begins when the one before it has ended.
    fn next_recorder(&mut self, slot: usize) {
        let recordings = &mut self.trackers[slot].recordings;
        if recordings.len() < 2 || !recordings[0].machine.has_ended() {
            return;
        }
        let heritage = recordings.pop_front().map(|mut ended| ended.machine.leave());
        if self.scenario.spool > 0 {
            self.hand(slot, 0, Input::Begin);
        }
        if let Some(heritage) = heritage {
            self.hand(slot, 0, Input::Heritage(heritage));
        }
        self.next_recorder(slot);
    }

    /// Tells a recorder what happened, and does what it says then.
    pub(crate) fn hand(&mut self, slot: usize, place: usize, input: Input<'_, usize>) {
        let now = self.instant();
        self.trackers[slot].recordings[place].machine.handle(input, now);
        while let Some(action) = self.trackers[slot].recordings[place].machine.poll() {
            match action {
                Action::Send(call) => self.launch(slot, place, &call),
                Action::Disk(request) => self.ask_disk(slot, place, request),
                Action::Answer { tokens, verdict } => {
                    for fact in tokens {
                        self.trackers[slot].recordings[place].unanswered.remove(&fact);
                        self.answer(fact, verdict.is_ok());
                    }
                }
                Action::Notice(notice) => self.tell(|| format!("tracker {slot}: {notice:?}")),
            }
        }
    }

    fn ask_disk(&mut self, slot: usize, place: usize, request: DiskRequest) {
        let recording = &mut self.trackers[slot].recordings[place];
        if self.mutation == Some(Mutation::AnswerBeforeSpool) && matches!(request, DiskRequest::Append { .. })
        {
            recording.unwritten.push(request);
            recording.result = Some(DiskResult::Appended(Ok(())));
        } else {
            recording.request = Some(request);
        }
    }

    /// A reload puts another recorder in the place of this one, which finishes what it has. Without a spool
    /// both work at the same time.
    pub(crate) fn tracker_reloads(&mut self, slot: usize) {
        let Some(newest) = self.trackers[slot].recordings.back_mut() else { return };
        newest.replaced = true;
        self.tell(|| format!("tracker {slot} is reloaded"));
        self.start_recorder(slot);
    }

    pub(crate) fn tracker_crashes(&mut self, slot: usize) {
        self.tell(|| format!("tracker {slot} is killed and started again"));
        let dead = std::mem::take(&mut self.trackers[slot].recordings);
        let turned_away = std::mem::take(&mut self.trackers[slot].visits);
        self.disk_restarts(slot);
        self.trackers[slot].first = self.trackers[slot].started;
        self.what_no_tail_has();
        if self.scenario.spool == 0 {
            self.identities += 1;
            self.trackers[slot].identity = self.identities;
        }
        self.start_recorder(slot);
        turned_away.iter().for_each(|visit| self.answer(visit.fact, false));
        dead.into_iter().flat_map(|dead| dead.unanswered).for_each(|fact| self.answer(fact, false));
    }
}
