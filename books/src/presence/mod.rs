//! Presence: who seeds and who leeches what, now, as sets in Redis that a site reads.
//!
//! The sets are a function of the set of entries and the time alone. Each session has a guard that remembers
//! its newest entry, so an older one that arrives later, twice, or through another consumer changes nothing.
//! A guard outlives the longest lease an older entry could still hold; only then is it forgotten.
//!
//! In Redis: hash `tracker:presence:guard:<passkey>`, field `<infohash>:<peer_id>`, value
//! `<40-digit entry id><s|l|g><due>` (seeds, leeches, gone; due in unix seconds); and one sorted set
//! `tracker:presence:lease` of sessions by a time at which they must be looked at, never later than their
//! due. A heartbeat that changes nothing costs two hash commands.

mod aliases;
mod apply;
mod census;
mod leases;
mod rebuild;
mod reconcile;
mod rotate;
mod scan;
mod user;

use std::sync::LazyLock;

use contract::Keys;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};

pub use apply::{PresenceUpdate, apply, call, updates};
pub use census::{Census, census, sample};
pub use leases::Leases;
pub use rebuild::{Progress, Rebuilt, Scope, rebuild};
pub use reconcile::{Finding, Newest, Older, Reconciled, Span, Subject, reconcile};

pub use rotate::{count_sessions, rotate};
pub use user::{Side, clients_on, counts_of, torrents_of};

/// Brings sessions into the sets. Its key is the hash old passkey -> new (without one, nobody was
/// rotated); its arguments: [`bases`], then [`PresenceUpdate::arguments`] of each session.
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

/// Removes the peers whose lease is over at `now` (unix seconds), exactly as `stopped` would have, and
/// forgets guards that nothing needs any more.
///
/// Pass [`crate::groups::Backlog::horizon`] rather than the clock while entries may be unread: a heartbeat
/// that waits in the stream keeps its peer alive.
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

/// The keys the scripts complete with a passkey and an info hash. They stay on one Redis, not on a cluster: a
/// batch touches many users' keys.
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
