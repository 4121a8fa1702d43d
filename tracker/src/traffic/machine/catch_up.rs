//! Spooled announces go to Redis, and new reports go behind them into the spool, until the spool is empty and
//! Redis takes writes. So spooled announces are booked in order, before anything newer, and once: the
//! recorder sends them under their old numbers and the ids of the processes that gave those, whose last
//! numbers Redis knows.
//!
//! Clients never wait for Redis here, except for the last batch: while it travels new reports wait for it, or
//! the spool would never be empty under load. At the start the recorder does not know yet whether Redis is
//! there, and new reports wait for the first attempt.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::attempt::Attempt;
use super::messages::{Notice, RecordError, RecorderState};
use super::rewind::Waiting;
use super::{PAUSE, RecorderMachine, Stage};
use crate::traffic::booking::NumberedBooking;
use crate::traffic::bookkeeper::Bookkeeper;
use crate::traffic::failure::{FailureKind, SendFailure};
use crate::traffic::reply::Outcome;
use crate::traffic::spool::{AppendError, Batch, DiskRequest, LetGo};

/// The way to an empty spool.
#[derive(Debug)]
pub(super) struct CatchUp<T> {
    replay: Replay,
    new_reports: NewReports,
    /// The clients whose reports are on their way to the disk.
    appending: Option<Vec<T>>,
    /// Where the oldest entries are.
    oldest: Source,
}

/// What an earlier process left behind: first what Redis had confirmed to it lately, then what Redis had not
/// taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Tail,
    Spool,
}

/// What happens to new reports while spooled ones travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NewReports {
    Wait,
    AreSpooled,
}

/// What is being done with the oldest entries.
#[derive(Debug)]
enum Replay {
    /// They are on the disk, until Redis has had its pause and the disk is free.
    Resting,
    /// Redis is asked what time it is, before any entry is stamped by a guess.
    AskingTime,
    /// The disk reads them.
    Reading,
    /// Redis has them; `None`: it was sent nothing, to find out whether it takes writes.
    Sent(Option<Sent>),
    /// Redis booked them, and they are to be kept in the tail before the spool lets go of them.
    Booked(Booked),
    /// The disk keeps them in the tail.
    Keeping(Booked),
    /// The disk lets go of them.
    Leaving { booked: u64, refused: u64 },
}

/// Entries at Redis.
#[derive(Debug)]
struct Sent {
    batch: Arc<Batch>,
    attempt: Attempt,
    /// The other process that numbered them.
    other: Option<Arc<str>>,
}

/// Entries that Redis has seen to.
#[derive(Debug)]
struct Booked {
    batch: Arc<Batch>,
    /// What Redis refuses for good.
    refused: Vec<NumberedBooking>,
    /// As they were booked.
    tail: Arc<Vec<NumberedBooking>>,
}

impl<T> CatchUp<T> {
    /// What is at Redis, computed anew, and who numbered it.
    pub(super) fn compute_again(&mut self, bookkeeper: &mut Bookkeeper) -> Option<Waiting> {
        match &mut self.replay {
            Replay::Sent(Some(sent)) => {
                sent.attempt.compute_again(bookkeeper);
                Some((sent.attempt.batch(), sent.other.clone()))
            }
            Replay::Sent(None) | Replay::AskingTime => Some((Arc::default(), None)),
            _ => None,
        }
    }

    pub(super) fn of_an_earlier_run() -> Self {
        let new_reports = NewReports::Wait;
        Self { replay: Replay::Resting, new_reports, appending: None, oldest: Source::Tail }
    }

    pub(super) fn of_an_outage() -> Self {
        let new_reports = NewReports::AreSpooled;
        Self { replay: Replay::Resting, new_reports, appending: None, oldest: Source::Spool }
    }

    pub(super) fn takes_reports(&self) -> bool {
        self.new_reports == NewReports::AreSpooled && self.disk_is_free()
    }

