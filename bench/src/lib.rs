//! Measures Seedbook: beside other trackers and beside bare limits, in the same run on the same machine.
//!
//! [`rows`] says what is measured, [`report`] shows it. `scripts/bench` is how people start it.

#![allow(clippy::missing_panics_doc)] // A measurement that cannot be taken ends the run.

pub mod bare;
pub mod contest;
pub mod cores;
pub mod cost;
pub mod figures;
pub mod instructions;
pub mod profiles;
pub mod report;
pub mod rows;
pub mod workbench;
pub mod world;
