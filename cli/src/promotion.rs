//! `trackerctl promotion`: factors on credit, for all or for one torrent, film, playlist or user, for a time.

use books::ledger::{Access, Ledger};
use books::settlement::{Promotion, Scope};
use clap::{Args, Subcommand};
use contract::InfoHash;
use serde::Serialize;

use crate::connect::Context;
use crate::failure::Failure;
use crate::human::{masked, signed_utc};
use crate::output::{Report, table};
use crate::{Answer, passkey, when};

/// Factors on credit.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  trackerctl promotion add --global --down 0 --for 2d\n  trackerctl promotion list"
)]
pub(crate) enum Command {
    /// Put a promotion in force. It counts for announces made while it lasts, whenever they are settled.
    #[command(after_help = "Example:\n  trackerctl promotion add --global --down 0 --for 2d\n  \
                            trackerctl promotion add --film 42 --up 2 --from 2026-12-24T00:00:00Z --for 3d")]
    Add(Add),
    /// List promotions.
    #[command(after_help = "Example:\n  trackerctl promotion list\n  trackerctl promotion list --in-force")]
    List {
        /// Only those in force now.
        #[arg(long)]
        in_force: bool,
    },
    /// End a promotion; exit code 1 when there is none of that id.
    #[command(after_help = "Example:\n  trackerctl promotion end 3\n  trackerctl promotion end 3 --at 6h")]
    End {
        /// Its id, as `list` shows.
        id: i64,
        /// When: a duration from now, a time, or unix seconds; now if not given.
        #[arg(long, value_name = "WHEN", value_parser = when::future)]
        at: Option<i64>,
    },
}

/// What to put in force.
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Upload counts so many times.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    up: f64,
    /// Download counts so many times; 0 is free.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    down: f64,
    /// From when: a duration from now, a time, or unix seconds; now if not given.
    #[arg(long, value_name = "WHEN", value_parser = when::future)]
    from: Option<i64>,
    /// For how long after its start, such as 2d; until further notice if not given.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    lasts: Option<std::time::Duration>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ScopeArgs {
    /// Everything.
    #[arg(long)]
    global: bool,
    /// One torrent: 40 hex digits.
    #[arg(long, value_name = "INFOHASH")]
    torrent: Option<InfoHash>,
    /// Every torrent of a film, by the id that credentials carry.
    #[arg(long, value_name = "ID")]
    film: Option<String>,
    /// Every torrent of a playlist, by the id that credentials carry.
    #[arg(long, value_name = "ID")]
    playlist: Option<String>,
    /// One user.
    #[arg(long, value_name = "PASSKEY")]
    user: Option<String>,
}

impl ScopeArgs {
    fn read(&self) -> Result<Scope, Failure> {
        Ok(match self {
            Self { torrent: Some(info_hash), .. } => Scope::Torrent(*info_hash),
            Self { film: Some(id), .. } => Scope::Film(id.clone()),
            Self { playlist: Some(id), .. } => Scope::Playlist(id.clone()),
            Self { user: Some(text), .. } => Scope::User(passkey::parse(text)?),
            _ => Scope::Global,
        })
    }
}

/// Carries one command out.
pub(crate) fn run(command: &Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Add(command) => add(command, context),
        Command::List { in_force } => list(*in_force, context),
        Command::End { id, at } => end(*id, at.unwrap_or_else(when::now), context),
    }
}

/// Opens the ledger for writing, if its tables are there: a mistyped URL must not become a new database.
fn writable(context: &Context) -> Result<Ledger, Failure> {
    drop(context.ledger(Access::Read)?);
    context.ledger(Access::Write)
}

