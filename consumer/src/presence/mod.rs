//! Presence: who seeds and who leeches what, now, as sets in Redis that a site reads.
//!
//! The sets are a function of the set of entries and the time alone. Each session has a guard that remembers its newest
//! entry, so an older one that arrives later, twice, or through another consumer changes nothing. A guard outlives the
//! longest lease an older entry could still hold; only then is it forgotten.
//!
//! In Redis: hash `tracker:presence:guard:<passkey>`, field `<infohash>:<peer_id>`, value `<40-digit entry id><s|l|g><due>`
//! (seeds, leeches, gone; due in unix seconds); and one sorted set `tracker:presence:lease` of sessions by a time at
//! which they must be looked at, never later than their due. A heartbeat that changes nothing costs two hash commands.

mod aliases;
mod census;
mod leases;
mod rebuild;
mod reconcile;
mod rotate;
mod scan;

use std::collections::HashMap;
use std::sync::LazyLock;

use contract::{Event, InfoHash, Keys, Passkey, PeerId};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};

pub use census::{Census, census, sample};
pub use leases::Leases;
pub use rebuild::{Progress, Rebuilt, Scope, rebuild};
pub use reconcile::{Finding, Newest, Older, Reconciled, Span, Subject, reconcile};

pub use rotate::{count_sessions, rotate};

use crate::entry::{Entry, EntryId};

/// Brings sessions into the sets. Its key is the hash old passkey -> new (without one, nobody was
/// rotated); its arguments: [`bases`], then [`Standing::arguments`] of each session.
pub const APPLY_SCRIPT: &str = include_str!("apply.lua");
/// Judges leases. Its arguments: [`bases`], unix seconds, how many leases at most, [`Leases::memory_s`].
pub const SWEEP_SCRIPT: &str = include_str!("sweep.lua");

static APPLY: LazyLock<Script> = LazyLock::new(|| Script::new(APPLY_SCRIPT));
static SWEEP: LazyLock<Script> = LazyLock::new(|| Script::new(SWEEP_SCRIPT));

/// Sessions one script call handles: about a millisecond of Redis, which other clients of it can wait.
const SESSIONS_A_CALL: usize = 200;
/// Leases one sweep call looks at.
const LEASES_A_CALL: usize = 500;
/// Calls one sweep makes at most; the next one goes on where it stopped.
const CALLS_A_SWEEP: usize = 2000;

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Leases looked at.
    pub examined: u64,
    /// Sessions that left the sets because their peer fell silent.
    pub expired: u64,
}

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
    let bases = bases(keys);
    for chunk in standings(leases, entries, now).chunks(SESSIONS_A_CALL) {
        let mut call = APPLY.key(keys.passkey_alias());
        call.arg(&bases[..]);
        for standing in chunk {
            call.arg(&standing.arguments()[..]);
        }
        call.invoke_async::<()>(connection).await?;
    }
    Ok(())
}

/// Removes the peers whose lease is over at `now` (unix seconds), exactly as `stopped` would have, and forgets guards that
/// nothing needs any more.
///
/// Pass [`crate::groups::Backlog::horizon`] rather than the clock while entries may be unread: a heartbeat that waits in the stream keeps
/// its peer alive.
///
/// # Errors
/// Redis's own; what was swept is swept.
pub async fn sweep(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    leases: Leases,
    now: u64,
) -> RedisResult<Swept> {
    let bases = bases(keys);
    let mut swept = Swept::default();
    for _ in 0..CALLS_A_SWEEP {
        let mut call = SWEEP.prepare_invoke();
        call.arg(&bases[..]);
        call.arg(now).arg(LEASES_A_CALL).arg(leases.memory_s());
        let (examined, expired): (u64, u64) = call.invoke_async(connection).await?;
        swept.examined += examined;
        swept.expired += expired;
        if examined < LEASES_A_CALL as u64 {
            break;
        }
    }
    Ok(swept)
}

fn newest_of_each_session(entries: &[Entry]) -> Vec<&Entry> {
    let mut newest: HashMap<(Passkey, InfoHash, PeerId), &Entry> = HashMap::with_capacity(entries.len());
    for entry in entries {
        let event = &entry.event;
        let slot = newest.entry((event.passkey, event.info_hash, event.peer_id)).or_insert(entry);
        if slot.id < entry.id {
            *slot = entry;
        }
    }
    newest.into_values().collect()
}

/// What one session is once its newest entry is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The newest entry.
    pub entry: &'a Entry,
    /// `s` seeds, `l` leeches, `g` gone, `x` gone and due to be forgotten already.
    pub state: &'static str,
    /// Unix seconds at which this must be looked at again.
    pub due: u64,
}

impl Standing<'_> {
    /// The six arguments that the script takes for one session.
    #[must_use]
    pub fn arguments(&self) -> [String; 6] {
        let event = &self.entry.event;
        [
            event.passkey.reveal().to_owned(),
            event.info_hash.to_string(),
            event.peer_id.to_string(),
            ordered(self.entry.id),
            self.state.to_owned(),
            self.due.to_string(),
        ]
    }
}

/// Where each session among these entries stands at `now` (unix seconds).
#[must_use]
pub fn standings(leases: Leases, entries: &[Entry], now: u64) -> Vec<Standing<'_>> {
    newest_of_each_session(entries).into_iter().map(|entry| standing(entry, leases, now)).collect()
}

fn standing(entry: &Entry, leases: Leases, now: u64) -> Standing<'_> {
    let seen = entry.id.unix_seconds();
    let (lease_end, forget) = (seen + leases.lease_s(entry.event.interval), seen + leases.memory_s());
    let (state, due) = match (entry.event.event, entry.event.left) {
        _ if forget <= now => ("x", forget),
        (Event::Stopped, _) => ("g", forget),
        _ if lease_end <= now => ("g", forget),
        (_, 0) => ("s", lease_end),
        _ => ("l", lease_end),
    };
    Standing { entry, state, due }
}

/// An entry id whose text order is its order, so that a script compares it without arithmetic (Lua has only doubles).
fn ordered(id: EntryId) -> String {
    format!("{:020}{:020}", id.ms, id.seq)
}

/// The keys the scripts complete with a passkey and an info hash. They stay on one Redis, not on a cluster: a batch
/// touches many users' keys.
#[must_use]
pub fn bases(keys: &Keys) -> [String; 6] {
    [
        keys.presence("guard:"),
        keys.presence("lease"),
        keys.seeding_base(),
        keys.leeching_base(),
        keys.seeding_members_base(),
        keys.leeching_members_base(),
    ]
}
