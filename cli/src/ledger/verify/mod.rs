//! `ledger verify`: do totals, settled events, the stream and the sets tell the same story?

mod verdict;

use std::cell::OnceCell;

use books::audit::{self, AuditError, PresenceAudit, StreamAudit, Verdict};
use books::ledger::{Access, Drift, Intent, Ledger};
use books::retention::Target;
use clap::Args;
use contract::Passkey;
use verdict::Verified;

use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::masked;
use crate::presence::reconcile_all;
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

/// Compares and says what differs.
pub(crate) async fn run(command: &Verify, context: &Context) -> Result<Answer, Failure> {
    let mut ledger = context.ledger(Access::Read)?;
    let show = |passkey: &Passkey| match command.show_passkeys {
        true => passkey.reveal().to_owned(),
        false => masked(passkey),
    };
    let drifts = totals(&mut ledger, context)?;
    let numbers = ledger.numbers().map_err(|error| context.ledger_failure(&error))?;
    let (mut stream, mut presence) = (None, None);
    if !command.ledger_only {
        let mut redis = context.redis().await?;
        stream = Some(compare_stream(&mut redis, &mut ledger, context).await?);
        presence = Some(compare_presence(&mut redis, &mut ledger, (command, context)).await?);
    }
    let verdict = Verdict { drifts, stream, presence };
    let agrees = verdict.agrees();
    context.output.show(&Verified::new(verdict, &numbers, show))?;
    Ok(if agrees { Answer::Done } else { Answer::No })
}

fn totals(ledger: &mut Ledger, context: &Context) -> Result<Vec<Drift>, Failure> {
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
    ledger: &mut Ledger,
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
    ledger: &mut Ledger,
    (command, context): (&Verify, &Context),
) -> Result<PresenceAudit, Failure> {
    let found = reconcile_all(redis, command.config.as_deref(), Intent::Look, context).await?;
    let unsettled = audit::unsettled_sessions(ledger, &found.older);
    let unsettled = unsettled.map_err(|error| context.ledger_failure(&error))?;
    Ok(PresenceAudit { found, unsettled })
}
