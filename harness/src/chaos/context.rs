//! What all that goes on in a run shares: journal, world, `trackerctl`, and a way to Redis that nobody cuts.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::Trackerctl;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedRwLockWriteGuard, RwLock};

use crate::world::World;

const PATIENCE: Duration = Duration::from_millis(500);

/// One line for each fault.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Mutex<File>,
    begin: Instant,
}

impl Journal {
    pub(crate) fn open(path: &Path, begin: Instant) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file: Mutex::new(file), begin })
    }

    pub(crate) fn write(&self, what: &str) {
        let at = self.begin.elapsed().as_secs_f64();
        // A journal that cannot be written costs its lines, not the run.
        writeln!(self.file.lock(), "{at:9.3} {what}").ok();
    }
}

/// The journal, the world and `trackerctl`, shared by injectors and audit.
#[derive(Debug, Clone)]
pub(crate) struct RunContext {
    pub(crate) journal: Arc<Journal>,
    pub(crate) world: Arc<World>,
    pub(crate) control: Trackerctl,
    /// Whoever writes to Redis what no tracker would write again holds this, and a Redis that forgets.
    pub(crate) desk: Arc<AsyncMutex<()>>,
    /// Read by whoever fills a spool's disk, written by a Redis that forgets: while the disk is full a
    /// tracker has its tail in memory only, and a kill takes that along.
    pub(crate) tails: Arc<RwLock<()>>,
}

impl RunContext {
    /// Waits until nobody writes what no tracker would write again, and every tail is on its disk, and keeps
    /// it so.
    pub(crate) async fn nobody_needs_redis(&self) -> (OwnedMutexGuard<()>, OwnedRwLockWriteGuard<()>) {
        (self.desk.clone().lock_owned().await, self.tails.clone().write_owned().await)
    }
}

/// A connection around every proxy, for a run that must not wait for it.
pub(crate) async fn connection(client: &redis::Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await
}
