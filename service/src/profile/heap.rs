//! The memory in use, by jemalloc's own profiler: a stack per 512 KiB allocated, forgotten when that memory
//! is freed.

use std::sync::Arc;
use std::time::Duration;

use jemalloc_pprof::{JemallocProfCtl, PROF_CTL};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::ProfileError;

/// Samples from now on, so that a heap profile shows everything allocated since. Costs about a percent of an
/// allocating program's time.
///
/// # Errors
/// When the program's allocator has no profiler.
pub fn start() -> Result<(), ProfileError> {
    // Nobody else holds the lock for longer than a dump takes, and none has been asked for when a program
    // starts.
    let mut control = profiler()?.try_lock_owned().map_err(|_| ProfileError::Busy)?;
    control.activate().map_err(ProfileError::failed)
}

pub(super) async fn take(length: Duration) -> Result<Vec<u8>, ProfileError> {
    let mut control = profiler()?.try_lock_owned().map_err(|_| ProfileError::Busy)?;
    if control.activated() {
        return dump(control).await;
    }
    control.activate().map_err(ProfileError::failed)?;
    let mut window = Window(control);
    tokio::time::sleep(length).await;
    // Written while sampling still runs: stopping forgets the samples.
    tokio::task::spawn_blocking(move || window.0.dump_pprof())
        .await
        .map_err(ProfileError::failed)?
        .map_err(ProfileError::failed)
}

/// Sampling for one profile. It ends with this value, also when whoever asked has gone.
struct Window(OwnedMutexGuard<JemallocProfCtl>);

impl Drop for Window {
    fn drop(&mut self) {
        if let Err(error) = self.0.deactivate() {
            tracing::warn!(%error, "heap sampling cannot be stopped");
        }
    }
}

async fn dump(mut control: OwnedMutexGuard<JemallocProfCtl>) -> Result<Vec<u8>, ProfileError> {
    tokio::task::spawn_blocking(move || control.dump_pprof())
        .await
        .map_err(ProfileError::failed)?
        .map_err(ProfileError::failed)
}

fn profiler() -> Result<Arc<Mutex<JemallocProfCtl>>, ProfileError> {
    PROF_CTL.clone().ok_or(ProfileError::Unavailable("this program's allocator keeps no heap profile"))
}
