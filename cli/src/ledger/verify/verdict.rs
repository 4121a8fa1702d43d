//! What `ledger verify` found, for programs and for people.

use books::Entry;
use books::audit::{PresenceAudit, StreamAudit, Verdict};
use books::ledger::{Drift, Numbers};
use books::presence::Older;
use contract::Passkey;
use serde::Serialize;

use crate::human::count;
use crate::output::{Report, table};
use crate::presence::Difference;

#[derive(Serialize)]
pub(super) struct Verified {
    agrees: bool,
    /// Totals that are not what the settled events add up to.
    drifts: Vec<TotalDrift>,
    /// What the entries' own numbers prove. Nothing of it makes the books disagree: what was lost, is.
    numbers: NumbersSeen,
    /// The stream's entries against the settled events; not with `--ledger-only`.
    stream: Option<StreamVerdict>,
    /// The sets against the stream's entries and the settled events; not with `--ledger-only`.
    presence: Option<PresenceVerdict>,
}

#[derive(Serialize)]
struct NumbersSeen {
    /// The highest that was settled, if any.
    newest: Option<u64>,
    /// Lower ones that have not come; those of another consumer's batch will.
    missing: u64,
    /// Entries that cannot come any more.
    lost: u64,
    /// How often Redis went back in time.
    rollbacks: u64,
}

#[derive(Serialize)]
struct TotalDrift {
    table: &'static str,
    passkey: String,
    infohash: Option<String>,
    column: &'static str,
    recorded: String,
    recomputed: String,
}

#[derive(Serialize)]
struct StreamVerdict {
    entries: u64,
    settled: u64,
    /// Not read or not acknowledged yet: no drift.
    pending: u64,
    dead: u64,
    dropped: u64,
    /// Acknowledged, and neither settled nor a dead letter.
    missing: u64,
    /// The first of them.
    listed: Vec<Missing>,
}

#[derive(Serialize)]
struct PresenceVerdict {
    seeding: u64,
    leeching: u64,
    differences: u64,
    /// Sessions older than the stream's first entry, and not in the ledger either.
    unsettled: u64,
    findings: Vec<Difference>,
    listed: Vec<Missing>,
}

#[derive(Serialize)]
struct Missing {
    entry: String,
    passkey: String,
    infohash: String,
    peer_id: String,
}

impl Verified {
    pub(super) fn new(verdict: Verdict, numbers: &Numbers, show: impl Fn(&Passkey) -> String + Copy) -> Self {
        Self {
            agrees: verdict.agrees(),
            numbers: NumbersSeen::new(numbers),
            stream: verdict.stream.as_ref().map(|stream| StreamVerdict::new(stream, show)),
            presence: verdict.presence.as_ref().map(|sets| PresenceVerdict::new(sets, show)),
            drifts: verdict.drifts.into_iter().map(|drift| TotalDrift::new(drift, show)).collect(),
        }
    }
}

impl NumbersSeen {
    fn new(numbers: &Numbers) -> Self {
        Self {
            newest: numbers.newest.map(|newest| newest.n),
            missing: numbers.count_missing(),
            lost: numbers.lost,
            rollbacks: numbers.rollbacks,
        }
    }

    fn line(&self) -> String {
        let newest = self.newest.map_or_else(|| "none yet".into(), |newest| format!("up to {newest}"));
        let (missing, lost) = (self.missing, count(self.lost, "entry", "entries"));
        let back = count(self.rollbacks, "time", "times");
        format!("numbers: {newest}; {missing} not settled yet, {lost} lost; Redis went back {back}")
    }
}

impl StreamVerdict {
    fn new(audit: &StreamAudit, show: impl Fn(&Passkey) -> String + Copy) -> Self {
        Self {
            entries: audit.entries,
            settled: audit.settled,
            pending: audit.pending,
            dead: audit.dead,
            dropped: audit.dropped,
            missing: audit.missing,
            listed: audit.listed.iter().map(|entry| Missing::of_entry(entry, show)).collect(),
        }
    }

