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

/// Lua: `fold(old_key, new_key)` adds the snapshot of a rotated passkey's session to the new passkey's. The
/// recorder's script and the rotation run the same text, so that it does not matter which of them comes
/// first.
pub const FOLD_SNAPSHOT: &str = include_str!("fold.lua");
