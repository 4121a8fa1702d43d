//! The recorder as a machine without I/O: it takes reports, answers and the time, and says what to send, what
//! to spool and which clients to answer. `driver.rs` carries that out with tokio, Redis and the disk; the
//! simulation carries out the same in virtual time, with faults.
//!
//! **Answered means recorded**: a client is answered when Redis has booked its report or the disk has it.
//!
//! **One batch is in flight.** While it travels the next one gathers, so batches grow with the load and leave
//! at once when idle. A batch that must be sent again cannot overtake or be overtaken, so a session's
//! `completed` is not lost behind a later announce.
//!
//! **While Redis takes nothing, clients never wait for it.** There are two ways of working: reports go
//! straight to Redis (`direct.rs`), or behind what is spooled (`catch_up.rs`).
//!
//! **The recorder computes, Redis compares** (`attempt.rs`): an entry is computed between its number, which
//! never changes, and the call, and again when Redis shows another snapshot. A Redis that went back in time
//! books nothing before it has the tail again (`rewind.rs`).

mod attempt;
mod catch_up;
mod direct;
mod heritage;
mod messages;
mod rewind;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::booking::NumberedBooking;
use super::bookkeeper::{Bookkeeper, Computed};
use super::failure::SendFailure;
use super::reply::{Clock, Outcome, Receipt, Verdict};
use super::script::{Progress, Rules};
use super::site_clock::SharedClock;
use super::spool::{DiskRequest, DiskResult, TailLimits};
use attempt::Attempt;
use catch_up::CatchUp;
use direct::InFlight;
pub use heritage::Heritage;
pub use messages::{Action, Call, Input, Notice, RecordError, RecorderState, Submission};
use rewind::Rewind;
use tail::Tail;

/// How long Redis is left alone after it failed, while there is a spool to answer from.
const PAUSE: Duration = Duration::from_secs(1);

/// While it might still lose what it confirmed, Redis is called at least so often: who has nothing to book
/// would not notice.
const LOOK: Duration = Duration::from_secs(5);

/// What one recorder may do at a time, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Reports in one call.
    pub batch: usize,
    /// Spooled announces in one call.
    pub replay_batch: usize,
    /// How often a batch is sent again after an error before it is spooled or refused.
    pub retry_count: u32,
    /// How long to wait before it is sent again.
    pub retry_interval: Duration,
    /// Whether there is a disk for reports that Redis does not take.
    pub has_spool: bool,
    /// How much of what Redis confirmed is kept.
    pub tail: TailLimits,
}

/// The recorder of one tracker process. `T` stands for a client that waits to hear what became of its report.
#[derive(Debug)]
pub struct RecorderMachine<T> {
    tracker_id: String,
    limits: Limits,
    stage: Stage<T>,
    state: RecorderState,
    actions: VecDeque<Action<T>>,
    /// The last number that a report got.
    sequence: u64,
    /// The highest number of this process that Redis is known to have booked.
    confirmed: u64,
    /// Reports up to this number were stamped before Redis had told the time, wrongly by so many
    /// milliseconds.
    mistaken: (u64, i64),
    /// When the last call was made.
    called_at: Instant,
    /// The last call that Redis is known to have carried out, and remembers.
    known_call: u64,
    /// Numbers that Redis was shown and has not booked, with the other process that gave them.
    to_come: Vec<(Option<Arc<str>>, u64)>,
    /// How many calls were made, and the one whose answer is awaited. Any other answer comes too late.
    calls: u64,
    awaited: Option<u64>,
    clock: SharedClock,
    bookkeeper: Bookkeeper,
    tail: Tail,
    /// The disk is keeping some of the tail.
    tail_is_writing: bool,
    tail_fails: bool,
    began: Instant,
    /// What a Redis that went back in time is given again, before anything else.
    rewind: Option<Rewind>,
    /// What the recorder before has left, until the next call.
    heritage: Option<Heritage>,
    /// Redis is given that again, in case it went back before it was this one's.
    takes_over: bool,
    failed_at: Option<Instant>,
    /// Since when Redis takes nothing.
    outage: Option<Instant>,
    /// Entries in the spool.
    spooled: u64,
    /// Entries that left it since Redis took everything last.
    replayed: u64,
    closed: bool,
}

