//! The machine's messages: inputs that its driver gives it, and actions that it has its driver carry out.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::heritage::Heritage;
use crate::traffic::booking::{Booking, NumberedBooking};
use crate::traffic::bookkeeper::Computed;
use crate::traffic::failure::SendFailure;
use crate::traffic::reply::{Outcome, Receipt};
use crate::traffic::script::Progress;
use crate::traffic::spool::{AppendError, DiskRequest, DiskResult};

/// A report, and the client that waits to hear what became of it.
#[derive(Debug)]
pub struct Submission<T> {
    /// The report, reduced to the fields that are booked. When it arrived is filled in by the machine.
    pub booking: Booking,
    /// When it reached this machine.
    pub arrived: Instant,
    /// Stands for the client; comes back in [`Action::Answer`].
    pub token: T,
}

/// What happened outside of the machine.
#[derive(Debug)]
pub enum Input<'a, T> {
    /// The spool is this recorder's: the one before has finished.
    Begin,
    /// Reports in the order in which they came, at most [`super::RecorderMachine::room`] of them. The list is
    /// emptied, to be used again.
    Reports(&'a mut Vec<Submission<T>>),
    /// Nobody reports any more. Comes behind the last reports.
    Closed,
    /// The recorder before has ended, and leaves this.
    Heritage(Heritage),
    /// What became of a call. Silence is a failure, too.
    Answered {
        /// [`Call::number`].
        call: u64,
        /// What Redis said, or what is wrong.
        answer: Result<Receipt, SendFailure>,
    },
    /// What became of an [`Action::Disk`].
    Disk(DiskResult),
    /// The time has come that the machine waited for.
    Time,
}

/// What the driver must carry out.
#[derive(Debug)]
pub enum Action<T> {
    /// Call the script, and say what came of it with [`Input::Answered`]. One call at a time.
    Send(Call),
    /// Have the spool do this, and say what came of it with [`Input::Disk`]. One request at a time.
    Disk(DiskRequest),
    /// Answer these clients: their announces are recorded, or are not.
    Answer {
        /// The clients' tokens.
        tokens: Vec<T>,
        /// Recorded, or why not.
        verdict: Result<(), RecordError>,
    },
    /// Log this or count it.
    Notice(Notice),
}

/// A call of the script.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which of this recorder's calls it is.
    pub number: u64,
    pub(super) batch: Arc<Vec<Computed>>,
    pub(super) numbered_by: Option<Arc<str>>,
    pub(super) said: Progress,
}

impl Call {
    /// What to book; nothing, when the call only finds out whether Redis takes writes.
    #[must_use]
    pub fn batch(&self) -> &[Computed] {
        &self.batch
    }

    /// The other process that numbered the entries, if one did.
    #[must_use]
    pub fn other_tracker_id(&self) -> Option<&str> {
        self.numbered_by.as_deref()
    }

    /// What to tell Redis with it.
    #[must_use]
    pub fn said(&self) -> &Progress {
        &self.said
    }

    /// The entries, as they are numbered.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &NumberedBooking> {
        self.batch.iter().map(|computed| &computed.entry)
    }
}

/// Why a report is not recorded. The client keeps its counters, so nothing is lost by refusing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// More reports wait than the recorder keeps.
    #[error("too many announces wait to be recorded")]
    Overloaded,
    /// Redis did not take it, however often it was asked, and there is no spool.
    #[error("the announce could not be recorded")]
    Unavailable,
    /// Redis is away, and the spool has reached its limit.
    #[error("the announce could not be recorded: the tracker's spool is full")]
    SpoolFull,
    /// Redis is away, and so is the disk.
    #[error("the announce could not be recorded: the tracker's disk does not take it")]
    SpoolFailed,
}

/// Where the recorder's reports go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecorderState {
    /// Redis was not asked yet.
    Starting,
    /// Reports go to Redis.
    Direct,
    /// Redis takes nothing; reports go to the spool.
    Spooling,
    /// Redis takes what is spooled; new reports go behind it.
    Replaying,
    /// Neither Redis nor the spool takes reports.
    Refusing,
}

/// What an operator may want to know: `notices.rs` makes log lines and metrics of it.
#[derive(Debug)]
pub enum Notice {
    /// The recorder works in another way.
    State(RecorderState),
    /// Redis booked a batch, so long after it was sent first.
    Committed(Duration),
    /// What became of reports whose clients wait.
    Recorded(Vec<Outcome>),
    /// What became of spooled announces.
    Replayed(Vec<Outcome>),
    /// Redis did not book a batch; it is sent again or spooled.
    AttemptFailed,
    /// Redis is behind what it confirmed: it went back in time.
    WentBack {
        /// How many numbers.
        behind: u64,
        /// How many of these the tail still has; Redis is given them again.
        again: u64,
    },
    /// The disk does not keep the tail, or cannot read an earlier one. Once, not for each batch.
    TailFails(io::Error),
    /// Redis has the tail again.
    Restored(u64),
    /// How many sessions and confirmed entries are remembered.
    Remembers {
        /// Sessions whose snapshot is known.
        sessions: usize,
        /// Entries of the tail.
        tail: usize,
    },
    /// So many reports are in the spool.
    Spooled(u64),
    /// So many clients were told to come back.
    Refused(u64),
    /// The spool takes nothing. Once, not for each batch.
    SpoolFails(AppendError),
    /// The spool let go of these.
    LeftSpool {
        /// Entries that Redis booked.
        booked: u64,
        /// Entries that Redis refuses for good.
        set_aside: u64,
        /// The file that refused entries were moved to.
        file: Option<PathBuf>,
    },
    /// What Redis refuses for good cannot be kept.
    CannotSetAside(io::Error),
    /// Redis takes nothing from now on. Once, not for each attempt.
    OutageBegan(SendFailure),
    /// The spool is empty again: Redis has booked every entry of it.
    CaughtUp {
        /// How long it took nothing; `None`: the spool was an earlier run's.
        outage: Option<Duration>,
        /// Spooled announces that it was sent.
        replayed: u64,
    },
}
