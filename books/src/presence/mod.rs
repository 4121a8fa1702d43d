//! Presence: who seeds and who leeches what, now, as sets in Redis that a site reads.
//!
//! The sets are a function of the set of entries and the time alone. Each session has a guard that remembers
//! its newest report, so an older one that is read later, twice, or through another consumer changes nothing.
//! A guard outlives the longest lease an older report could still hold; only then is it forgotten.
//!
//! In Redis: hash `tracker:presence:guard:<passkey>`, field `<infohash>:<peer_id>`, value
//! `<60-digit place><s|l|g><due>` ([`Place`]; seeds, leeches, gone; due in unix seconds); and one sorted set
//! `tracker:presence:lease` of sessions by a time at which they must be looked at, never later than their
//! due. A heartbeat that changes nothing costs two hash commands.

mod aliases;
mod apply;
mod census;
mod leases;
mod place;
mod rebuild;
mod reconcile;
mod rotate;
mod scan;
mod user;

use std::sync::LazyLock;

use contract::Keys;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};

pub(crate) use aliases::aliases;
pub use apply::{PresenceUpdate, apply, call, updates};
pub use census::{Census, census, sample};
pub use leases::Leases;
pub use place::Place;
pub use rebuild::{Progress, Rebuilt, Scope, rebuild};
pub use reconcile::{Finding, Newest, Older, Reconciled, Span, Subject, reconcile};
pub use rotate::{count_sessions, follow_torrent_aliases, followed_torrent_aliases, rotate};
pub use user::{Side, clients_on, counts_of, torrents_of};

/// Brings sessions into the sets. Its keys are the hashes old passkey -> new and v2 info hash -> v1 (without
/// them, nothing has two names); its arguments: [`bases`], then [`PresenceUpdate::arguments`] of each
/// session.
pub const APPLY_SCRIPT: &str = include_str!("apply.lua");
/// Judges leases. Its arguments: [`bases`], unix seconds up to which to judge, how many leases at most,
/// [`Leases::memory_s`], unix seconds now.
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

/// Up to when leases are judged, in unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// The time now. Nobody was heard later: a lease that says so comes from a clock that was ahead.
    pub now: u64,
    /// [`crate::groups::Backlog::horizon`] rather than the time while entries may be unread: a heartbeat that
    /// waits in the stream keeps its peer alive.
    pub horizon: u64,
}

impl Judgement {
    /// With nothing unread.
    #[must_use]
    pub fn at(now: u64) -> Self {
        Self { now, horizon: now }
    }
}

/// Removes the peers whose lease is over at the horizon, exactly as `stopped` would have, and forgets guards
/// that nothing needs any more.
///
/// # Errors
/// Redis's own; what was swept is swept.
pub async fn sweep(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    leases: Leases,
    judgement: Judgement,
) -> RedisResult<Swept> {
    let bases = bases(keys);
    let mut swept = Swept::default();
    for _ in 0..CALLS_A_SWEEP {
        let mut call = SWEEP.prepare_invoke();
        call.arg(&bases[..]);
        call.arg(judgement.horizon).arg(LEASES_A_CALL).arg(leases.memory_s()).arg(judgement.now);
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
