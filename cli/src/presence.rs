//! `trackerctl presence`: the sets of who seeds and leeches what, judged now, or computed again from the
//! stream.

use std::sync::OnceLock;

use books::groups::backlog;
use books::ledger::Intent;
use books::presence::{self, Finding, Judgement, Rebuilt, Scope, Swept};
use books::retention::Target;
use books::site_clock::SiteClock;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::{count, masked};
use crate::output::{Report, table};
use crate::{Answer, limits, progress};

/// The sets of who seeds and leeches what.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  trackerctl presence sweep\n  trackerctl presence rebuild --dry-run")]
pub(crate) enum Command {
    /// Remove silent peers now instead of at the consumer's next sweep.
    #[command(after_help = "Example:\n  trackerctl presence sweep --config consumer.yaml")]
    Sweep(Sweep),
    /// Compute guards, leases and sets again from the stream, while consumers go on.
    ///
    /// Each session's newest retained entry decides; members that no entry supports go. A session whose
    /// newest entry was trimmed already is judged by its guard alone.
    #[command(
        after_help = "Example:\n  trackerctl presence rebuild --dry-run\n  trackerctl presence rebuild"
    )]
    Rebuild(Rebuild),
}

/// How to judge.
#[derive(Debug, Args)]
pub(crate) struct Sweep {
    /// The consumer's configuration, for its peer timeout. Without it the default counts.
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
}

/// How to rebuild, and what to show.
#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    /// Only say what differs.
    #[arg(long)]
    dry_run: bool,
    /// Show passkeys in full instead of their first characters.
    #[arg(long)]
    show_passkeys: bool,
    /// The consumer's configuration, for its peer timeout. Without it the default counts.
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
}

/// Carries one command out.
pub(crate) async fn run(command: &Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Sweep(command) => sweep(command, context).await,
        Command::Rebuild(command) => rebuild(command, context).await,
    }
}

#[derive(Serialize)]
struct Sweeping {
    examined: u64,
    expired: u64,
    /// Unix seconds up to which everything is known: older than now while entries wait to be settled.
    judged_at: u64,
}

async fn sweep(command: &Sweep, context: &Context) -> Result<Answer, Failure> {
    let leases = limits::read(command.config.as_deref())?.chores.leases;
    let mut redis = context.redis().await?;
    // The clock first: an entry that arrives after it was read cannot be older than it.
    let now = SiteClock::default().now(&mut redis.connection, &context.keys).await;
    let now = now.map_err(|error| redis.failure(&error))?;
    let backlog = backlog(&mut redis.connection, &context.keys.traffic(), &context.group).await;
    let judged_at = backlog.map_err(|error| redis.failure(&error))?.horizon(now);
    let swept =
        presence::sweep(&mut redis.connection, &context.keys, leases, Judgement { now, horizon: judged_at })
            .await;
    let Swept { examined, expired } = swept.map_err(|error| redis.failure(&error))?;
    context.output.show(&Sweeping { examined, expired, judged_at })?;
    Ok(Answer::Done)
}

impl Report for Sweeping {
    fn text(&self) -> String {
        format!(
            "{} examined, {} removed, judged at {}",
            count(self.examined, "lease", "leases"),
            count(self.expired, "silent peer", "silent peers"),
            crate::human::utc(self.judged_at)
        )
    }
}

#[derive(Serialize)]
struct Rebuilding {
    dry_run: bool,
    entries: u64,
    users: u64,
    /// Sessions in the sets, once they are as they should be.
    seeding: u64,
    leeching: u64,
    /// Everything that was not as it should be; in a dry run it still is.
    differences: u64,
    expired: u64,
    /// The first of the differences.
    findings: Vec<Difference>,
}

/// One thing that is not as it should be.
#[derive(Serialize)]
pub(crate) struct Difference {
    kind: String,
    passkey: String,
    what: String,
}

impl Difference {
    /// Shows a finding, its passkey only if that is wanted.
    pub(crate) fn new(finding: &Finding, show: impl Fn(&contract::Passkey) -> String) -> Self {
        Self { kind: finding.kind.clone(), passkey: show(&finding.passkey), what: finding.what.clone() }
    }

    /// kind, passkey, what
    pub(crate) fn row(&self) -> Vec<String> {
        vec![self.kind.clone(), self.passkey.clone(), self.what.clone()]
    }
}

async fn rebuild(command: &Rebuild, context: &Context) -> Result<Answer, Failure> {
    let intent = if command.dry_run { Intent::Look } else { Intent::Act };
    let mut redis = context.redis().await?;
    let rebuilt = reconcile_all(&mut redis, command.config.as_deref(), intent, context).await?;
    let show = |passkey: &contract::Passkey| match command.show_passkeys {
        true => passkey.reveal().to_owned(),
        false => masked(passkey),
    };
    context.output.show(&Rebuilding {
        dry_run: command.dry_run,
        entries: rebuilt.entries,
        users: rebuilt.users,
        seeding: rebuilt.seeding,
        leeching: rebuilt.leeching,
        differences: rebuilt.differences,
        expired: rebuilt.swept.expired,
        findings: rebuilt.findings.iter().map(|finding| Difference::new(finding, show)).collect(),
    })?;
    Ok(Answer::Done)
}

/// Compares everybody with the stream, with a bar for each part of the work.
pub(crate) async fn reconcile_all(
    redis: &mut Redis,
    config: Option<&str>,
    intent: Intent,
    context: &Context,
) -> Result<Rebuilt, Failure> {
    let stream = context.keys.traffic();
    let target = Target { stream: &stream, group: &context.group };
    let scope = Scope { target, keys: &context.keys, leases: limits::read(config)?.chores.leases };
    let (reading, comparing) = (OnceLock::new(), OnceLock::new());
    let mut show = |what: &'static str, done: u64, total: u64| {
        let bar: &OnceLock<ProgressBar> = if what == "reading" { &reading } else { &comparing };
        bar.get_or_init(|| progress::bar(what, total)).set_position(done);
    };
    let now = SiteClock::default().now(&mut redis.connection, &context.keys).await;
    let now = now.map_err(|error| redis.failure(&error))?;
    let rebuilt = presence::rebuild(&mut redis.connection, scope, intent, now, &mut show).await;
    for bar in [&reading, &comparing].into_iter().filter_map(OnceLock::get) {
        bar.finish_and_clear();
    }
    rebuilt.map_err(|error| redis.failure(&error))
}

impl Report for Rebuilding {
    fn text(&self) -> String {
        let mut text = String::new();
        if !self.findings.is_empty() {
            let rows = self.findings.iter().map(Difference::row);
            text = table(&["difference", "passkey", "session or torrent"], &[], rows) + "\n";
        }
        let verb = if self.dry_run { "found" } else { "mended" };
        text += &format!(
            "{} {verb}; {} and {} from {}",
            count(self.differences, "difference", "differences"),
            count(self.seeding, "session seeds", "sessions seed"),
            count(self.leeching, "leeches", "leech"),
            count(self.entries, "entry", "entries"),
        );
        text
    }
}
