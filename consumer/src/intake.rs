//! The first half of the line: reads batches and shows who is there.

use std::sync::Arc;
use std::time::Duration;

use service::redis::{Backoff, Link};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::batch::Batch;
use crate::clock;
use crate::health::Need;
use crate::pump::{Hand, Line, MOST_IN_HAND};
use crate::reader::Reader;
use crate::stop::Stopped;
use books::entry::Entry;
use books::presence::{self, Leases};

/// Between two readings, unless there is more than one can bring. What arrives after a quiet moment does not
/// wait; at any load the work that is done for each batch, a commit above all, is done a hundred times a
/// second and not a thousand.
const GATHER: Duration = Duration::from_millis(10);

/// Where batches come from.
pub struct Intake {
    /// What both halves know.
    pub line: Line,
    /// Reads them.
    pub reader: Reader,
    /// Redis for the sets.
    pub link: Link,
    /// How long peers stay.
    pub leases: Leases,
}

impl Intake {
    /// Runs until stopped. Dropping the store tells the other half that nothing more comes.
    pub(crate) async fn run(
        &mut self,
        store: mpsc::Sender<Hand>,
        places: Arc<Semaphore>,
    ) -> Result<std::convert::Infallible, Stopped> {
        let mut backoff = Backoff::default();
        loop {
            self.line.stop.check()?;
            let place = self.place(&places).await?;
            let batch = match self.reader.read().await {
                Ok(batch) => batch,
                Err(error) => {
                    drop(place);
                    self.line.wait_for_redis(&error, &mut backoff).await?;
                    continue;
                }
            };
            backoff.reset();
            self.line.health.met(Need::Redis);
            self.line.metrics.lost.inc_by(batch.lost);
            if !batch.is_empty() {
                self.show_presence(&batch.entries).await?;
                self.pass_on(&store, batch, place).await?;
            }
        }
    }

    /// A place for the next batch. Entries that were given before are asked for with nothing in hand, or
    /// those in hand would come again.
    async fn place(&self, places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Stopped> {
        let place = places.clone().acquire_owned().await.map_err(|_| Stopped)?;
        if self.reader.looks_back() {
            let others = u32::try_from(MOST_IN_HAND - 1).unwrap_or(u32::MAX);
            drop(places.acquire_many(others).await.map_err(|_| Stopped)?);
        }
        Ok(place)
    }

    /// Behind a full batch there is more, which is read at once. Otherwise what comes gathers in the stream
    /// for a moment, and until the other half is ready for it: fewer and larger readings, shown and settled
    /// hardly later.
    async fn pass_on(
        &self,
        store: &mpsc::Sender<Hand>,
        batch: Batch,
        place: OwnedSemaphorePermit,
    ) -> Result<(), Stopped> {
        let (full, next) = (batch.len() >= self.line.source.batch_size, Instant::now() + GATHER);
        store.send(Hand { batch, place }).await.map_err(|_| Stopped)?;
        if !full {
            // All of the store's room is there when the other half has taken everything. The room is given
            // back at once.
            drop(store.reserve_many(MOST_IN_HAND).await.map_err(|_| Stopped)?);
            sleep_until(next).await;
        }
        Ok(())
    }

    async fn show_presence(&mut self, entries: &[Entry]) -> Result<(), Stopped> {
        let timer = self.line.metrics.presence_seconds.start_timer();
        let mut backoff = Backoff::default();
        loop {
            let attempt = match self.link.connection().await {
                Ok(mut redis) => {
                    presence::apply(&mut redis, &self.line.keys, self.leases, entries, clock::now()).await
                }
                Err(error) => Err(error),
            };
            if self.line.done(&mut self.link, attempt, &mut backoff).await?.is_some() {
                timer.observe_duration();
                return Ok(());
            }
        }
    }
}