#[derive(Debug)]
enum Stage<T> {
    /// The recorder before has the spool: what it holds is older.
    Waiting,
    Direct(Option<InFlight<T>>),
    CatchingUp(CatchUp<T>),
    Ended,
}

impl<T> RecorderMachine<T> {
    /// A recorder that waits for [`Input::Begin`]. Arrivals are stamped by the clock, which a recorder has
    /// from the one before it.
    #[must_use]
    pub fn new(
        tracker_id: String,
        limits: Limits,
        rules: Rules,
        (clock, now): (SharedClock, Instant),
    ) -> Self {
        Self {
            tail: Tail::new(limits.tail),
            clock,
            heritage: None,
            takes_over: false,
            bookkeeper: Bookkeeper::new(rules),
            rewind: None,
            tail_is_writing: false,
            tail_fails: false,
            began: now,
            tracker_id,
            limits,
            stage: Stage::Waiting,
            state: RecorderState::Starting,
            actions: VecDeque::new(),
            sequence: 0,
            confirmed: 0,
            called_at: now,
            mistaken: (0, 0),
            known_call: 0,
            to_come: Vec::new(),
            calls: 0,
            awaited: None,
            failed_at: None,
            outage: None,
            spooled: 0,
            replayed: 0,
            closed: false,
        }
    }

    /// Before [`Input::Begin`]: an earlier process knew the site's clock, so long ago.
    pub fn go_on_from(&mut self, (clock, ago): (Clock, Duration), now: Instant) {
        self.clock.read().go_on_from((clock.site_ms, clock.ahead_ms), ago, now);
    }

    /// What time it is; `None` while that is a guess. For the process that comes after this one.
    #[must_use]
    pub fn site_clock(&self, now: Instant) -> Option<Clock> {
        let (expected_ms, _, ahead_ms) = self.clock.says(now);
        Some(Clock { site_ms: expected_ms?, ahead_ms })
    }

    /// Takes what happened. Then [`RecorderMachine::poll`] until there is nothing more to do.
    pub fn handle(&mut self, input: Input<'_, T>, now: Instant) {
        match input {
            Input::Begin => self.stage = Stage::CatchingUp(CatchUp::of_an_earlier_run()),
            Input::Reports(reports) => self.take(reports, now),
            Input::Closed => self.closed = true,
            Input::Heritage(heritage) => self.is_left(heritage),
            Input::Answered { call, answer } if self.awaited == Some(call) => {
                self.awaited = None;
                self.answered(answer, now);
            }
            // Of a call that was given up: the same entries are sent again, or are spooled.
            Input::Answered { .. } => {}
            Input::Disk(result) => self.disk_is_done(result, now),
            Input::Time => {}
        }
        self.go_on(now);
        if self.closed && self.room() > 0 {
            self.stage = Stage::Ended;
        }
    }

    /// Where reports go now.
    #[must_use]
    pub fn state(&self) -> RecorderState {
        self.state
    }

    /// The next thing to do. At most a handful wait at a time: one call, one request of the disk, answers.
    pub fn poll(&mut self) -> Option<Action<T>> {
        self.actions.pop_front()
    }

