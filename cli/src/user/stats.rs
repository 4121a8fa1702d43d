//! `user stats`: what the ledger holds of a user, and what Redis says of the present.

use books::ledger::Access;
use books::presence;
use books::settlement::UserAccount;
use clap::Args;
use contract::Passkey;
use serde::Serialize;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::human::{count, signed_bytes, signed_seconds, signed_utc};
use crate::output::{Report, facts, note};
use crate::passkey;

/// Whom to ask for.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// The user's passkey.
    passkey: String,
}

#[derive(Serialize)]
struct Totals {
    known: bool,
    #[serde(flatten)]
    ledger: Option<LedgerTotals>,
    /// Torrents seeded now; absent when Redis does not answer.
    seeding_now: Option<u64>,
    leeching_now: Option<u64>,
}

#[derive(Serialize)]
struct LedgerTotals {
    raw_up: i64,
    raw_down: i64,
    credited_up: i64,
    credited_down: i64,
    /// Credited upload by credited download; absent while nothing was downloaded.
    ratio: Option<f64>,
    seed_seconds: i64,
    leech_seconds: i64,
    completed: i64,
    first_seen: i64,
    last_seen: i64,
}

/// Shows a user's totals.
pub(crate) async fn run(command: &Stats, context: &Context) -> Result<Answer, Failure> {
    let passkey = passkey::parse(&command.passkey)?;
    let account =
        context.ledger(Access::Read)?.user(&passkey).map_err(|error| context.ledger_failure(&error))?;
    let (seeding_now, leeching_now) = match present(&passkey, context).await {
        Ok((seeding, leeching)) => (Some(seeding), Some(leeching)),
        Err(failure) => {
            note(&format!("note: what is seeded now is unknown: {failure}"));
            (None, None)
        }
    };
    let known = account.is_some();
    context.output.show(&Totals {
        known,
        ledger: account.map(LedgerTotals::from),
        seeding_now,
        leeching_now,
    })?;
    Ok(if known { Answer::Done } else { Answer::No })
}

async fn present(passkey: &Passkey, context: &Context) -> Result<(u64, u64), Failure> {
    let mut redis = context.redis().await?;
    let counts = presence::counts_of(&mut redis.connection, &context.keys, passkey).await;
    counts.map_err(|error| redis.failure(&error))
}

impl From<UserAccount> for LedgerTotals {
    fn from(account: UserAccount) -> Self {
        let ratio = account.ratio();
        let sums = account.sums;
        Self {
            ratio,
            raw_up: sums.raw_up,
            raw_down: sums.raw_down,
            credited_up: sums.credited_up,
            credited_down: sums.credited_down,
            seed_seconds: sums.seed_seconds,
            leech_seconds: sums.leech_seconds,
            completed: account.completed,
            first_seen: sums.first_seen,
            last_seen: sums.last_seen,
        }
    }
}

impl Report for Totals {
    fn text(&self) -> String {
        let Some(ledger) = &self.ledger else {
            return "the ledger has no announce of this passkey".into();
        };
        let now = |figure: Option<u64>| {
            figure.map_or_else(|| "?".into(), |figure| count(figure, "torrent", "torrents"))
        };
        facts([
            ("uploaded", signed_bytes(ledger.raw_up)),
            ("downloaded", signed_bytes(ledger.raw_down)),
            ("credited upload", signed_bytes(ledger.credited_up)),
            ("credited download", signed_bytes(ledger.credited_down)),
            ("ratio", ledger.ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.3}"))),
            ("seed time", signed_seconds(ledger.seed_seconds)),
            ("leech time", signed_seconds(ledger.leech_seconds)),
            ("completed", ledger.completed.to_string()),
            ("first seen", signed_utc(ledger.first_seen)),
            ("last seen", signed_utc(ledger.last_seen)),
            ("seeding now", now(self.seeding_now)),
            ("leeching now", now(self.leeching_now)),
        ])
    }
}
