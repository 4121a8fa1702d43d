//! The consumer: reads traffic events from Redis, keeps who seeds and leeches what, and settles every byte
//! into a ledger.
//!
//! The line is `reader -> presence -> settlement -> ledger -> acknowledge`, on one screen in [`pump`]. Every
//! step may be repeated: presence and the ledger each recognise what they have seen, and an entry is
//! acknowledged only after its commit.

pub mod app;
pub mod batch;
mod chores;
pub mod clock;
pub mod config;
mod drift;
pub mod finish;
pub mod gaps;
pub mod health;
pub mod intake;
pub mod metrics;
pub mod pump;
pub mod reader;
pub mod stop;
