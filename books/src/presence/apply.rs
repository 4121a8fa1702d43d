//! Bringing entries into the sets: the newest of each session, in calls that are written without an
//! allocation per argument, because every event that is consumed comes through here.

use contract::{Event, InfoHash, Keys, Passkey, PeerId};
use hashbrown::HashMap;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind};

use super::{APPLY, Leases, Place, SESSIONS_A_CALL, bases};
use crate::entry::Entry;

/// Arguments of one session, and about so many bytes.
const ARGUMENTS: usize = 6;
const BYTES_A_SESSION: usize = 192;
/// Those before the first session.
const HEAD: usize = 16;

/// Brings entries into the sets, in any order, any number of times. `now` is in unix seconds.
///
/// # Errors
/// Redis's own; some sessions may have been applied then, and applying all of them again is right.
pub async fn apply(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    leases: Leases,
    entries: &[Entry],
    now: u64,
) -> RedisResult<()> {
    for chunk in updates(leases, entries, now).chunks(SESSIONS_A_CALL) {
        run(connection, &call(keys, chunk)).await?;
    }
    Ok(())
}

async fn run(connection: &mut MultiplexedConnection, call: &Cmd) -> RedisResult<()> {
    match call.query_async(connection).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            // A restart, a failover or SCRIPT FLUSH: teach it again, then go on as if nothing had been.
            APPLY.prepare_invoke().load_async(connection).await?;
            call.query_async(connection).await
        }
        outcome => outcome,
    }
}

/// The command that brings sessions into the sets: `EVALSHA` of [`super::APPLY_SCRIPT`].
#[must_use]
pub fn call(keys: &Keys, updates: &[PresenceUpdate<'_>]) -> Cmd {
    let (arguments, bytes) = (HEAD + ARGUMENTS * updates.len(), BYTES_A_SESSION * (updates.len() + 2));
    let mut call = Cmd::with_capacity(arguments, bytes);
    call.arg("EVALSHA").arg(APPLY.get_hash()).arg(2).arg(keys.passkey_alias()).arg(keys.torrent_alias());
    call.arg(&bases(keys)[..]);
    for update in updates {
        update.each_argument(|argument| {
            call.arg(argument);
        });
    }
    call
}

/// A session's presence as its newest entry has it, for the script to bring into guard, lease and sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceUpdate<'a> {
    /// The entry of its newest report.
    pub entry: &'a Entry,
    /// `s` seeds, `l` leeches, `g` gone, `x` gone and due to be forgotten already.
    pub state: &'static str,
    /// Unix seconds at which this must be looked at again.
    pub due: u64,
}

impl PresenceUpdate<'_> {
    /// The six arguments that the script takes for one session.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::with_capacity(ARGUMENTS);
        self.each_argument(|argument| arguments.push(argument.to_owned()));
        arguments
    }

    fn each_argument(&self, mut take: impl FnMut(&str)) {
        let Entry { event, .. } = self.entry;
        take(event.passkey.reveal());
        take(&event.info_hash.hex());
        take(&event.peer_id.hex());
        take(&Place::of(self.entry).ordered());
        take(self.state);
        take(itoa::Buffer::new().format(self.due));
    }
}

/// The update of each session among these entries, at `now` (unix seconds).
#[must_use]
pub fn updates(leases: Leases, entries: &[Entry], now: u64) -> Vec<PresenceUpdate<'_>> {
    newest_of_each_session(entries).into_values().map(|entry| update(entry, leases, now)).collect()
}

type Session<'a> = (&'a Passkey, &'a InfoHash, &'a PeerId);

fn newest_of_each_session(entries: &[Entry]) -> HashMap<Session<'_>, &Entry> {
    let mut newest = HashMap::with_capacity(entries.len());
    for entry in entries {
        let event = &entry.event;
        let slot = newest.entry((&event.passkey, &event.info_hash, &event.peer_id)).or_insert(entry);
        if Place::of(slot) < Place::of(entry) {
            *slot = entry;
        }
    }
    newest
}

fn update(entry: &Entry, leases: Leases, now: u64) -> PresenceUpdate<'_> {
    let seen = Place::of(entry).unix_seconds();
    let (lease_end, forget) = (seen + leases.lease_s(entry.event.interval), seen + leases.memory_s());
    let (state, due) = match (entry.event.event, entry.event.left) {
        _ if forget <= now => ("x", forget),
        (Event::Stopped, _) => ("g", forget),
        _ if lease_end <= now => ("g", forget),
        (_, 0) => ("s", lease_end),
        _ => ("l", lease_end),
    };
    PresenceUpdate { entry, state, due }
}