    fn line(&self) -> String {
        format!(
            "stream: {} compared: {} settled, {} dead letters, {} dropped, {} pending, {} missing from the ledger",
            count(self.entries, "entry", "entries"),
            self.settled,
            self.dead,
            self.dropped,
            self.pending,
            self.missing
        )
    }
}

impl PresenceVerdict {
    fn new(sets: &PresenceAudit, show: impl Fn(&Passkey) -> String + Copy) -> Self {
        let PresenceAudit { found, unsettled } = sets;
        Self {
            seeding: found.seeding,
            leeching: found.leeching,
            differences: found.differences,
            unsettled: unsettled.len() as u64,
            findings: found.findings.iter().map(|finding| Difference::new(finding, show)).collect(),
            listed: unsettled.iter().map(|session| Missing::of_session(session, show)).collect(),
        }
    }

    fn line(&self) -> String {
        format!(
            "sets: {} seeding and {} leeching compared: {}, {} without a settled announce",
            count(self.seeding, "session", "sessions"),
            self.leeching,
            count(self.differences, "difference", "differences"),
            self.unsettled
        )
    }
}

impl Missing {
    fn of_entry(entry: &Entry, show: impl Fn(&Passkey) -> String) -> Self {
        let event = &entry.event;
        Self {
            entry: entry.id.to_string(),
            passkey: show(&event.passkey),
            infohash: event.info_hash.to_string(),
            peer_id: event.peer_id.to_string(),
        }
    }

    fn of_session(session: &Older, show: impl Fn(&Passkey) -> String) -> Self {
        Self {
            entry: session.place.id.to_string(),
            passkey: show(&session.passkey),
            infohash: session.info_hash.to_string(),
            peer_id: session.peer_id.to_string(),
        }
    }

    fn row(&self) -> Vec<String> {
        vec![self.entry.clone(), self.passkey.clone(), self.infohash.clone(), self.peer_id.clone()]
    }
}

impl TotalDrift {
    fn new(drift: Drift, show: impl Fn(&Passkey) -> String) -> Self {
        Self {
            table: drift.table,
            passkey: show(&drift.passkey),
            infohash: drift.info_hash.map(|info_hash| info_hash.to_string()),
            column: drift.column,
            recorded: drift.recorded,
            recomputed: drift.recomputed,
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.table.to_owned(),
            self.passkey.clone(),
            self.infohash.clone().unwrap_or_default(),
            self.column.to_owned(),
            self.recorded.clone(),
            self.recomputed.clone(),
        ]
    }
}

impl Report for Verified {
    fn text(&self) -> String {
        let mut parts = Vec::new();
        if !self.drifts.is_empty() {
            let header = ["table", "passkey", "torrent", "column", "recorded", "recomputed"];
            parts.push(table(&header, &[4, 5], self.drifts.iter().map(TotalDrift::row)));
        }
        parts.push(match self.drifts.len() as u64 {
            0 => "totals: every total is what the settled events add up to".into(),
            drifts => format!("totals: {}", count(drifts, "total differs", "totals differ")),
        });
        parts.push(self.numbers.line());
        let stream = self.stream.as_ref();
        parts.extend(stream.and_then(|stream| missing_table(&stream.listed)));
        parts.extend(stream.map(StreamVerdict::line));
        if let Some(presence) = &self.presence {
            if !presence.findings.is_empty() {
                let rows = presence.findings.iter().map(Difference::row);
                parts.push(table(&["difference", "passkey", "session or torrent"], &[], rows));
            }
            parts.extend(missing_table(&presence.listed));
            parts.push(presence.line());
        }
        parts.join("\n")
    }
}

fn missing_table(listed: &[Missing]) -> Option<String> {
    let header = ["entry", "passkey", "torrent", "peer id"];
    (!listed.is_empty()).then(|| table(&header, &[], listed.iter().map(Missing::row)))
}
