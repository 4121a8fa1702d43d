//! The consumer: reads traffic events from Redis, keeps who seeds and leeches what, and settles every byte
//! into a ledger.
//!
//! The line is `reader -> presence -> settlement -> ledger -> acknowledge`. [`reader::Reader`] and
//! [`pump::Pump`] decide what is asked and done, without doing any of it; each has a driver that carries it
//! out. So the simulation runs them as they are shipped.

pub mod app;
pub mod batch;
pub mod chores;
pub mod clock;
pub mod config;
pub mod health;
pub mod metrics;
pub mod pump;
pub mod reader;
pub mod stop;
