//! Whether sets, guards and ledger still tell the same story: measured on a few users now and then, and
//! exported.
//!
//! The sets follow from the guards in one atomic script, and the ledger's newest row follows from the same
//! entries, so any difference is a bug, a loss or somebody's hand. `trackerctl ledger verify` looks at
//! everything; this only raises the flag.

use std::collections::{BTreeSet, HashMap};

use contract::{InfoHash, Passkey};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tracing::{debug, warn};

use books::entry::EntryId;
use books::groups::groups;
use books::ledger::{Access, Intent, LedgerError, Location};
use books::presence::{self, Older, Span, Subject};

use super::Setup;

/// Seconds by which the clocks of two trackers may differ before a ledger's newest row looks too old.
const CLOCKS_APART_MS: u64 = 300_000;

/// What one turn found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Drifts {
    pub(crate) users: u64,
    /// Set members and leases that do not follow from the guards.
    pub(crate) sets: u64,
    /// Sessions in the sets whose settled announce is not in the ledger; `None` while the ledger cannot be
    /// read.
    pub(crate) ledger: Option<u64>,
}

pub(crate) async fn measure(
    connection: &mut MultiplexedConnection,
    setup: &Setup,
    now: u64,
) -> RedisResult<Drifts> {
    let users = presence::sample(connection, &setup.keys, setup.compared_users).await?;
    // Before the guards: what is unfinished now may be in the sets and not yet in the ledger.
    let groups = groups(connection, &setup.stream).await?;
    let group = groups.iter().find(|group| group.name == setup.group);
    let finished_before = group.map_or(EntryId::default(), books::groups::Group::needs_from);
    let (mut drifts, mut sessions) = (Drifts { users: users.len() as u64, ..Drifts::default() }, Vec::new());
    for passkey in &users {
        let subject = Subject { passkey, newest: &[], also: &[] };
        let how = (Span::NOTHING, Intent::Look);
        let found = presence::reconcile(connection, &setup.keys, (setup.leases, now), subject, how).await?;
        drifts.sets += found.differences;
        sessions.extend(found.older.into_iter().filter(|session| session.place.id < finished_before));
    }
    drifts.ledger = unsettled(setup.database.clone(), users, sessions).await;
    if drifts.sets + drifts.ledger.unwrap_or(0) > 0 {
        warn!(
            users = drifts.users,
            sets = drifts.sets,
            ledger = drifts.ledger,
            "presence has drifted; `trackerctl ledger verify` says where, `trackerctl presence rebuild` mends the sets"
        );
    }
    Ok(drifts)
}

/// How many of these sessions are newer than anything in the ledger. On a thread where reading may block.
async fn unsettled(database: Location, users: BTreeSet<Passkey>, sessions: Vec<Older>) -> Option<u64> {
    let count = tokio::task::spawn_blocking(move || count_unsettled(&database, &users, &sessions)).await;
    match count {
        Ok(Ok(count)) => Some(count),
        Ok(Err(error)) => {
            debug!(%error, "the ledger could not be compared");
            None
        }
        Err(error) => {
            warn!(%error, "comparing with the ledger failed");
            None
        }
    }
}

fn count_unsettled(
    database: &Location,
    users: &BTreeSet<Passkey>,
    sessions: &[Older],
) -> Result<u64, LedgerError> {
    let mut ledger = database.open(Access::Read)?;
    let mut newest: HashMap<(Passkey, InfoHash), EntryId> = HashMap::new();
    for passkey in users {
        let torrents = ledger.torrents_of(passkey)?.into_iter();
        newest.extend(torrents.map(|(info_hash, account)| ((*passkey, info_hash), account.left_entry)));
    }
    let missing = |session: &&Older| {
        let settled = newest.get(&(session.passkey, session.info_hash));
        settled.is_none_or(|settled| settled.ms.saturating_add(CLOCKS_APART_MS) < session.place.id.ms)
    };
    Ok(sessions.iter().filter(missing).count() as u64)
}
