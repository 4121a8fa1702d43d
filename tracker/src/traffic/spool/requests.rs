//! The recorder's requests to its spool, one at a time, so that the driver can have them done on another
//! thread: disks are slow.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::disk::Disk;
use super::store::{AppendError, Store};
use super::tail::Unsynced;
use super::take::Batch;
use crate::traffic::booking::NumberedBooking;

/// Work for the spool's disk; each request is answered by one [`DiskResult`].
#[derive(Debug, Clone)]
pub enum DiskRequest {
    /// Takes entries, all of them or none. They are on disk when it is done.
    Append {
        /// The process that numbered them.
        tracker_id: String,
        /// In the order of their numbers.
        entries: Arc<Vec<NumberedBooking>>,
    },
    /// Reads the oldest entries.
    ReadOldest {
        /// How many at most.
        limit: usize,
    },
    /// Lets go of a batch, keeping those entries of it that Redis refuses for good.
    LetGo {
        /// What was read.
        batch: Arc<Batch>,
        /// What Redis refuses of it.
        refused: Vec<NumberedBooking>,
    },
    /// Writes down what Redis confirms. It outlives a kill when it is done, a loss of power a second later.
    AppendTail {
        /// The process that numbered them.
        tracker_id: String,
        /// With the `ts` that was computed for them. The last record of a number counts.
        entries: Arc<Vec<NumberedBooking>>,
        /// Now, in milliseconds of a clock that does not step.
        at_ms: u64,
    },
    /// Reads the oldest of what earlier processes had confirmed.
    ReadTail {
        /// How many at most.
        limit: usize,
    },
    /// Lets go of a batch of an earlier process's tail.
    LetGoTail {
        /// What was read.
        batch: Arc<Batch>,
    },
}

/// What came of it, by the request's kind.
#[derive(Debug)]
pub enum DiskResult {
    /// Whether they are on disk.
    Appended(Result<(), AppendError>),
    /// The oldest; `None` when there are none.
    Read(io::Result<Option<Batch>>),
    /// When it failed, the batch is still there.
    LetGo(io::Result<LetGo>),
    /// When it failed, a kill may lose them to a Redis that comes back older.
    TailAppended(io::Result<()>),
    /// The oldest; `None` when there are none.
    TailRead(io::Result<Option<Batch>>),
    /// When it failed, the batch is still there.
    TailLeft(io::Result<()>),
}

/// How a spool stands that has let go of a batch.
#[derive(Debug)]
pub struct LetGo {
    /// Where the entries are that Redis refuses.
    pub file: Option<PathBuf>,
    /// Entries that wait.
    pub remaining: u64,
}

impl DiskRequest {
    /// Does it, and takes as long as the disk does.
    pub fn carry_out<D: Disk>(self, store: &mut Store<D>) -> DiskResult {
        let (result, unsynced) = self.carry_out_but_sync(store);
        match (result, unsynced.map_or(Ok(()), Unsynced::sync)) {
            (DiskResult::TailAppended(Ok(())), Err(error)) => DiskResult::TailAppended(Err(error)),
            (result, _) => result,
        }
    }

    /// Does it, and returns what of the tail is to be synced by now: nobody needs to wait for that.
    pub(super) fn carry_out_but_sync<D: Disk>(
        self,
        store: &mut Store<D>,
    ) -> (DiskResult, Option<Unsynced<D>>) {
        let mut unsynced = None;
        let result = match self {
            Self::Append { tracker_id, entries } => DiskResult::Appended(store.append(&tracker_id, &entries)),
            Self::ReadOldest { limit } => DiskResult::Read(store.oldest(limit)),
            Self::LetGo { batch, refused } => DiskResult::LetGo(let_go(store, &batch, &refused)),
            Self::AppendTail { tracker_id, entries, at_ms } => {
                let appended = store.tail.append(&tracker_id, &entries, at_ms);
                let due = appended.and_then(|()| store.tail.unsynced(at_ms));
                DiskResult::TailAppended(due.map(|due| unsynced = due))
            }
            Self::ReadTail { limit } => DiskResult::TailRead(store.tail.oldest_leftover(limit)),
            Self::LetGoTail { batch } => {
                store.tail.let_go(&batch);
                DiskResult::TailLeft(Ok(()))
            }
        };
        (result, unsynced)
    }

    /// The result of a request that nobody could do.
    pub(super) fn failure(&self) -> fn(io::Error) -> DiskResult {
        match self {
            Self::Append { .. } => |error| DiskResult::Appended(Err(error.into())),
            Self::ReadOldest { .. } => |error| DiskResult::Read(Err(error)),
            Self::LetGo { .. } => |error| DiskResult::LetGo(Err(error)),
            Self::AppendTail { .. } => |error| DiskResult::TailAppended(Err(error)),
            Self::ReadTail { .. } => |error| DiskResult::TailRead(Err(error)),
            Self::LetGoTail { .. } => |error| DiskResult::TailLeft(Err(error)),
        }
    }
}

fn let_go<D: Disk>(store: &mut Store<D>, batch: &Batch, refused: &[NumberedBooking]) -> io::Result<LetGo> {
    let file = if refused.is_empty() { None } else { Some(store.keep_for_later(batch, refused)?) };
    store.booked(batch);
    Ok(LetGo { file, remaining: store.records() })
}
