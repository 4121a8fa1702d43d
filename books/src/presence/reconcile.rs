//! One user's guards, leases and sets, compared with each other and with the stream, and mended, all in one
//! atomic script, so that consumers may go on beside it.

use std::sync::LazyLock;

use contract::{InfoHash, Keys, Passkey, PeerId};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};

use super::{Leases, Place, bases};
use crate::entry::EntryId;
use crate::ledger::Intent;

static RECONCILE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("reconcile.lua")));

/// Findings returned for one user, at most; all are counted.
const FINDINGS_A_USER: usize = 200;

/// What the stream can speak of: entries from `from` up to, not including, `before`. All of them are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The oldest entry that is still there and can still matter.
    pub from: EntryId,
    /// The oldest entry that consumers have still to finish, or the end.
    pub before: EntryId,
}

impl Span {
    /// A stream that is not asked: only guards, leases and sets are compared, and every session counts as
    /// older.
    pub const NOTHING: Self = Self { from: EntryId::LAST, before: EntryId { ms: 0, seq: 0 } };
}

/// The newest entry of a session within a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The session's torrent.
    pub info_hash: InfoHash,
    /// The session's client.
    pub peer_id: PeerId,
    /// Its place among the session's reports.
    pub place: Place,
    /// `s` seeds, `l` leeches, `g` gone.
    pub state: &'static str,
    /// Unix seconds at which its lease is over or its guard may be forgotten.
    pub due: u64,
}

/// One user, and what else is known about them.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The user, by canonical passkey.
    pub passkey: &'a Passkey,
    /// The newest entry of each of their sessions within the span.
    pub newest: &'a [Newest],
    /// Torrents to look at though neither a guard nor the user's set names them.
    pub also: &'a [InfoHash],
}

/// A guard, lease or set that differs from the others or from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The user.
    pub passkey: Passkey,
    /// `guard_missing`, `guard_differs`, `guard_without_entry`, `lease_missing`, `member_extra`,
    /// `member_missing`, `torrent_extra` or `torrent_missing`.
    pub kind: String,
    /// `<infohash>` or `<infohash>:<peer_id>`.
    pub what: String,
}

/// A session in the sets whose entry lies before the span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Older {
    /// The user.
    pub passkey: Passkey,
    /// The session's torrent.
    pub info_hash: InfoHash,
    /// The session's client.
    pub peer_id: PeerId,
    /// Where its newest report is, as the guard has it.
    pub place: Place,
}

/// The result of comparing one user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Sessions that seed.
    pub seeding: u64,
    /// Sessions that leech.
    pub leeching: u64,
    /// How many findings there were, those beyond the first included.
    pub differences: u64,
    /// The first of the differences.
    pub findings: Vec<Finding>,
    /// Sessions whose entry lies before the span; at most as many as findings.
    pub older: Vec<Older>,
}

/// Compares one user, and mends what differs when `intent` says so. `now`: unix seconds up to which
/// everything is known.
///
/// # Errors
/// Redis's own.
pub async fn reconcile(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    (leases, now): (Leases, u64),
    subject: Subject<'_>,
    (span, intent): (Span, Intent),
) -> RedisResult<Reconciled> {
    let mode = match intent {
        Intent::Look => "look",
        Intent::Act => "mend",
    };
    let mut call = RECONCILE.prepare_invoke();
    call.arg(&bases(keys)[..])
        .arg(mode)
        .arg(span.from.ordered().as_str())
        .arg(span.before.ordered().as_str());
    call.arg(now).arg(leases.memory_s()).arg(FINDINGS_A_USER);
    call.arg(subject.passkey.reveal()).arg(subject.newest.len());
    for newest in subject.newest {
        let session = format!("{}:{}", newest.info_hash, newest.peer_id);
        call.arg(session).arg(newest.place.ordered().as_str()).arg(newest.state).arg(newest.due);
    }
    for info_hash in subject.also {
        call.arg(info_hash.to_string());
    }
    let (seeding, leeching, differences, findings, older): (u64, u64, u64, Vec<Vec<u8>>, Vec<Vec<u8>>) =
        call.invoke_async(connection).await?;
    Ok(Reconciled {
        seeding,
        leeching,
        differences,
        findings: pairs(&findings).map(|(kind, what)| finding(subject.passkey, kind, what)).collect(),
        older: pairs(&older)
            .filter_map(|(session, place)| older_of(subject.passkey, &session, &place))
            .collect(),
    })
}

/// Somebody's own member of a set may be anything, so nothing is taken for text.
fn pairs(flat: &[Vec<u8>]) -> impl Iterator<Item = (String, String)> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    flat.chunks_exact(2).map(move |pair| (text(&pair[0]), text(&pair[1])))
}

fn finding(passkey: &Passkey, kind: String, what: String) -> Finding {
    Finding { passkey: *passkey, kind, what }
}

fn older_of(passkey: &Passkey, session: &str, place: &str) -> Option<Older> {
    let (info_hash, peer_id) = session.split_once(':')?;
    let (info_hash, peer_id) = (info_hash.parse().ok()?, peer_id.parse().ok()?);
    Some(Older { passkey: *passkey, info_hash, peer_id, place: Place::read(place)? })
}
