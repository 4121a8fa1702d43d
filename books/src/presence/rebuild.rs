//! Everybody's presence computed again from the stream: each session's newest retained entry decides, members
//! that no entry supports go. Users are reconciled one by one, so consumers need not stop, and running it
//! twice changes nothing.
//!
//! Sessions whose newest entry was trimmed already are judged by their guard alone: the stream no longer
//! knows better.

use std::collections::HashMap;

use contract::{InfoHash, Keys, Passkey, PeerId};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value, cmd};
use service::redis::stream;

use super::aliases::{aliases, torrent_aliases};
use super::reconcile::{Finding, Newest, Older, Span, Subject, reconcile};
use super::{Judgement, Leases, Place, Swept, scan, sweep, updates};
use crate::entry::{Entry, EntryId, decode};
use crate::groups::{Group, backlog, groups};
use crate::ledger::Intent;
use crate::retention::Target;

/// Entries read at once.
const PAGE: usize = 1000;
/// Findings kept, at most; all are counted.
const FINDINGS: usize = 1000;
/// Guards this close to being forgotten are left to the sweeper.
const MARGIN_S: u64 = 60;

/// What a rebuild found, and mended if it was to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rebuilt {
    /// Entries read.
    pub entries: u64,
    /// Users looked at.
    pub users: u64,
    /// Sessions that seed.
    pub seeding: u64,
    /// Sessions that leech.
    pub leeching: u64,
    /// Everything that was not as it should be.
    pub differences: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
    /// Sessions whose entry the stream no longer holds: judged by their guard alone. The first of them.
    pub older: Vec<Older>,
    /// What the sweep at the end did.
    pub swept: Swept,
}

/// Where to look and how.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The stream and the group whose consumers keep the sets.
    pub target: Target<'a>,
    /// The site's keys.
    pub keys: &'a Keys,
    /// How long peers stay.
    pub leases: Leases,
}

