//! The rules by which absolute counters become deltas, each against a real Redis: the script is the only
//! place that knows them.

#![allow(clippy::unwrap_used)]

mod books;
mod clock;
mod counters;
mod snapshots;
mod trackers;
