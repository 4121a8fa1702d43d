//! The consumer: reads traffic events from Redis, keeps who seeds and leeches what, and settles every byte
//! into a ledger.
//!
//! The line is `reader -> presence -> settlement -> ledger -> acknowledge`, on one screen in [`pump`]. Every
//! step may be repeated: presence and the ledger each recognise what they have seen, and an entry is
//! acknowledged only after its commit.

pub mod app;
pub mod audit;
pub mod batch;
mod chores;
pub mod clock;
pub mod config;
pub mod dead_letters;
mod drift;
pub mod entry;
pub mod finish;
pub mod gaps;
pub mod groups;
pub mod health;
pub mod intake;
pub mod ledger;
pub mod metrics;
pub mod presence;
pub mod pump;
pub mod reader;
mod reply;
mod resp;
pub mod retention;
pub mod settlement;
pub mod stop;
pub mod stream_reply;

pub use entry::{Entry, EntryId};
