//! The words that Seedbook's programs share, so that tracker and consumer can meet in Redis without importing
//! each other.
//!
//! Pure data and rules: no sockets, no runtime, no clock.

pub mod config;
pub mod entry_id;
pub mod event;
pub mod ids;
pub mod keys;
pub mod sealed;

pub use entry_id::{EntryId, EntryIdError};
pub use event::{AddressFamily, Claim, Event, EventError, Extras, TrafficEvent};
pub use ids::{IdError, InfoHash, Passkey, PeerId};
pub use keys::Keys;
pub use sealed::EncryptionKey;

/// Lua: `whole(key)` is all of a session's snapshot, or false: text that the crate `claims` reads. The
/// recorder's script compares it, and so does whoever folds two names of a session into one.
pub const WHOLE_SNAPSHOT: &str = include_str!("whole.lua");
