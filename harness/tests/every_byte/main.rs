//! Every byte once: what went wrong with books before they went by claims, each case on the built programs.
//!
//! A scripted client says what real ones said then, in the order in which it arrived; a drawn one does what
//! libtorrent does, over paths whose delays come from a seed; and libtorrent itself downloads over slow ways.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod announce;
mod drawn;
mod ledgers;
mod look_ups;
mod names;
#[path = "../../../claims/tests/generated/oracle.rs"]
mod oracle;
mod order;
mod real;
mod redis_loses;
mod session;
mod site;
mod spooled;
mod wrong_clocks;