    pub(super) fn wants_to_go_on(&self) -> bool {
        matches!(self.replay, Replay::Resting) && self.disk_is_free()
    }

    fn disk_is_free(&self) -> bool {
        self.appending.is_none()
            && !matches!(self.replay, Replay::Reading | Replay::Keeping(_) | Replay::Leaving { .. })
    }
}

impl<T> RecorderMachine<T> {
    /// Puts entries into the spool; their clients are answered when they are on disk. Without a spool they
    /// are told to come back.
    pub(super) fn spool(&mut self, entries: Arc<Vec<NumberedBooking>>, tokens: Vec<T>) {
        if !self.limits.has_spool {
            return self.refuse(tokens, RecordError::Unavailable);
        }
        let Stage::CatchingUp(catch_up) = &mut self.stage else { return };
        catch_up.appending = Some(tokens);
        self.ask_disk(DiskRequest::Append { tracker_id: self.tracker_id.clone(), entries });
    }

    pub(super) fn appended(&mut self, appended: Result<(), AppendError>) {
        let Stage::CatchingUp(catch_up) = &mut self.stage else { return };
        let tokens = catch_up.appending.take().unwrap_or_default();
        match appended {
            Ok(()) => {
                self.spooled += tokens.len() as u64;
                self.tell(Notice::Spooled(tokens.len() as u64));
                if self.state != RecorderState::Replaying {
                    self.enter(RecorderState::Spooling);
                }
                self.answer(tokens, Ok(()));
            }
            Err(error) => {
                let verdict = match &error {
                    AppendError::Full => RecordError::SpoolFull,
                    AppendError::Disk(_) => RecordError::SpoolFailed,
                };
                if self.state != RecorderState::Refusing {
                    self.tell(Notice::SpoolFails(error));
                }
                self.refuse(tokens, verdict);
            }
        }
    }

    fn refuse(&mut self, tokens: Vec<T>, verdict: RecordError) {
        self.tell(Notice::Refused(tokens.len() as u64));
        self.enter(RecorderState::Refusing);
        self.answer(tokens, Err(verdict));
    }

    /// Takes the next step with the oldest entries, when it is time for one.
    pub(super) fn catch_up(&mut self, now: Instant) {
        let rested = self.failed_at.is_none_or(|at| at + PAUSE <= now);
        let Stage::CatchingUp(catch_up) = &mut self.stage else { return };
        if !catch_up.disk_is_free() || self.tail_is_writing {
            return;
        }
        match std::mem::replace(&mut catch_up.replay, Replay::Resting) {
            Replay::Resting if rested && self.limits.has_spool && !self.clock.read().is_told() => {
                catch_up.replay = Replay::AskingTime;
                self.send(Arc::default(), None, now);
            }
            Replay::Resting if rested && self.limits.has_spool => {
                catch_up.replay = Replay::Reading;
                let limit = self.limits.replay_batch;
                let request = match catch_up.oldest {
                    Source::Tail => DiskRequest::ReadTail { limit },
                    Source::Spool => DiskRequest::ReadOldest { limit },
                };
                self.ask_disk(request);
            }
            Replay::Resting if rested => self.send_spooled(None, now),
            Replay::Booked(booked) => self.keep_on_disk(booked, now),
            other => catch_up.replay = other,
        }
    }

    fn keep_on_disk(&mut self, booked: Booked, now: Instant) {
        let (tracker_id, entries) = (booked.batch.tracker_id.clone(), booked.tail.clone());
        if let Stage::CatchingUp(catch_up) = &mut self.stage {
            catch_up.replay = Replay::Keeping(booked);
        }
        let at_ms = self.uptime_ms(now);
        self.ask_disk(DiskRequest::AppendTail { tracker_id, entries, at_ms });
    }

