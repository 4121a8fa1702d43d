//! A seeded, single-process, virtual-time simulation of the whole line: clients, trackers, Redis, consumers
//! and the ledger.
//!
//! The shipped recorder, its spool and the shipped scripts run here, the scripts in a real Lua 5.1 on a small
//! Redis in memory; so do the events, the ledger and the presence rules. Around them everything fails as it
//! pleases, and at the end the books must balance to the byte. `docs/simulation.md` says what is modelled and
//! how to read a trace.

mod announces;
mod books;
mod chores;
mod clients;
mod consumers;
mod dice;
mod disks;
mod ending;
mod fact;
mod figures;
mod ledger;
mod mutation;
mod oracle;
pub mod redis;
mod scenario;
mod schedule;
mod steps;
mod trace;
mod trackers;
mod wire;
mod world;

pub use dice::Dice;
pub use figures::Figures;
pub use mutation::{Mutation, Scripts};
pub use schedule::{Report, Simulator, Tracing};
pub use world::Violation;
