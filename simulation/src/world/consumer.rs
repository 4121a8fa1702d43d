//! A consumer process: the shipped reader and pump, its connections, and the chore that it is at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use books::site_clock::SiteClock;
use books::{Entry, EntryId};
use consumer::pump::Pump;
use consumer::reader::{Reader, Source};

use super::{GROUP, STREAM};

/// Milliseconds after which another consumer's entry is taken over.
pub(crate) const CLAIM_IDLE_MS: u64 = 30_000;

/// A consumer's connections to Redis.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Connection {
    Reader,
    Presence,
    Acknowledgements,
}

/// One consumer process.
pub(crate) struct Consumer {
    pub(crate) name: String,
    pub(crate) clock: SiteClock,
    pub(crate) pump: Pump,
    pub(crate) reader: Reader,
    /// A read is under way.
    pub(crate) reads: bool,
    /// Acknowledged already, by the mutation that does so before the commit.
    pub(crate) acknowledged_early: Option<Arc<[Entry]>>,
    pub(crate) broken_connections: [bool; 3],
    pub(crate) stopping: bool,
    pub(crate) chore: Option<Chore>,
}

impl Consumer {
    pub(crate) fn new(name: String, batch_size: u64, now: Instant) -> Self {
        let batch_size = usize::try_from(batch_size).unwrap_or(1);
        let source = Source {
            stream: STREAM.into(),
            group: GROUP.into(),
            consumer: name.clone(),
            batch_size,
            claim_idle: Duration::from_millis(CLAIM_IDLE_MS),
        };
        Self {
            name,
            clock: SiteClock::default(),
            pump: Pump::new(batch_size, 1),
            reader: Reader::new(source, now),
            reads: false,
            acknowledged_early: None,
            broken_connections: [false; 3],
            stopping: false,
            chore: None,
        }
    }

    /// Redis is gone: every connection is found broken when it is used next, and a chore ends.
    pub(crate) fn loses_redis(&mut self) {
        (self.broken_connections, self.chore) = ([true; 3], None);
    }
}

/// Sweeping or trimming: each looks at the group first, in several commands, and then acts on what it saw.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    Sweep,
    Trim { cutoff: EntryId },
}

/// A chore under way, and what it has seen of the group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chore {
    pub(crate) task: Task,
    /// Unix seconds when it began.
    pub(crate) now: u64,
    pub(crate) position: Option<EntryId>,
    pub(crate) pending: Option<Option<EntryId>>,
    pub(crate) unread: Option<Option<EntryId>>,
}
