//! The recorder's requests to its spool, one at a time, so that the driver can have them done on another
//! thread: disks are slow.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::disk::Disk;
use super::store::{AppendError, Store};
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
        match self {
            Self::Append { tracker_id, entries } => DiskResult::Appended(store.append(&tracker_id, &entries)),
            Self::ReadOldest { limit } => DiskResult::Read(store.oldest(limit)),
            Self::LetGo { batch, refused } => DiskResult::LetGo(let_go(store, &batch, &refused)),
        }
    }

    /// The result of a request that nobody could do.
    pub(super) fn failure(&self) -> fn(io::Error) -> DiskResult {
        match self {
            Self::Append { .. } => |error| DiskResult::Appended(Err(error.into())),
            Self::ReadOldest { .. } => |error| DiskResult::Read(Err(error)),
            Self::LetGo { .. } => |error| DiskResult::LetGo(Err(error)),
        }
    }
}

fn let_go<D: Disk>(store: &mut Store<D>, batch: &Batch, refused: &[NumberedBooking]) -> io::Result<LetGo> {
    let file = if refused.is_empty() { None } else { Some(store.keep_for_later(batch, refused)?) };
    store.booked(batch);
    Ok(LetGo { file, remaining: store.records() })
}