fn add(command: &Add, context: &Context) -> Result<Answer, Failure> {
    let milli = |name: &str, factor| {
        Promotion::milli(factor).map_err(|error| Failure::usage(format!("--{name}: {error}")))
    };
    let starts_at = command.from.unwrap_or_else(when::now);
    let length = command.lasts.map(|lasts| i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX));
    let mut promotion = Promotion {
        id: 0,
        scope: command.scope.read()?,
        up_milli: milli("up", command.up)?,
        down_milli: milli("down", command.down)?,
        starts_at,
        ends_at: length.map(|length| starts_at.saturating_add(length)),
    };
    let mut ledger = writable(context)?;
    promotion.id = ledger.add_promotion(&promotion).map_err(|error| context.ledger_failure(&error))?;
    context.output.show(&Shown::new(&promotion, when::now()))?;
    Ok(Answer::Done)
}

fn list(in_force_only: bool, context: &Context) -> Result<Answer, Failure> {
    let now = when::now();
    let promotions =
        context.ledger(Access::Read)?.promotions().map_err(|error| context.ledger_failure(&error))?;
    let shown = promotions.iter().map(|promotion| Shown::new(promotion, now));
    let shown = shown.filter(|shown| !in_force_only || shown.state == State::InForce).collect();
    context.output.show(&Promotions(shown))?;
    Ok(Answer::Done)
}

#[derive(Serialize)]
struct Ended {
    id: i64,
    found: bool,
    ends_at: i64,
}

impl Report for Ended {
    fn text(&self) -> String {
        match self.found {
            true => format!("promotion {} ends at {}", self.id, signed_utc(self.ends_at)),
            false => format!("there is no promotion {}", self.id),
        }
    }
}

fn end(id: i64, ends_at: i64, context: &Context) -> Result<Answer, Failure> {
    let mut ledger = writable(context)?;
    let found = ledger.end_promotion(id, ends_at).map_err(|error| context.ledger_failure(&error))?;
    context.output.show(&Ended { id, found, ends_at })?;
    Ok(if found { Answer::Done } else { Answer::No })
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum State {
    ToCome,
    InForce,
    Ended,
}

#[derive(Serialize)]
struct Shown {
    id: i64,
    scope: &'static str,
    scope_key: String,
    up_factor: f64,
    down_factor: f64,
    starts_at: i64,
    ends_at: Option<i64>,
    state: State,
}

impl Shown {
    fn new(promotion: &Promotion, now: i64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "factors are at most a million thousandths")]
        let factor = |milli: i64| milli as f64 / 1000.0;
        Self {
            id: promotion.id,
            scope: promotion.scope.word(),
            scope_key: match &promotion.scope {
                Scope::User(passkey) => masked(passkey),
                other => other.key(),
            },
            up_factor: factor(promotion.up_milli),
            down_factor: factor(promotion.down_milli),
            starts_at: promotion.starts_at,
            ends_at: promotion.ends_at,
            state: match promotion.ends_at {
                _ if now < promotion.starts_at => State::ToCome,
                Some(end) if end <= now => State::Ended,
                _ => State::InForce,
            },
        }
    }

    fn row(&self) -> Vec<String> {
        let state = match self.state {
            State::ToCome => "to come",
            State::InForce => "in force",
            State::Ended => "ended",
        };
        vec![
            self.id.to_string(),
            self.scope.to_owned(),
            self.scope_key.clone(),
            format!("×{}", self.up_factor),
            format!("×{}", self.down_factor),
            signed_utc(self.starts_at),
            self.ends_at.map_or_else(|| "further notice".into(), signed_utc),
            state.to_owned(),
        ]
    }
}

impl Report for Shown {
    fn text(&self) -> String {
        promotions_table(std::slice::from_ref(self))
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Promotions(Vec<Shown>);

impl Report for Promotions {
    fn text(&self) -> String {
        if self.0.is_empty() { "no promotion".into() } else { promotions_table(&self.0) }
    }
}

fn promotions_table(promotions: &[Shown]) -> String {
    let header = ["id", "scope", "key", "upload", "download", "from", "until", "state"];
    table(&header, &[0, 3, 4], promotions.iter().map(Shown::row))
}
