//! The ledger compared with the stream: every entry that was acknowledged and is still there must be settled,
//! or be a dead letter. What is not acknowledged yet is no drift.

use std::collections::HashSet;

use contract::Keys;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, cmd};
use service::redis::stream::{self, RawEntry};
use thiserror::Error;

use crate::dead_letters::{self, DeadLetters};
use crate::entry::{Entry, EntryId, decode};
use crate::groups::groups;
use crate::ledger::{Drift, Ledger, LedgerError};
use crate::presence::{Older, Rebuilt};
use crate::retention::{Progress, Target, pending};
use crate::settlement::SettledRow;

/// Entries or letters read at once.
const PAGE: usize = 1000;
/// Missing entries listed, at most; all are counted.
const LISTED: usize = 1000;
/// A session's announce is looked for among so many of its user and torrent, and within a day before its
/// entry.
const NEAR: (u32, i64) = (10_000, 86_400);

/// What the stream's entries came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamAudit {
    /// Entries that are there.
    pub entries: u64,
    /// Acknowledged and settled (or settled and pruned).
    pub settled: u64,
    /// Not read yet, or read and not acknowledged.
    pub pending: u64,
    /// Acknowledged, and in the dead letters.
    pub dead: u64,
    /// Acknowledged, unreadable, and no dead letter any more: an operator dropped them.
    pub dropped: u64,
    /// Acknowledged and nowhere.
    pub missing: u64,
    /// The first of the missing ones.
    pub listed: Vec<Entry>,
}

