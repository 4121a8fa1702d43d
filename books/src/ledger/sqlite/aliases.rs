//! Rotated passkeys: an entry of an old one is settled as the new one's, whenever it comes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use contract::{Passkey, TrafficEvent};
use rusqlite::{Connection, OptionalExtension};

use super::rows;
use crate::entry::Entry;

const NEW_OF: &str = "SELECT new FROM passkey_aliases WHERE old = ?1";

/// What the rotated ones among a batch's passkeys are now. Read in the settling transaction, so that a
/// rotation is obeyed from its commit on; one search of a small table for each user in the batch, and none on
/// a site that never rotated.
pub(super) struct Aliases(HashMap<Passkey, Option<Passkey>>);

impl Aliases {
    pub(super) fn among(connection: &Connection, entries: &[Entry]) -> rusqlite::Result<Self> {
        let any = "SELECT EXISTS (SELECT 1 FROM passkey_aliases)";
        let mut known = HashMap::new();
        if !connection.prepare_cached(any)?.query_row([], |row| row.get::<_, bool>(0))? {
            return Ok(Self(known));
        }
        for entry in entries {
            let passkey = entry.event.passkey;
            if let Slot::Vacant(slot) = known.entry(passkey) {
                slot.insert(new_of(connection, &passkey)?);
            }
        }
        Ok(Self(known))
    }

    /// The event as it is booked, and the passkey that it came under if that is another one.
    pub(super) fn canonical<'a>(&self, event: &'a TrafficEvent) -> (Cow<'a, TrafficEvent>, Option<Passkey>) {
        match self.0.get(&event.passkey).copied().flatten() {
            Some(passkey) => (Cow::Owned(TrafficEvent { passkey, ..event.clone() }), Some(event.passkey)),
            None => (Cow::Borrowed(event), None),
        }
    }
}

/// What a passkey was rotated to; `None` for one in use.
pub(super) fn new_of(connection: &Connection, old: &Passkey) -> rusqlite::Result<Option<Passkey>> {
    let mut statement = connection.prepare_cached(NEW_OF)?;
    statement.query_row([old.reveal()], |row| rows::passkey(row, 0)).optional()
}