/// Called now and then with what is being done and (done, total).
pub type Progress<'a> = &'a mut (dyn FnMut(&'static str, u64, u64) + Send);

/// Compares everybody with the stream, and mends what differs when `intent` says so. Holds one line in memory
/// for each session of about the last day. `now` is in unix seconds.
///
/// # Errors
/// Redis's own; what was mended is mended.
pub async fn rebuild(
    connection: &mut MultiplexedConnection,
    scope: Scope<'_>,
    intent: Intent,
    now: u64,
    progress: Progress<'_>,
) -> RedisResult<Rebuilt> {
    let Scope { target, keys, leases } = scope;
    let judgement =
        Judgement { now, horizon: backlog(connection, target.stream, target.group).await?.horizon(now) };
    let now = judgement.horizon;
    let span = span(connection, target, leases, now).await?;
    let mut rebuilt = Rebuilt::default();
    let mut newest = newest_entries(connection, target.stream, span, &mut rebuilt.entries, progress).await?;
    fold_rotated(&mut newest, &aliases(connection, keys).await?);
    fold_hybrids(&mut newest, &torrent_aliases(connection, keys).await?);
    let mut users = scan::users(connection, keys).await?;
    for passkey in newest.keys() {
        users.entry(*passkey).or_default();
    }
    let mut comparison = Comparison { connection, scope, how: (span, intent), now, rebuilt };
    for (done, (passkey, unlisted)) in (1..).zip(&users) {
        let sessions = newest.remove(passkey).unwrap_or_default();
        let sessions: Vec<Newest> = sessions.into_values().map(|entry| entry.newest(leases)).collect();
        comparison.reconcile(Subject { passkey, newest: &sessions, also: unlisted }).await?;
        progress("comparing", done, users.len() as u64);
    }
    let mut rebuilt = comparison.rebuilt;
    rebuilt.users = users.len() as u64;
    if intent == Intent::Act {
        rebuilt.swept = sweep(connection, keys, leases, judgement).await?;
    }
    Ok(rebuilt)
}

/// From the oldest entry that is there and whose guard is certainly kept, to the oldest that consumers have
/// not finished.
async fn span(
    connection: &mut MultiplexedConnection,
    target: Target<'_>,
    leases: Leases,
    now: u64,
) -> RedisResult<Span> {
    let groups = groups(connection, target.stream).await?;
    let group = groups.iter().find(|group| group.name == target.group);
    let before = group.map_or(EntryId::LAST, Group::needs_from);
    let first: Value =
        cmd("XRANGE").arg(target.stream).arg(&["-", "+", "COUNT", "1"]).query_async(connection).await?;
    let first = stream::entries(&first)?.first().map_or(before, |entry| entry.id);
    let remembered = now.saturating_sub(leases.memory_s()).saturating_add(MARGIN_S);
    Ok(Span { from: first.max(EntryId::at_ms(remembered.saturating_mul(1000))), before })
}

type Session = (InfoHash, PeerId);
type ByUser = HashMap<Passkey, HashMap<Session, Latest>>;

/// A session's newest entry, kept as it was decoded.
struct Latest(Entry);

impl Latest {
    fn newest(&self, leases: Leases) -> Newest {
        let event = &self.0.event;
        // At time 0 no lease is over: whether it is now is decided where the guard is looked at.
        let update = updates(leases, std::slice::from_ref(&self.0), 0);
        let (state, due) = update.first().map_or(("g", 0), |update| (update.state, update.due));
        Newest { info_hash: event.info_hash, peer_id: event.peer_id, place: Place::of(&self.0), state, due }
    }
}

async fn newest_entries(
    connection: &mut MultiplexedConnection,
    stream: &str,
    span: Span,
    read: &mut u64,
    progress: Progress<'_>,
) -> RedisResult<ByUser> {
    let total: u64 = cmd("XLEN").arg(stream).query_async(connection).await?;
    let mut newest = ByUser::new();
    let mut from = span.from;
    while from < span.before {
        let mut range = cmd("XRANGE");
        range.arg(stream).arg(from.to_string()).arg(format!("({}", span.before)).arg("COUNT").arg(PAGE);
        let page = stream::entries(&range.query_async::<Value>(connection).await?)?;
        *read += page.len() as u64;
        progress("reading", *read, total.max(*read));
        let Some(last) = page.last() else { break };
        from = last.id.next();
        for raw in page {
            // What is no event is a dead letter and supports nobody.
            let Some(Ok(event)) = raw.fields.as_ref().map(decode) else { continue };
            let sessions = newest.entry(event.passkey).or_default();
            keep_newer(sessions, (event.info_hash, event.peer_id), Latest(Entry { id: raw.id, event }));
        }
    }
    Ok(newest)
}

fn keep_newer(sessions: &mut HashMap<Session, Latest>, session: Session, latest: Latest) {
    match sessions.get(&session) {
        Some(other) if Place::of(&other.0) > Place::of(&latest.0) => {}
        _ => drop(sessions.insert(session, latest)),
    }
}

/// Entries of a rotated passkey count as the new one's.
fn fold_rotated(newest: &mut ByUser, aliases: &HashMap<Passkey, Passkey>) {
    for (old, new) in aliases {
        let Some(moved) = newest.remove(old) else { continue };
        let sessions = newest.entry(*new).or_default();
        for (session, latest) in moved {
            keep_newer(sessions, session, latest);
        }
    }
}

/// Entries of a hybrid torrent's second info hash count as the first one's.
fn fold_hybrids(newest: &mut ByUser, v1_of: &HashMap<InfoHash, InfoHash>) {
    for sessions in newest.values_mut().filter(|_| !v1_of.is_empty()) {
        let moved: Vec<_> = sessions.extract_if(|(torrent, _), _| v1_of.contains_key(torrent)).collect();
        for ((torrent, client), mut latest) in moved {
            latest.0.event.info_hash = v1_of.get(&torrent).copied().unwrap_or(torrent);
            keep_newer(sessions, (latest.0.event.info_hash, client), latest);
        }
    }
}

/// Users compared one after the other, and what that found so far.
struct Comparison<'a> {
    connection: &'a mut MultiplexedConnection,
    scope: Scope<'a>,
    how: (Span, Intent),
    now: u64,
    rebuilt: Rebuilt,
}

impl Comparison<'_> {
    async fn reconcile(&mut self, subject: Subject<'_>) -> RedisResult<()> {
        let Scope { keys, leases, .. } = self.scope;
        let found = reconcile(self.connection, keys, (leases, self.now), subject, self.how).await?;
        let rebuilt = &mut self.rebuilt;
        rebuilt.differences += found.differences;
        let room = FINDINGS.saturating_sub(rebuilt.findings.len());
        rebuilt.findings.extend(found.findings.into_iter().take(room));
        rebuilt.seeding += found.seeding;
        rebuilt.leeching += found.leeching;
        let room = FINDINGS.saturating_sub(rebuilt.older.len());
        rebuilt.older.extend(found.older.into_iter().take(room));
        Ok(())
    }
}
