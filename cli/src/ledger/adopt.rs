//! `ledger adopt`: says that this ledger is the one that is meant.

use books::adoption::{self, Adoption, AdoptionError, From};
use books::ledger::Access;
use books::retention::Target;
use clap::Args;
use serde::Serialize;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::human::{count, utc};
use crate::output::Report;

/// Whether to do it, and how much is delivered again.
#[derive(Debug, Args)]
pub(crate) struct Adopt {
    /// Do it. Without this, only say what would be done.
    #[arg(long)]
    yes: bool,
    /// Deliver all that the stream holds again, and not only what the ledger may lack.
    #[arg(long)]
    whole_stream: bool,
}

#[derive(Serialize)]
struct Adopting {
    adopted: bool,
    /// The ledger that Redis knows.
    known: Option<Side>,
    ledger: Side,
    /// Entries from here on are delivered again.
    again_from: Option<String>,
    again_from_time: Option<String>,
    /// Rotated passkeys.
    rotated: u64,
}

#[derive(Serialize)]
struct Side {
    id: String,
    transactions: i64,
}

/// Adopts, or says what it would do.
pub(crate) async fn run(command: &Adopt, context: &Context) -> Result<Answer, Failure> {
    let mut redis = context.redis().await?;
    let mut ledger = context.ledger(Access::Existing)?;
    ledger.migrate().map_err(|error| context.ledger_failure(&error))?;
    let stream = context.keys.traffic();
    let target = Target { stream: &stream, group: &context.group };
    let from = if command.whole_stream { From::Oldest } else { From::Lacking };
    let how = (target, from);
    let adoption = if command.yes {
        let id = format!("{:032x}", rand::random::<u128>());
        adoption::adopt(&mut redis.connection, &mut ledger, &context.keys, how, &id).await
    } else {
        adoption::look(&mut redis.connection, &mut ledger, &context.keys, how).await
    };
    let adoption = adoption.map_err(|error| match error {
        AdoptionError::Redis(error) => redis.failure(&error),
        AdoptionError::Ledger(error) => context.ledger_failure(&error),
    })?;
    context.output.show(&Adopting::new(command.yes, adoption))?;
    Ok(Answer::Done)
}

impl Adopting {
    fn new(adopted: bool, adoption: Adoption) -> Self {
        let Adoption { known, ledger, again_from, rotated } = adoption;
        Self {
            adopted,
            known: known.map(|known| Side { id: known.id, transactions: known.batches }),
            ledger: Side { id: ledger.id, transactions: ledger.batches },
            again_from: again_from.map(|id| id.to_string()),
            again_from_time: again_from.map(|id| utc(id.unix_seconds())),
            rotated,
        }
    }
}

impl Report for Adopting {
    fn text(&self) -> String {
        let side = |side: &Side| format!("ledger {} after {} transactions", side.id, side.transactions);
        let known = self.known.as_ref().map_or_else(|| "no ledger".to_owned(), side);
        let again = match &self.again_from_time {
            Some(time) => format!("entries from {time} on are delivered again"),
            None => "there is no consumer group, so all entries are delivered".to_owned(),
        };
        let what = format!(
            "{again}, {} again; what the ledger has already changes nothing",
            count(self.rotated, "passkey is rotated", "passkeys are rotated"),
        );
        if self.adopted {
            return format!("Redis knew {known}, and now {}: {what}", side(&self.ledger));
        }
        format!(
            "Redis knows {known}; here is {}\nadopting means: {what}\nnothing was done yet: add --yes, unless the right \
             ledger can be put back",
            side(&self.ledger)
        )
    }
}