    /// They are kept, or cannot be: either way they leave the spool.
    pub(super) fn kept_on_disk(&mut self) {
        let Stage::CatchingUp(catch_up) = &mut self.stage else { return };
        let replay = std::mem::replace(&mut catch_up.replay, Replay::Resting);
        let Replay::Keeping(Booked { batch, refused, .. }) = replay else {
            catch_up.replay = replay;
            return;
        };
        let count = refused.len() as u64;
        catch_up.replay = Replay::Leaving { booked: batch.entries.len() as u64 - count, refused: count };
        let request = match catch_up.oldest {
            Source::Tail => DiskRequest::LetGoTail { batch },
            Source::Spool => DiskRequest::LetGo { batch, refused },
        };
        self.ask_disk(request);
    }

    /// Entries of an earlier process that Redis had confirmed. It has most of them.
    pub(super) fn tail_read(&mut self, read: io::Result<Option<Batch>>, now: Instant) {
        let Stage::CatchingUp(catch_up) = &mut self.stage else { return };
        match read {
            Ok(Some(batch)) => self.send_spooled(Some(Arc::new(batch)), now),
            Ok(None) => (catch_up.replay, catch_up.oldest) = (Replay::Resting, Source::Spool),
            Err(error) => {
                (catch_up.replay, catch_up.oldest) = (Replay::Resting, Source::Spool);
                self.tell(Notice::TailFails(error));
            }
        }
    }

    pub(super) fn tail_left(&mut self, left: io::Result<()>) {
        let Stage::CatchingUp(catch_up) = &mut self.stage else { return };
        let Replay::Leaving { booked, .. } = std::mem::replace(&mut catch_up.replay, Replay::Resting) else {
            return;
        };
        // Until the last of them is sent clients wait, unless there are many.
        let few = booked < self.limits.replay_batch as u64;
        catch_up.new_reports = if few { NewReports::Wait } else { NewReports::AreSpooled };
        if let Err(error) = left {
            catch_up.oldest = Source::Spool;
            self.tell(Notice::TailFails(error));
        }
    }

    pub(super) fn read(&mut self, read: io::Result<Option<Batch>>, now: Instant) {
        match read {
            Ok(batch) => {
                if batch.is_none() {
                    self.spooled = 0;
                }
                self.send_spooled(batch.map(Arc::new), now);
            }
            Err(error) => {
                let reason = format!("the spool cannot be read: {error}");
                self.redis_failed(SendFailure { kind: FailureKind::Unexpected, reason }, now);
                self.try_again_later(now);
            }
        }
    }

    fn send_spooled(&mut self, batch: Option<Arc<Batch>>, now: Instant) {
        let Stage::CatchingUp(catch_up) = &mut self.stage else { return };
        let (up_to, by_ms) = self.mistaken;
        let is_own = batch.as_ref().is_some_and(|batch| batch.tracker_id == self.tracker_id);
        let (now_ms, left_by_ms) = self.clock.left_by(self.began, now);
        // Stamped before Redis had told what time it is, by a clock that was off.
        let entry = |entry: &NumberedBooking| {
            let mut entry = entry.clone();
            let by_ms = if is_own && entry.sequence <= up_to { by_ms } else { 0 };
            // What an earlier process has left came before all that this one has stamped.
            let latest_ms = if is_own { now_ms } else { left_by_ms };
            entry.booking.at_ms = entry.booking.at_ms.saturating_add_signed(by_ms).min(latest_ms);
            entry
        };
        let sent = batch.map(|batch| Sent {
            attempt: Attempt::new(batch.entries.iter().map(entry).collect(), &mut self.bookkeeper),
            other: (batch.tracker_id != self.tracker_id).then(|| Arc::from(&*batch.tracker_id)),
            batch,
        });
        let (entries, other) = match &sent {
            Some(sent) => (sent.attempt.batch(), sent.other.clone()),
            None => (Arc::default(), None),
        };
        catch_up.replay = Replay::Sent(sent);
        self.send(entries, other, now);
    }