/// Why the comparison could not be made.
#[derive(Debug, Error)]
pub enum AuditError {
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Compares every entry of the stream with the ledger.
///
/// The group's position is read first, then the dead letters, then the entries, then the ledger: consumers go
/// the other way round, so whatever they do meanwhile is found.
///
/// # Errors
/// Redis's or the ledger's.
pub async fn stream(
    connection: &mut MultiplexedConnection,
    target: Target<'_>,
    keys: &Keys,
    ledger: &mut Ledger,
    progress: Progress<'_>,
) -> Result<StreamAudit, AuditError> {
    let mut groups = groups(connection, target.stream).await?;
    groups.retain(|group| group.name == target.group);
    let given = groups.first().map_or(EntryId::default(), |group| group.last_delivered);
    let pending = pending(connection, target.stream, &groups, given.next()).await?;
    let unfinished = |id: EntryId| id > given || pending.contains(&id);
    let mut dead = HashSet::new();
    for stream in [DeadLetters::Waiting, DeadLetters::Failed] {
        dead_ids(connection, keys, stream, &mut dead).await?;
    }
    let (mut audit, mut from) = (StreamAudit::default(), EntryId::default());
    loop {
        let mut range = cmd("XRANGE");
        range.arg(target.stream).arg(from.to_string()).arg("+").arg("COUNT").arg(PAGE);
        let page = stream::entries(&range.query_async::<Value>(connection).await?)?;
        let Some(last) = page.last() else { return Ok(audit) };
        from = last.id.next();
        audit.entries += page.len() as u64;
        let (waiting, finished): (Vec<_>, Vec<_>) = page.into_iter().partition(|raw| unfinished(raw.id));
        audit.pending += waiting.len() as u64;
        audit.add(finished, &dead, ledger)?;
        progress(audit.entries);
    }
}

/// The sets against the stream's entries and the settled events.
#[derive(Debug)]
pub struct PresenceAudit {
    /// The sets against what they would be if they were built anew.
    pub found: Rebuilt,
    /// Sessions older than the stream's first entry, and not in the ledger either.
    pub unsettled: Vec<Older>,
}

/// What was compared with each other, and what differs.
#[derive(Debug)]
pub struct Verdict {
    /// Totals that are not what the settled events add up to.
    pub drifts: Vec<Drift>,
    /// The stream's entries against the settled events, if they were compared.
    pub stream: Option<StreamAudit>,
    /// The sets, if they were compared.
    pub presence: Option<PresenceAudit>,
}

impl Verdict {
    /// Whether totals, settled events, the stream and the sets tell the same story.
    #[must_use]
    pub fn agrees(&self) -> bool {
        let settled = |stream: &StreamAudit| stream.missing == 0;
        let shown = |sets: &PresenceAudit| sets.found.differences == 0 && sets.unsettled.is_empty();
        self.drifts.is_empty()
            && self.stream.as_ref().is_none_or(settled)
            && self.presence.as_ref().is_none_or(shown)
    }
}

impl StreamAudit {
    fn add(
        &mut self,
        finished: Vec<RawEntry>,
        dead: &HashSet<EntryId>,
        ledger: &mut Ledger,
    ) -> Result<(), LedgerError> {
        let mut events = Vec::with_capacity(finished.len());
        for raw in finished {
            match raw.fields.as_ref().map(decode) {
                Some(Ok(event)) => events.push(Entry { id: raw.id, event }),
                _ if dead.contains(&raw.id) => self.dead += 1,
                _ => self.dropped += 1,
            }
        }
        for (entry, settled) in events.iter().zip(ledger.are_settled(&events)?) {
            match (settled, dead.contains(&entry.id)) {
                (true, _) => self.settled += 1,
                (false, true) => self.dead += 1,
                (false, false) => {
                    self.missing += 1;
                    self.listed.extend((self.listed.len() < LISTED).then(|| entry.clone()));
                }
            }
        }
        Ok(())
    }
}

async fn dead_ids(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    stream: DeadLetters,
    ids: &mut HashSet<EntryId>,
) -> Result<(), RedisError> {
    let mut after = None;
    loop {
        let letters = dead_letters::list(connection, keys, stream, after, PAGE).await?;
        let Some(last) = letters.last() else { return Ok(()) };
        after = Some(last.id);
        ids.extend(letters.iter().filter_map(|letter| letter.entry_id));
    }
}

/// Of sessions in the sets whose entry the stream no longer holds, those whose entry is not in the ledger
/// either.
///
/// # Errors
/// The ledger's.
pub fn unsettled_sessions(ledger: &mut Ledger, sessions: &[Older]) -> Result<Vec<Older>, LedgerError> {
    let pruned_before = ledger.mark()?.pruned_before;
    let mut unsettled = Vec::new();
    for session in sessions.iter().filter(|session| session.place.id >= pruned_before) {
        let around = i64::try_from(session.place.id.unix_seconds()).unwrap_or(i64::MAX);
        let query = crate::ledger::EventQuery {
            passkey: session.passkey,
            info_hash: Some(ledger.booked_on(&session.info_hash)?),
            since: Some(around - NEAR.1),
            newest: NEAR.0,
        };
        let rows = ledger.events(&query)?;
        // A Redis that went back has the announce under another id again, with the second that it had.
        let reported_at = i64::try_from(session.place.at_ms / 1000).unwrap_or(i64::MAX);
        let shows = |row: &SettledRow| row.entry_id == session.place.id || row.ts >= reported_at;
        if !rows.iter().any(|row| row.peer_id == session.peer_id && shows(row)) {
            unsettled.push(*session);
        }
    }
    Ok(unsettled)
}

/// The oldest entry that could still be delivered to the group, from the stream or from the dead letters: the
/// ledger needs no key of anything older. `None` when there is no such stream or group, so nothing is known.
///
/// # Errors
/// Redis's own.
pub async fn deliverable_from(
    connection: &mut MultiplexedConnection,
    target: Target<'_>,
    keys: &Keys,
) -> Result<Option<EntryId>, RedisError> {
    let groups = groups(connection, target.stream).await?;
    let Some(group) = groups.iter().find(|group| group.name == target.group) else { return Ok(None) };
    let first: Value =
        cmd("XRANGE").arg(target.stream).arg(&["-", "+", "COUNT", "1"]).query_async(connection).await?;
    let first = stream::entries(&first)?.first().map(|entry| entry.id);
    let mut oldest = first.map_or(group.needs_from(), |first| first.min(group.needs_from()));
    let mut dead = HashSet::new();
    for stream in [DeadLetters::Waiting, DeadLetters::Failed] {
        dead_ids(connection, keys, stream, &mut dead).await?;
    }
    oldest = dead.into_iter().fold(oldest, EntryId::min);
    Ok(Some(oldest))
}
