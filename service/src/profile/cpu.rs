//! The processor's time, by the `pprof` crate: a timer signal on whichever thread runs, whose handler walks
//! the stack.
//!
//! The handler must not allocate or take a lock that the interrupted thread may hold. The stack walker that
//! is built in here (framehop) keeps to that, but loads its tables at its first use; [`warm_up`] makes sure
//! that this is not in the middle of somebody's `malloc`.

use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use nix::sys::signal::{Signal, raise};
use pprof::protos::Message;
use pprof::{ProfilerGuard, ProfilerGuardBuilder};
use tokio::sync::{Mutex, MutexGuard};

use super::ProfileError;

/// Not a round number: work that recurs ten or a hundred times a second would be met always or never.
const SAMPLES_PER_SECOND: i32 = 99;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
static WARM: OnceLock<()> = OnceLock::new();

pub(super) async fn take(length: Duration) -> Result<Vec<u8>, ProfileError> {
    let turn = ONE_AT_A_TIME.try_lock().map_err(|_| ProfileError::Busy)?;
    let profiler = blocking(|| start(SAMPLES_PER_SECOND)).await?;
    tokio::time::sleep(length).await;
    blocking(move || encode(&profiler, turn)).await
}

/// Names are looked up and tables are read from disk: seconds, for a large program.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProfileError> + Send + 'static,
) -> Result<T, ProfileError> {
    tokio::task::spawn_blocking(work).await.map_err(ProfileError::failed)?
}

fn start(samples_per_second: i32) -> Result<ProfilerGuard<'static>, ProfileError> {
    warm_up()?;
    build(samples_per_second)
}

fn build(samples_per_second: i32) -> Result<ProfilerGuard<'static>, ProfileError> {
    ProfilerGuardBuilder::default().frequency(samples_per_second).build().map_err(ProfileError::failed)
}

/// Takes one sample of this very thread, at a point where it holds nothing. The timer of once a second does
/// not fire within the microseconds that this takes.
fn warm_up() -> Result<(), ProfileError> {
    if WARM.get().is_some() {
        return Ok(());
    }
    let profiler = build(1)?;
    raise(Signal::SIGPROF).map_err(ProfileError::failed)?;
    drop(profiler);
    WARM.get_or_init(|| ());
    Ok(())
}

/// The turn ends when the profiler has stopped, not before.
fn encode(profiler: &ProfilerGuard<'_>, _turn: MutexGuard<'_, ()>) -> Result<Vec<u8>, ProfileError> {
    let report = profiler.report().build().map_err(ProfileError::failed)?;
    let profile = report.pprof().map_err(ProfileError::failed)?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&profile.encode_to_vec()).map_err(ProfileError::failed)?;
    packed.finish().map_err(ProfileError::failed)
}
