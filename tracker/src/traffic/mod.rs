//! `traffic push`: every accepted announce becomes one event in the Redis stream, before the client is
//! answered; while Redis is away it is kept in a spool on disk, likewise before the client is answered.

mod booking;
mod courier;
mod desk;
mod options;
mod packed;
mod recorder;
pub mod rotation;
mod script;
mod spool;
mod trouble;
mod writer;

pub use booking::{Booking, Entry};
pub use options::{FirstStarted, Options, SpoolOptions};
pub use recorder::{RecordError, Recorded, Recorder, Setup, SpawnError, spawn};
pub use script::{Outcome, Receipt, RecordScript, Rules};
pub use spool::{AppendError, Batch, OpenError, Spool, SpoolMetrics, Store};
pub use trouble::Trouble;
