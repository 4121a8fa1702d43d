//! The site's books, as every program sees them: what a stream entry is, what it earns ([`settlement`]), the
//! SQL tables that hold it ([`ledger`]), who seeds and leeches what ([`presence`]), what the stream may
//! forget ([`retention`]), whether it all adds up ([`audit`]), how one user's totals came about
//! ([`explanation`]), how a user gets a new passkey ([`rotation`]), and what
//! time it is ([`site_clock`]).
//!
//! Consumer, `trackerctl` and simulation share this crate; none of them depends on another program for it.

pub mod adoption;
pub mod audit;
pub mod dead_letters;
pub mod entry;
pub mod explanation;
pub mod figures;
pub mod groups;
pub mod ledger;
pub mod presence;
pub mod retention;
pub mod rotation;
pub mod settlement;
pub mod site_clock;

pub use entry::{Entry, EntryId};
