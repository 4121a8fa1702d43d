//! The site's books, as every program sees them: what a stream entry is, what it earns ([`settlement`]), the
//! SQL tables that hold it ([`ledger`]), who seeds and leeches what ([`presence`]), what the stream may
//! forget ([`retention`]), and whether it all adds up ([`audit`]).
//!
//! Consumer, `trackerctl` and simulation share this crate; none of them depends on another program for it.

pub mod audit;
pub mod dead_letters;
pub mod entry;
pub mod groups;
pub mod ledger;
pub mod presence;
pub mod retention;
pub mod settlement;

pub use entry::{Entry, EntryId};
