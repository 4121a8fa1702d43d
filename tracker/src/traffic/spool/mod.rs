//! The local spool: announces that Redis does not take now, on disk before their clients are answered, and
//! booked in order when it takes them again, by this process or by the next one.

mod codec;
mod compact;
mod metrics;
mod segment;
mod store;
mod take;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use metrics::SpoolMetrics;
pub use store::{AppendError, OpenError, Store};
pub use take::Batch;

use super::booking::Entry;

/// A spool that one recorder after the other uses: a reload hands it on.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    store: Mutex<Store>,
    turn: Arc<Semaphore>,
    metrics: SpoolMetrics,
}

impl Spool {
    /// Opens the folder.
    ///
    /// # Errors
    /// [`OpenError`]: what the operator must change.
    pub fn open(directory: &Path, max_bytes: u64, metrics: SpoolMetrics) -> Result<Arc<Self>, OpenError> {
        let store = Mutex::new(Store::open(directory, max_bytes)?);
        let spool =
            Self { directory: directory.to_owned(), store, turn: Arc::new(Semaphore::new(1)), metrics };
        spool.publish();
        Ok(Arc::new(spool))
    }

    /// The folder, for messages.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Waits until the recorder before has finished: its announces are older.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turn.clone().acquire_owned().await.ok()
    }

    /// Another limit of bytes.
    pub fn set_limit(&self, max_bytes: u64) {
        self.store.lock().set_limit(max_bytes);
    }

    /// Whether everything is booked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.store.lock().is_empty()
    }

    /// Entries that wait.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.store.lock().records()
    }

    /// Takes entries: all of them or none. They are on disk when this resolves.
    ///
    /// # Errors
    /// [`AppendError`]; what was accepted before is untouched.
    pub async fn append(
        self: &Arc<Self>,
        tracker_id: String,
        entries: Vec<Entry>,
    ) -> Result<(), AppendError> {
        self.on_disk(move |store| store.append(&tracker_id, &entries)).await
    }

    /// The oldest entries, at most so many.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn oldest(self: &Arc<Self>, limit: usize) -> std::io::Result<Option<Batch>> {
        self.on_disk(move |store| store.oldest(limit)).await
    }

    /// Lets go of a batch, keeping those entries of it that Redis refuses for good; where those are.
    ///
    /// # Errors
    /// When these cannot be written; the batch stays then.
    pub async fn booked(
        self: &Arc<Self>,
        batch: Batch,
        refused: Vec<Entry>,
    ) -> std::io::Result<Option<PathBuf>> {
        self.metrics.replayed.inc_by((batch.entries.len() - refused.len()) as u64);
        self.metrics.set_aside.inc_by(refused.len() as u64);
        self.on_disk(move |store| {
            let kept = if refused.is_empty() { None } else { Some(store.keep_for_later(&batch, &refused)?) };
            store.booked(&batch);
            Ok(kept)
        })
        .await
    }

    /// Brings the gauges up to date.
    pub fn publish(&self) {
        self.metrics.publish(&self.store.lock(), unix_milliseconds());
    }

    /// Disks can be slow: their work is not done on a thread that answers clients.
    async fn on_disk<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<std::io::Error> + Send + 'static,
    {
        let spool = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut store = spool.store.lock();
            let outcome = work(&mut store);
            spool.metrics.publish(&store, unix_milliseconds());
            outcome
        });
        done.await.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked).into()))
    }
}

fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
