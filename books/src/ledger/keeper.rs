//! Keeps one ledger open, and opens it again after it was unavailable: the same one, never another in its
//! place.
//!
//! A folder that is not mounted looks like a new installation, and a restored backup like the ledger itself.
//! Settling into either would be acknowledged and then missing from the books, so both are refused until an
//! operator has looked.

use super::{Access, Ledger, LedgerError, Location, Mark, Outcome};
use crate::entry::Entry;
use crate::settlement::Rules;

pub(super) struct Keeper {
    location: Location,
    rules: Rules,
    open: Option<Ledger>,
    /// The ledger as it was after its last transaction.
    known: Option<Mark>,
}

impl Keeper {
    pub(super) fn new(location: Location, rules: Rules) -> Self {
        Self { location, rules, open: None, known: None }
    }

    /// Settles entries; see [`Ledger::settle`].
    pub(super) fn settle(&mut self, entries: &[Entry]) -> Result<Outcome, LedgerError> {
        let rules = self.rules;
        let ledger = self.ledger()?;
        let outcome = ledger.settle(entries, &rules);
        match &outcome {
            // An unreadable mark is noticed at the next opening; what was settled is settled.
            Ok(_) => self.known = ledger.mark().ok().or(self.known.take()),
            // The next attempt starts from a fresh connection: the file may be back in its place then.
            Err(LedgerError::Unavailable(_)) => self.open = None,
            Err(LedgerError::Rejected(_) | LedgerError::Conflict(_) | LedgerError::Unsupported(_)) => {}
        }
        outcome
    }

    fn ledger(&mut self) -> Result<&mut Ledger, LedgerError> {
        let ledger = match self.open.take() {
            Some(ledger) => ledger,
            None => self.opened()?,
        };
        Ok(self.open.insert(ledger))
    }

    fn opened(&mut self) -> Result<Ledger, LedgerError> {
        let access = if self.known.is_some() { Access::Existing } else { Access::Write };
        let mut ledger = self.location.open(access)?;
        if let Some(known) = &self.known {
            recognise(known, &ledger.mark()?)?;
        }
        let report = ledger.migrate()?;
        if report.applied.first().is_some_and(|first| first.starts_with("V1_")) {
            tracing::warn!("there was no ledger: made a new, empty ledger; right on the first day only");
        } else if !report.applied.is_empty() {
            tracing::info!(applied = %report.applied.join(", "), "the ledger's tables are up to date");
        }
        self.known = Some(ledger.mark()?);
        Ok(ledger)
    }
}

fn recognise(known: &Mark, found: &Mark) -> Result<(), LedgerError> {
    let refuse = |what: String| {
        Err(LedgerError::Unavailable(format!(
            "{what}: put the right file back, or restart the consumer to go on with this one; what was acknowledged and is \
             not in it is settled again, as far as the stream still holds it, after XGROUP SETID of the consumer group to 0"
        )))
    };
    if known.id != found.id {
        return refuse("another ledger is in the place of the one that was open".into());
    }
    if found.batches < known.batches {
        let missing = known.batches - found.batches;
        return refuse(format!(
            "the ledger was replaced by an older copy, which lacks {missing} transactions"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EntryId;

    fn mark(id: &str, batches: i64) -> Mark {
        Mark { id: id.into(), batches, pruned_before: EntryId::default() }
    }

    #[test]
    fn only_the_same_ledger_no_older_than_before_is_gone_on_with() {
        assert_eq!(recognise(&mark("a", 5), &mark("a", 5)), Ok(()));
        assert_eq!(recognise(&mark("a", 5), &mark("a", 9)), Ok(()), "other consumers settle into it too");
        let text = |found| recognise(&mark("a", 5), &found).unwrap_err().to_string();
        assert!(text(mark("b", 9)).contains("another ledger"));
        assert!(text(mark("a", 3)).contains("lacks 2 transactions"));
    }
}
