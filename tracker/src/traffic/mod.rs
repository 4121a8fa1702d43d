//! `traffic push`: every accepted announce becomes one event in the Redis stream, before the client is
//! answered; while Redis is away it is kept in a spool on disk, likewise before the client is answered.
//!
//! `recorder` is the way in, `machine` decides what is sent, spooled and answered, `driver` carries that out.

mod booking;
mod bookkeeper;
mod driver;
mod encode;
mod failure;
mod machine;
mod metrics;
mod notices;
mod options;
mod recorder;
mod replay;
mod reply;
mod script;
mod sender;
mod sessions;
mod site_clock;
mod spool;

pub use booking::{Booking, NumberedBooking};
pub use bookkeeper::{Bookkeeper, Computed, Source};
pub use failure::{FailureKind, SendFailure};
pub use machine::{
    Action, Call, Heritage, Input, Limits, Notice, RecordError, RecorderMachine, RecorderState, Submission,
};
pub use metrics::RecorderMetrics;
pub use options::{EventField, FirstStarted, Options, SpoolOptions};
pub use recorder::{Recorded, Recorder, Setup, SpawnError, spawn};
pub use replay::{ReplayError, Replayed, replay};
pub use reply::{Clock, Outcome, Present, Receipt, Verdict};
pub use script::{Progress, RecordScript, Rules};
pub use site_clock::SharedClock;
pub use spool::{
    AppendError, Batch, Disk, DiskFile, DiskRequest, DiskResult, Fault, Folder, LetGo, MemoryDisk, OpenError,
    SpoolMetrics, Store, Survey, SurveyedFile, SurveyedKind, TailLimits,
};
