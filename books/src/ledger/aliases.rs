//! Rotated passkeys: an entry of an old one is settled as the new one's, whenever it comes.

use std::borrow::Cow;
use std::collections::HashMap;

use contract::{Passkey, TrafficEvent};

use super::LedgerError;
use super::dialect::Dialect;
use super::settle::Announced;
use crate::entry::Entry;
use crate::settlement::EventKey;

/// What the rotated ones among a batch's passkeys are now. Read in the settling transaction, so that a
/// rotation is obeyed from its commit on.
pub(super) struct Aliases(HashMap<Passkey, Passkey>);

impl Aliases {
    pub(super) fn among(dialect: &mut dyn Dialect, entries: &[Entry]) -> Result<Self, LedgerError> {
        dialect.aliases(&mut entries.iter().map(|entry| entry.event.passkey)).map(Self)
    }

    /// The event as it is booked, and the passkey that it came under if that is another one.
    pub(super) fn canonical<'a>(&self, event: &'a TrafficEvent) -> (Cow<'a, TrafficEvent>, Option<Passkey>) {
        match self.0.get(&event.passkey) {
            Some(passkey) => {
                (Cow::Owned(TrafficEvent { passkey: *passkey, ..event.clone() }), Some(event.passkey))
            }
            None => (Cow::Borrowed(event), None),
        }
    }

    /// The event's place, and the passkey that it came under if that is another one.
    pub(super) fn announced(&self, event: &TrafficEvent) -> Announced {
        let TrafficEvent { passkey, info_hash, peer_id, .. } = *event;
        let ts = i64::try_from(event.ts).unwrap_or(i64::MAX);
        match self.0.get(&passkey) {
            Some(new) => (EventKey { ts, passkey: *new, info_hash, peer_id }, Some(passkey)),
            None => (EventKey { ts, passkey, info_hash, peer_id }, None),
        }
    }
}

/// What a passkey was rotated to; `None` for one in use.
pub(super) fn new_of(dialect: &mut dyn Dialect, old: &Passkey) -> Result<Option<Passkey>, LedgerError> {
    Ok(dialect.aliases(&mut std::iter::once(*old))?.remove(old))
}