    pub(super) fn replay_answered(
        &mut self,
        mut catch_up: CatchUp<T>,
        answer: Result<Vec<Outcome>, SendFailure>,
        now: Instant,
    ) {
        let replay = std::mem::replace(&mut catch_up.replay, Replay::Resting);
        let is_appending = catch_up.appending.is_some();
        self.stage = Stage::CatchingUp(catch_up);
        match (answer, replay) {
            (Ok(outcomes), Replay::Sent(Some(sent))) => self.spooled_answered(sent, outcomes, now),
            (Ok(_), Replay::AskingTime) => {}
            // What is being written meanwhile will be read next.
            (Ok(_), _) if is_appending => {}
            (Ok(_), _) => self.moved_on(now),
            (Err(failure), replay) => {
                if let Replay::Sent(Some(sent)) = replay {
                    self.keep_tail(sent.attempt, sent.other.as_ref(), now);
                }
                self.redis_failed(failure, now);
                self.try_again_later(now);
            }
        }
    }

    fn spooled_answered(&mut self, mut sent: Sent, outcomes: Vec<Outcome>, now: Instant) {
        if sent.attempt.answered(outcomes, &mut self.bookkeeper) {
            return self.replayed(sent, now);
        }
        let (batch, other) = (sent.attempt.batch(), sent.other.clone());
        if let Stage::CatchingUp(catch_up) = &mut self.stage {
            catch_up.replay = Replay::Sent(Some(sent));
        }
        self.send(batch, other, now);
    }

    fn replayed(&mut self, Sent { batch, attempt, other }: Sent, now: Instant) {
        if other.is_none() {
            self.confirm(attempt.numbers());
        }
        let tail = Arc::new(attempt.as_booked());
        let outcomes = self.keep_tail(attempt, other.as_ref(), now);
        let failed = |(_, outcome): &(&NumberedBooking, &Outcome)| matches!(outcome, Outcome::Failed(_));
        let refused = batch.entries.iter().zip(&outcomes).filter(failed);
        let refused = refused.map(|(entry, _)| entry.clone()).collect();
        self.tell(Notice::Replayed(outcomes));
        if let Stage::CatchingUp(catch_up) = &mut self.stage {
            catch_up.replay = Replay::Booked(Booked { batch, refused, tail });
        }
    }

    pub(super) fn let_go(&mut self, let_go: io::Result<LetGo>, now: Instant) {
        let Stage::CatchingUp(catch_up) = &mut self.stage else { return };
        let Replay::Leaving { booked, refused } = std::mem::replace(&mut catch_up.replay, Replay::Resting)
        else {
            return;
        };
        match let_go {
            Ok(LetGo { file, remaining }) => {
                self.replayed += booked + refused;
                self.spooled = remaining;
                self.tell(Notice::LeftSpool { booked, set_aside: refused, file });
                if remaining > 0 {
                    self.enter(RecorderState::Replaying);
                }
                self.moved_on(now);
            }
            Err(error) => {
                self.tell(Notice::CannotSetAside(error));
                self.try_again_later(now);
            }
        }
    }

    /// Redis took what it was sent, and the spool let go of it.
    fn moved_on(&mut self, now: Instant) {
        let few = self.spooled <= self.limits.replay_batch as u64;
        match &mut self.stage {
            Stage::CatchingUp(_) if self.spooled == 0 => self.redis_is_back(now),
            Stage::CatchingUp(catch_up) => {
                catch_up.new_reports = if few { NewReports::Wait } else { NewReports::AreSpooled };
            }
            _ => {}
        }
    }

    fn try_again_later(&mut self, now: Instant) {
        self.failed_at = Some(now);
        if let Stage::CatchingUp(catch_up) = &mut self.stage {
            (catch_up.replay, catch_up.new_reports) = (Replay::Resting, NewReports::AreSpooled);
        }
    }
}