    /// When to come with [`Input::Time`], if nothing else happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Direct(Some(batch)) => batch.deadline(),
            Stage::Direct(None) if self.may_look() => Some(self.called_at + LOOK),
            Stage::CatchingUp(catch_up) if catch_up.wants_to_go_on() => self.failed_at.map(|at| at + PAUSE),
            _ => None,
        }
    }

    /// How many reports it takes now. The others wait where they are; 0 while a batch is in flight.
    #[must_use]
    pub fn room(&self) -> usize {
        match &self.stage {
            Stage::Direct(None) if self.awaited.is_none() => self.limits.batch,
            Stage::CatchingUp(catch_up) if catch_up.takes_reports() => self.limits.batch,
            _ => 0,
        }
    }

    /// Whether nobody reports any more and everything it took is booked, spooled or refused. What it has
    /// asked of Redis by then needs no answer: the spool still holds it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    fn take(&mut self, reports: &mut Vec<Submission<T>>, now: Instant) {
        let (entries, tokens) = self.number(reports);
        if matches!(self.stage, Stage::Direct(_)) {
            self.deliver(entries, tokens, now);
        } else {
            self.spool(Arc::new(entries), tokens);
        }
    }

    /// Gives each report the number under which this process has it booked, for ever: by it Redis knows what
    /// it is sent twice.
    fn number(&mut self, reports: &mut Vec<Submission<T>>) -> (Vec<NumberedBooking>, Vec<T>) {
        let mut clock = self.clock.read();
        let numbered = reports.drain(..).map(|Submission { mut booking, arrived, token }| {
            self.sequence += 1;
            booking.at_ms = clock.stamp(arrived);
            (NumberedBooking::new(booking, self.sequence), token)
        });
        numbered.unzip()
    }

    /// Makes a call. `other`: the process that numbered the entries, when it was not this one.
    fn send(&mut self, batch: Arc<Vec<Computed>>, other: Option<Arc<str>>, now: Instant) {
        self.calls += 1;
        (self.awaited, self.called_at) = (Some(self.calls), now);
        self.take_over();
        // A rewind that is broken off begins anew: until its end Redis remembers where it went back to.
        let is_partial = self.rewind.as_ref().is_some_and(Rewind::goes_on);
        let (expected_ms, guessed_ms, ahead_ms) = self.clock.says(now);
        let said = Progress {
            known_call: self.known_call,
            call: if is_partial { 0 } else { self.calls },
            expected_ms,
            guessed_ms,
            ahead_ms,
            to_come: self.rewind.as_ref().map(|_| self.still_to_come(other.as_ref())).unwrap_or_default(),
        };
        let call = Call { number: self.calls, batch, numbered_by: other, said };
        self.actions.push_back(Action::Send(call));
    }

    fn answered(&mut self, answer: Result<Receipt, SendFailure>, now: Instant) {
        let verdict = match answer {
            Ok(Receipt { clock, verdict }) => {
                self.note_call(&verdict);
                self.failed_at = None;
                let mistaken = self.clock.read().told(clock.site_ms, clock.ahead_ms, now);
                if let Some(by_ms) = mistaken {
                    self.mistaken = (self.sequence, by_ms);
                }
                Ok(verdict)
            }
            Err(failure) => {
                self.failed_at = Some(now);
                self.tell(Notice::AttemptFailed);
                Err(failure)
            }
        };
        match verdict {
            Ok(Verdict::WentBack { call, booked }) => self.go_back(call, booked, now),
            Ok(Verdict::SeenTo(outcomes)) if self.rewind.is_some() => self.rewound(outcomes, now),
            Ok(Verdict::SeenTo(outcomes)) => self.dispatch(Ok(outcomes), now),
            Err(failure) => {
                // Redis says again how far back it is.
                if self.rewind.take().is_some() {
                    self.known_call = self.calls;
                }
                self.dispatch(Err(failure), now);
            }
        }
    }

    fn may_look(&self) -> bool {
        self.awaited.is_none() && (self.tail.len() > 0 || self.heritage.is_some())
    }

    fn note_call(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::WentBack { call, .. } => self.known_call = *call,
            Verdict::SeenTo(_) if self.rewind.as_ref().is_some_and(Rewind::goes_on) => {}
            Verdict::SeenTo(_) => self.known_call = self.calls,
        }
    }

    fn dispatch(&mut self, answer: Result<Vec<Outcome>, SendFailure>, now: Instant) {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Direct(Some(batch)) => self.batch_answered(batch, answer, now),
            Stage::CatchingUp(catch_up) => self.replay_answered(catch_up, answer, now),
            other => {
                self.stage = other;
                // It was a look: Redis has everything.
                if answer.is_ok() {
                    self.tail.forget_what_is_old(now);
                }
            }
        }
    }

    fn go_on(&mut self, now: Instant) {
        match &self.stage {
            Stage::Direct(Some(_)) => self.retry(now),
            Stage::Direct(None) if self.may_look() && self.called_at + LOOK <= now => {
                self.send(Arc::default(), None, now);
            }
            Stage::CatchingUp(_) => self.catch_up(now),
            _ => {}
        }
    }

    fn confirm(&mut self, numbers: &[u64]) {
        self.confirmed = numbers.iter().copied().fold(self.confirmed, u64::max);
    }

    /// Keeps what is booked of a list, and says what became of each entry.
    fn keep_tail(&mut self, attempt: Attempt, other: Option<&Arc<str>>, now: Instant) -> Vec<Outcome> {
        self.note_what_is_to_come(&attempt, other);
        let (outcomes, booked) = attempt.into_parts();
        for batch in booked {
            self.tail.push(self.calls, batch, other.cloned(), now);
        }
        self.tell(Notice::Remembers { sessions: self.bookkeeper.known(), tail: self.tail.len() });
        outcomes
    }

    /// A rewind books higher numbers first than those which Redis has refused and which are in the spool.
    fn note_what_is_to_come(&mut self, attempt: &Attempt, other: Option<&Arc<str>>) {
        self.to_come.retain(|(process, number)| process.as_ref() != other || !attempt.has_booked(*number));
        for number in attempt.missing() {
            let numbered = (other.cloned(), number);
            if !self.to_come.contains(&numbered) {
                self.to_come.push(numbered);
            }
        }
    }

    fn still_to_come(&self, other: Option<&Arc<str>>) -> String {
        let theirs = self.to_come.iter().filter(|(process, _)| process.as_ref() == other);
        theirs.map(|(_, number)| number.to_string()).collect::<Vec<_>>().join(" ")
    }

    fn disk_is_done(&mut self, result: DiskResult, now: Instant) {
        match result {
            DiskResult::Appended(appended) => self.appended(appended),
            DiskResult::Read(read) => self.read(read, now),
            DiskResult::LetGo(let_go) => self.let_go(let_go, now),
            DiskResult::TailAppended(appended) => self.tail_appended(appended, now),
            DiskResult::TailRead(read) => self.tail_read(read, now),
            DiskResult::TailLeft(left) => self.tail_left(left),
        }
    }

    /// For the tail's files: a clock that nobody sets.
    fn uptime_ms(&self, now: Instant) -> u64 {
        u64::try_from((now - self.began).as_millis()).unwrap_or(u64::MAX)
    }

    fn ask_disk(&mut self, request: DiskRequest) {
        self.actions.push_back(Action::Disk(request));
    }

    fn tell(&mut self, notice: Notice) {
        self.actions.push_back(Action::Notice(notice));
    }

    fn enter(&mut self, state: RecorderState) {
        if self.state != state {
            self.state = state;
            self.tell(Notice::State(state));
        }
    }

    fn answer(&mut self, tokens: Vec<T>, verdict: Result<(), RecordError>) {
        if !tokens.is_empty() {
            self.actions.push_back(Action::Answer { tokens, verdict });
        }
    }

    /// Redis takes nothing.
    fn redis_failed(&mut self, failure: SendFailure, now: Instant) {
        match self.state {
            RecorderState::Refusing => {}
            _ if self.limits.has_spool => self.enter(RecorderState::Spooling),
            _ => self.enter(RecorderState::Refusing),
        }
        if self.outage.is_none() {
            self.outage = Some(now);
            self.tell(Notice::OutageBegan(failure));
        }
    }

    /// Redis takes announces, and the spool is empty.
    fn redis_is_back(&mut self, now: Instant) {
        self.stage = Stage::Direct(None);
        self.enter(RecorderState::Direct);
        let replayed = std::mem::take(&mut self.replayed);
        let outage = self.outage.take().map(|began| now - began);
        if outage.is_some() || replayed > 0 {
            self.tell(Notice::CaughtUp { outage, replayed });
        }
    }
}
