//! `passkey rotate`: a user gets a new passkey and keeps everything, while clients still announce with the
//! old one.
//!
//! First the alias, from which moment nothing is booked on the old passkey any more; then what the old one
//! has moves, piece by piece: snapshots, presence, ledger. Killed anywhere, the same command does the rest.
//! docs/rotation.md says why no byte is lost or counted twice in between.

mod notes;

use books::ledger::{Access, Intent, Rotated};
use books::presence;
use clap::Args;
use contract::Passkey;
use serde::Serialize;
use tracker::traffic::rotation;

use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::count;
use crate::listed::parse;
use crate::output::Report;
use crate::{Answer, progress};

/// Which passkey becomes which.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The passkey in use.
    #[arg(value_name = "OLD")]
    old: String,
    /// The passkey that takes its place, for example from `passkey generate`.
    #[arg(value_name = "NEW")]
    new: String,
    /// Only say what would be moved.
    #[arg(long)]
    dry_run: bool,
    /// What snapshot keys begin with, if `traffic push` names another `last_key_prefix`.
    #[arg(long, value_name = "PREFIX", default_value = contract::keys::SNAPSHOT_PREFIX)]
    last_key_prefix: String,
}

#[derive(Serialize)]
struct Moved {
    dry_run: bool,
    snapshots: u64,
    sessions: u64,
    events: u64,
    torrents: u64,
    promotions: u64,
}

impl Report for Moved {
    fn text(&self) -> String {
        let moved = format!(
            "{}, {}, {} on {}, {}",
            count(self.snapshots, "snapshot", "snapshots"),
            count(self.sessions, "session of the presence sets", "sessions of the presence sets"),
            count(self.events, "settled announce", "settled announces"),
            count(self.torrents, "torrent", "torrents"),
            count(self.promotions, "promotion", "promotions"),
        );
        if self.dry_run {
            return format!("would move {moved}");
        }
        format!("moved {moved}; the old passkey still announces, for the new one, until `passkey remove`")
    }
}

struct Rotation<'a> {
    context: &'a Context,
    prefix: String,
    old: Passkey,
    new: Passkey,
}

/// Rotates, or says what it would do.
pub(crate) async fn run(command: &Rotate, context: &Context) -> Result<Answer, Failure> {
    let (old, new): (Passkey, Passkey) = (parse(&command.old)?, parse(&command.new)?);
    let prefix = format!("{}{}", context.keys.prefix(), command.last_key_prefix);
    let rotation = Rotation { context, prefix, old, new };
    let known = rotation.ledger(Intent::Look)?;
    let mut redis = context.redis().await?;
    let report = if command.dry_run {
        notes::begin(&mut redis, &context.keys, (&old, &new), &known, Intent::Look).await?;
        rotation.look(&mut redis, known).await?
    } else {
        rotation.act(&mut redis, &known).await?
    };
    context.output.show(&report)?;
    Ok(Answer::Done)
}

impl Rotation<'_> {
    async fn look(&self, redis: &mut Redis, ledger: Rotated) -> Result<Moved, Failure> {
        let bar = progress::bar("searching", self.keys(redis).await?);
        let searched = &mut |keys| bar.inc(keys);
        let snapshots =
            rotation::count_snapshots(&mut redis.connection, &self.prefix, &self.old, searched).await;
        bar.finish_and_clear();
        let snapshots = snapshots.map_err(|error| redis.failure(&error))?;
        let keys = &self.context.keys;
        let sessions = presence::count_sessions(&mut redis.connection, keys, &self.old).await;
        Ok(Moved::new(Intent::Look, snapshots, sessions.map_err(|error| redis.failure(&error))?, ledger))
    }

    async fn act(&self, redis: &mut Redis, known: &Rotated) -> Result<Moved, Failure> {
        let (keys, pair) = (&self.context.keys, (&self.old, &self.new));
        notes::begin(redis, keys, pair, known, Intent::Act).await?;
        let bar = progress::bar("moving", self.keys(redis).await?);
        let searched = &mut |keys| bar.inc(keys);
        let snapshots = rotation::fold_snapshots(&mut redis.connection, &self.prefix, pair, searched).await;
        bar.finish_and_clear();
        let snapshots = snapshots.map_err(|error| redis.failure(&error))?;
        let sessions = presence::rotate(&mut redis.connection, keys, pair).await;
        let sessions = sessions.map_err(|error| redis.failure(&error))?;
        let ledger = self.ledger(Intent::Act)?;
        notes::finish(redis, keys, pair).await?;
        Ok(Moved::new(Intent::Act, snapshots, sessions, ledger))
    }

    /// About how many keys a search for snapshots looks at.
    async fn keys(&self, redis: &mut Redis) -> Result<u64, Failure> {
        redis.query(&redis::cmd("DBSIZE")).await
    }

    fn ledger(&self, intent: Intent) -> Result<Rotated, Failure> {
        let access = if intent == Intent::Act { Access::Existing } else { Access::Read };
        let mut ledger = self.context.ledger(access)?;
        let bar = progress::bar("settling", 0);
        let mut show = |done: u64, total: u64| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let rotated = ledger.rotate((&self.old, &self.new), intent, &mut show);
        bar.finish_and_clear();
        rotated.map_err(|error| match error {
            books::ledger::LedgerError::Rejected(reason) => Failure::usage(reason),
            error => self.context.ledger_failure(&error),
        })
    }
}

impl Moved {
    fn new(intent: Intent, snapshots: u64, sessions: u64, ledger: Rotated) -> Self {
        let Rotated { events, torrents, promotions, .. } = ledger;
        Self { dry_run: intent == Intent::Look, snapshots, sessions, events, torrents, promotions }
    }
}
