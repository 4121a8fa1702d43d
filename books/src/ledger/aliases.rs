//! Names that stand for another one: an entry of a rotated passkey is settled as the new one's, and one of a
//! hybrid torrent's v2 info hash as its v1 info hash's, whenever it comes.

use std::borrow::Cow;
use std::collections::HashMap;

use contract::{InfoHash, Passkey, TrafficEvent};

use super::LedgerError;
use super::dialect::Dialect;
use super::settle::Announced;
use crate::entry::Entry;
use crate::settlement::EventKey;

/// What those among a batch's names are booked on that are not booked on themselves. Read in the settling
/// transaction, so that a rotation is obeyed from its commit on.
pub(super) struct Aliases {
    passkeys: HashMap<Passkey, Passkey>,
    torrents: HashMap<InfoHash, InfoHash>,
}

impl Aliases {
    pub(super) fn among(dialect: &mut dyn Dialect, entries: &[Entry]) -> Result<Self, LedgerError> {
        Ok(Self {
            passkeys: dialect.aliases(&mut entries.iter().map(|entry| entry.event.passkey))?,
            torrents: dialect.torrent_aliases(&mut entries.iter().map(|entry| entry.event.info_hash))?,
        })
    }

    /// The event as it is booked, and the passkey that it came under if that is another one.
    pub(super) fn canonical<'a>(&self, event: &'a TrafficEvent) -> (Cow<'a, TrafficEvent>, Option<Passkey>) {
        let (EventKey { passkey, info_hash, .. }, announced_as) = self.announced(event);
        if (passkey, info_hash) == (event.passkey, event.info_hash) {
            return (Cow::Borrowed(event), None);
        }
        (Cow::Owned(TrafficEvent { passkey, info_hash, ..event.clone() }), announced_as)
    }

    /// The event's place, and the passkey that it came under if that is another one.
    pub(super) fn announced(&self, event: &TrafficEvent) -> Announced {
        let ts = i64::try_from(event.ts).unwrap_or(i64::MAX);
        let info_hash = self.torrents.get(&event.info_hash).copied().unwrap_or(event.info_hash);
        let new = self.passkeys.get(&event.passkey).copied();
        let passkey = new.unwrap_or(event.passkey);
        (EventKey { ts, passkey, info_hash, peer_id: event.peer_id }, new.map(|_| event.passkey))
    }
}

/// What a passkey was rotated to; `None` for one in use.
pub(super) fn new_of(dialect: &mut dyn Dialect, old: &Passkey) -> Result<Option<Passkey>, LedgerError> {
    Ok(dialect.aliases(&mut std::iter::once(*old))?.remove(old))
}

/// Which torrent an info hash is booked on; `None` for itself.
pub(super) fn v1_of(dialect: &mut dyn Dialect, v2: &InfoHash) -> Result<Option<InfoHash>, LedgerError> {
    Ok(dialect.torrent_aliases(&mut std::iter::once(*v2))?.remove(v2))
}
