//! The local spool: announces that Redis does not take now, on disk before their clients are answered, and
//! booked in order when it takes them again, by this process or by the next one.

mod clock_file;
mod codec;
mod compact;
mod disk;
mod format;
mod identity;
mod metrics;
mod pieces;
mod requests;
mod segment;
mod store;
mod survey;
mod tail;
mod take;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::error;

use super::reply::Clock;
use clock_file::ClockFile;
pub(super) use clock_file::Told;
pub use disk::{Disk, DiskFile, Fault, Folder, MemoryDisk, OpenError};
pub use metrics::SpoolMetrics;
pub use requests::{DiskRequest, DiskResult, LetGo};
pub use store::{AppendError, Store};
pub use survey::{Survey, SurveyedFile, SurveyedKind};
pub use tail::TailLimits;
use tail::Unsynced;
pub use take::Batch;

/// The spool of a tracker process, which one recorder after the other uses: a reload hands it on.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    store: Mutex<Store>,
    identity: u64,
    clock: Mutex<ClockFile>,
    turn: Arc<Semaphore>,
    /// The tail is being synced.
    syncing: AtomicBool,
    metrics: SpoolMetrics,
}

impl Spool {
    pub(super) fn open(
        directory: &Path,
        max_bytes: u64,
        metrics: SpoolMetrics,
    ) -> Result<Arc<Self>, OpenError> {
        let store = Store::open(directory, max_bytes)?;
        let spool = Self {
            directory: directory.to_owned(),
            identity: identity::identity(&store.disk, rand::random())?,
            clock: Mutex::new(ClockFile::open(directory)),
            store: Mutex::new(store),
            turn: Arc::new(Semaphore::new(1)),
            syncing: AtomicBool::new(false),
            metrics,
        };
        spool.metrics.publish(&spool.store.lock(), unix_milliseconds());
        Ok(Arc::new(spool))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Which tracker this is, whatever its process.
    pub(super) fn identity(&self) -> u64 {
        self.identity
    }

    /// What time it was when a recorder last kept it here, and how long ago that is.
    pub(super) fn told(&self) -> Option<(Clock, Duration)> {
        self.clock.lock().told()
    }

    /// Waits until the recorder before has finished: its announces are older.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turn.clone().acquire_owned().await.ok()
    }

    pub(super) fn set_limit(&self, max_bytes: u64) {
        self.store.lock().set_limit(max_bytes);
    }

    pub(super) fn set_tail_limits(&self, limits: TailLimits) {
        self.store.lock().set_tail_limits(limits);
    }

    /// The newest stamp that an earlier run has left on the disk.
    pub(super) fn newest_ms(&self) -> Option<u64> {
        self.store.lock().newest_ms()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.store.lock().is_empty()
    }

    pub(super) fn records(&self) -> u64 {
        self.store.lock().records()
    }

    /// Does what a recorder asks, on a thread that answers no clients, and keeps what time it is, by which
    /// entries were stamped.
    pub(super) async fn carry_out(self: Arc<Self>, request: DiskRequest, told: Option<Told>) -> DiskResult {
        let failed = request.failure();
        let done = tokio::task::spawn_blocking(move || {
            if let Some(told) = told {
                self.clock.lock().keep(told);
            }
            let mut store = self.store.lock();
            let (result, unsynced) = request.carry_out_but_sync(&mut store);
            self.metrics.publish(&store, unix_milliseconds());
            drop(store);
            if let Some(unsynced) = unsynced {
                self.sync(unsynced);
            }
            result
        });
        done.await.unwrap_or_else(|panicked| failed(std::io::Error::other(panicked)))
    }

    /// Syncs the tail while others write on. A disk that takes more than a second for it skips some.
    fn sync(self: Arc<Self>, unsynced: Unsynced<Folder>) {
        if self.syncing.swap(true, Ordering::AcqRel) {
            return;
        }
        tokio::task::spawn_blocking(move || {
            if let Err(error) = unsynced.sync() {
                error!(%error, "the tail cannot be synced; a loss of power may cost what Redis loses, too");
            }
            self.syncing.store(false, Ordering::Release);
        });
    }
}

fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
