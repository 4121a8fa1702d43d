//! `traffic push`: every accepted announce becomes one event in the Redis stream, before the client is
//! answered; while Redis is away it is kept in a spool on disk, likewise before the client is answered.

mod booking;
mod desk;
mod encode;
mod failure;
mod metrics;
mod options;
mod recorder;
pub mod rotation;
mod script;
mod sender;
mod spool;
mod writer;

pub use booking::{Booking, Entry};
pub use metrics::RecorderMetrics;
pub use options::{FirstStarted, Options, SpoolOptions};
pub use recorder::{RecordError, Recorded, Recorder, Setup, SpawnError, spawn};
pub use script::{Outcome, Receipt, RecordScript, Rules};
pub use spool::{AppendError, Batch, OpenError, Spool, SpoolMetrics, Store};
