//! `ledger verify`: do totals, settled events, the stream and the sets tell the same story?

use std::cell::OnceCell;

use clap::Args;
use consumer::Entry;
use consumer::audit::{self, AuditError, StreamAudit};
use consumer::ledger::{Access, Drift, Intent, Ledger};
use consumer::presence::Older;
use consumer::retention::Target;
use contract::Passkey;
use serde::Serialize;

use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::{count, masked};
use crate::output::{Report, table};
use crate::presence::{Difference, reconcile_all};
use crate::{Answer, progress};

/// What to compare, and how to show what differs.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Compare the totals with the settled events only: needs no Redis.
    #[arg(long)]
    ledger_only: bool,
    /// Show passkeys in full instead of their first characters.
    #[arg(long)]
    show_passkeys: bool,
    /// The consumer's configuration, for its peer timeout. Without it the default counts.
    #[arg(long, value_name = "FILE", conflicts_with = "ledger_only")]
    config: Option<String>,
}

#[derive(Serialize)]
struct Verified {
    agrees: bool,
    /// Totals that are not what the settled events add up to.
    drifts: Vec<TotalDrift>,
    /// The stream's entries against the settled events; not with `--ledger-only`.
    stream: Option<StreamVerdict>,
    /// The sets against the stream's entries and the settled events; not with `--ledger-only`.
    presence: Option<PresenceVerdict>,
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

/// Compares and says what differs.
pub(crate) async fn run(command: &Verify, context: &Context) -> Result<Answer, Failure> {
    let mut ledger = context.ledger(Access::Read)?;
    let show = |passkey: &Passkey| match command.show_passkeys {
        true => passkey.reveal().to_owned(),
        false => masked(passkey),
    };
    let drifts = totals(ledger.as_mut(), context)?;
    let (mut stream, mut presence) = (None, None);
    if !command.ledger_only {
        let mut redis = context.redis().await?;
        stream = Some(StreamVerdict::new(&compare_stream(&mut redis, ledger.as_mut(), context).await?, show));
        presence = Some(compare_presence(&mut redis, ledger.as_mut(), (command, context), show).await?);
    }
    let agrees = drifts.is_empty()
        && stream.as_ref().is_none_or(|stream| stream.missing == 0)
        && presence.as_ref().is_none_or(|presence| presence.differences + presence.unsettled == 0);
    let drifts = drifts.into_iter().map(|drift| TotalDrift::new(drift, show)).collect();
    context.output.show(&Verified { agrees, drifts, stream, presence })?;
    Ok(if agrees { Answer::Done } else { Answer::No })
}

fn totals(ledger: &mut dyn Ledger, context: &Context) -> Result<Vec<Drift>, Failure> {
    // The total is only known once the work has begun.
    let bar = OnceCell::new();
    let mut show = |done: u64, total: u64| {
        bar.get_or_init(|| progress::bar("adding up", total)).set_position(done);
    };
    let drifts = ledger.verify(&mut show).map_err(|error| context.ledger_failure(&error));
    if let Some(bar) = bar.get() {
        bar.finish_and_clear();
    }
    drifts
}

async fn compare_stream(
    redis: &mut Redis,
    ledger: &mut dyn Ledger,
    context: &Context,
) -> Result<StreamAudit, Failure> {
    let stream = context.keys.traffic();
    let target = Target { stream: &stream, group: &context.group };
    let length: u64 = redis.query(&redis::Cmd::xlen(&stream)).await?;
    let bar = progress::bar("comparing the stream", length);
    let mut show = |done| bar.set_position(done);
    let audit = audit::stream(&mut redis.connection, target, &context.keys, ledger, &mut show).await;
    bar.finish_and_clear();
    audit.map_err(|error| match error {
        AuditError::Redis(error) => redis.failure(&error),
        AuditError::Ledger(error) => context.ledger_failure(&error),
    })
}

async fn compare_presence(
    redis: &mut Redis,
    ledger: &mut dyn Ledger,
    (command, context): (&Verify, &Context),
    show: impl Fn(&Passkey) -> String + Copy,
) -> Result<PresenceVerdict, Failure> {
    let found = reconcile_all(redis, command.config.as_deref(), Intent::Look, context).await?;
    let unsettled = audit::unsettled_sessions(ledger, &found.older);
    let unsettled = unsettled.map_err(|error| context.ledger_failure(&error))?;
    Ok(PresenceVerdict {
        seeding: found.seeding,
        leeching: found.leeching,
        differences: found.differences,
        unsettled: unsettled.len() as u64,
        findings: found.findings.iter().map(|finding| Difference::new(finding, show)).collect(),
        listed: unsettled.iter().map(|session| Missing::of_session(session, show)).collect(),
    })
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
            entry: session.id.to_string(),
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
