//! `traffic push`: every accepted announce becomes one event in the Redis stream, before the client is answered.

mod recorder;
mod script;

pub use recorder::{Options, RecordError, Recorder, spawn};
pub use script::{Entry, Outcome, RecordScript, Rules};
