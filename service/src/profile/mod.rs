//! Profiles of the running program in pprof's format (gzipped protocol buffers), as `go tool pprof` and
//! flame-graph tools read them: where the processor's time goes, and who allocated the memory in use.
//!
//! jemalloc is the allocator of the services because it can say who holds the memory (`/debug/pprof/heap`);
//! other allocators cannot. Its sampling is off until somebody asks, or from the start with `heap_profile:
//! true`.

mod cpu;
mod heap;

use std::ops::RangeInclusive;
use std::time::Duration;

use thiserror::Error;

pub use heap::start as start_heap_sampling;
#[doc(hidden)]
pub use tikv_jemallocator::Jemalloc;

/// How long one profile may take, in seconds.
pub const SECONDS: RangeInclusive<u64> = 1..=60;
/// How long a profile takes whose length nobody asked for.
pub const DEFAULT_SECONDS: u64 = 10;

/// What jemalloc reads before `main`: its profiler is built in but idle, and takes one sample per 512 KiB
/// once it is woken. Pages that nobody used for a second go back to the system, by a thread of jemalloc's
/// own: a program that is idle after a spike gives them back too.
#[doc(hidden)]
pub const MALLOC_CONF: &[u8; 89] =
    b"prof:true,prof_active:false,lg_prof_sample:19,dirty_decay_ms:1000,background_thread:true\0";

/// Makes jemalloc the allocator of the program in whose `main.rs` this stands: the allocator that can say, on
/// request, who holds the memory. Idle, its profiler costs one branch per allocation.
#[macro_export]
macro_rules! profiled_allocator {
    () => {
        #[global_allocator]
        static ALLOCATOR: $crate::profile::Jemalloc = $crate::profile::Jemalloc;

        // Naming a symbol is what needs permission here: jemalloc looks for this one, and nothing else has
        // its prefix.
        #[allow(unsafe_code)]
        #[unsafe(export_name = "_rjem_malloc_conf")]
        static MALLOC_CONF: &[u8; 89] = $crate::profile::MALLOC_CONF;
    };
}

/// Why there is no profile.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// Another one is being taken; two at once would spoil each other.
    #[error("another profile is being taken; ask again when it is done")]
    Busy,
    /// This program or system has none.
    #[error("{0}")]
    Unavailable(&'static str),
    /// It was started and failed.
    #[error("the profile failed: {0}")]
    Failed(String),
}

impl ProfileError {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Where the processor's time went during the next `length`, sampled 99 times a second.
///
/// # Errors
/// When another one is being taken, or the system refuses the timer.
pub async fn cpu(length: Duration) -> Result<Vec<u8>, ProfileError> {
    cpu::take(length).await
}

/// Who allocated the memory in use: everything since the start when sampling is on ([`start_heap_sampling`]),
/// else what is allocated during the next `length` and still in use at its end.
///
/// # Errors
/// When another one is being taken, or the program's allocator has no profiler.
pub async fn heap(length: Duration) -> Result<Vec<u8>, ProfileError> {
    heap::take(length).await
}
