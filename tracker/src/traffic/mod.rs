//! `traffic push`: every accepted announce becomes one event in the Redis stream, before the client is answered.

mod options;
mod recorder;
mod script;

pub use options::{FirstStarted, Options};
pub use recorder::{RecordError, Recorded, Recorder, Setup, spawn};
pub use script::{Entry, Outcome, RecordScript, Rules};
