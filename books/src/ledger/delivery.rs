//! What one transaction of the consumer brings, and what it hears of it.

use std::sync::Arc;

use super::dialect::Dialect;
use super::numbers::{Numbered, Numbers, Run};
use super::witness::Witness;
use super::{LedgerError, Mark, Outcome, settle};
use crate::entry::{Entry, EntryId};
use crate::settlement::Rules;

/// Entries that a consumer was given, and what Redis said of the ledger then.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// What is settled.
    pub entries: Arc<[Entry]>,
    /// Entries that cannot be settled and go to the dead letters: seen all the same.
    pub also_seen: Vec<Numbered>,
    /// Which ledger it has to be; `None` where Redis knows of none.
    pub witness: Option<Witness>,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What was settled.
    pub outcome: Outcome,
    /// How far the ledger has come with it.
    pub mark: Mark,
    /// Which entries it has seen.
    pub numbers: Numbers,
    /// Numbers that came again, if it showed that Redis went back in time.
    pub reused: Option<u64>,
}

/// What a consumer has found out about numbers.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Numbers that nobody can deliver any more.
    pub lost: Vec<Run>,
    /// Entries before this one are settled and acknowledged.
    pub settled_before: EntryId,
    /// As in [`Delivery`].
    pub witness: Option<Witness>,
}

pub(super) fn deliver(
    dialect: &mut dyn Dialect,
    delivery: &Delivery,
    rules: &Rules,
) -> Result<Receipt, LedgerError> {
    recognise(dialect, delivery.witness.as_ref())?;
    let outcome = settle::settle(dialect, &delivery.entries, rules)?;
    if delivery.entries.is_empty() && !delivery.also_seen.is_empty() {
        dialect.next_batch()?;
    }
    let (numbers, reused) = see(dialect, delivery)?;
    Ok(Receipt { outcome, mark: dialect.mark()?, numbers, reused })
}

fn recognise(dialect: &mut dyn Dialect, witness: Option<&Witness>) -> Result<(), LedgerError> {
    witness.map_or(Ok(()), |witness| witness.recognise(&dialect.mark()?))
}

/// Entries of older trackers have no number and prove nothing.
fn see(dialect: &mut dyn Dialect, delivery: &Delivery) -> Result<(Numbers, Option<u64>), LedgerError> {
    let mut numbers = dialect.numbers()?;
    let before = numbers.clone();
    let numbered = |entry: &Entry| entry.event.claim.map(|claim| Numbered { n: claim.n, id: entry.id });
    let seen = delivery.entries.iter().filter_map(numbered).chain(delivery.also_seen.iter().copied());
    let reused = seen.filter_map(|entry| numbers.see(entry)).reduce(|sum, reused| sum + reused);
    if numbers != before {
        dialect.save_numbers(&numbers)?;
    }
    Ok((numbers, reused))
}

/// Writes down what was found out; how many entries turned out to be lost.
pub(super) fn account(dialect: &mut dyn Dialect, findings: &Findings) -> Result<(u64, Numbers), LedgerError> {
    recognise(dialect, findings.witness.as_ref())?;
    let mut numbers = dialect.numbers()?;
    let lost = findings.lost.iter().map(|run| numbers.write_off(*run)).sum();
    numbers.settled_before = numbers.settled_before.max(findings.settled_before);
    dialect.save_numbers(&numbers)?;
    Ok((lost, numbers))
}
