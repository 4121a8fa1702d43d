//! Keeps one ledger open, and opens it again after it was unavailable.
//!
//! A folder that is not mounted looks like a new installation. So a ledger is made only where Redis knows of
//! none; what is in the place of the one that it knows is compared in every transaction (`witness.rs`).

use super::{Access, Delivery, Findings, Ledger, LedgerError, Location, Numbers, Receipt, Witness};
use crate::settlement::Rules;

pub(super) struct Keeper {
    location: Location,
    rules: Rules,
    open: Option<Ledger>,
    /// Whether it was open before.
    known: bool,
}

impl Keeper {
    pub(super) fn new(location: Location, rules: Rules) -> Self {
        Self { location, rules, open: None, known: false }
    }

    /// Settles entries; see [`Ledger::deliver`].
    pub(super) fn deliver(&mut self, delivery: &Delivery) -> Result<Receipt, LedgerError> {
        let rules = self.rules;
        let receipt = self.ledger(delivery.witness.as_ref())?.deliver(delivery, &rules);
        self.closed_after(receipt)
    }

    /// Writes down what was found out; see [`Ledger::account`].
    pub(super) fn account(&mut self, findings: &Findings) -> Result<(u64, Numbers), LedgerError> {
        let accounted = self.ledger(findings.witness.as_ref())?.account(findings);
        self.closed_after(accounted)
    }

    /// The next attempt starts from a fresh connection: the file may be back in its place then.
    fn closed_after<T>(&mut self, outcome: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if let Err(LedgerError::Unavailable(_)) = &outcome {
            self.open = None;
        }
        outcome
    }

    fn ledger(&mut self, witness: Option<&Witness>) -> Result<&mut Ledger, LedgerError> {
        let ledger = match self.open.take() {
            Some(ledger) => ledger,
            None => self.opened(witness)?,
        };
        Ok(self.open.insert(ledger))
    }

    fn opened(&mut self, witness: Option<&Witness>) -> Result<Ledger, LedgerError> {
        let access = if self.known || witness.is_some() { Access::Existing } else { Access::Write };
        let opened = self.location.open(access);
        let mut ledger = opened.map_err(|error| if witness.is_some() { missed(error) } else { error })?;
        let report = ledger.migrate()?;
        if report.applied.first().is_some_and(|first| first.starts_with("V1_")) {
            tracing::warn!("there was no ledger: made a new, empty ledger; right on the first day only");
        } else if !report.applied.is_empty() {
            tracing::info!(applied = %report.applied.join(", "), "the ledger's tables are up to date");
        }
        self.known = true;
        Ok(ledger)
    }
}

fn missed(error: LedgerError) -> LedgerError {
    match error {
        LedgerError::Unavailable(cause) => LedgerError::Unavailable(format!(
            "{cause}. Redis knows of a ledger that was settled into: put it back; if it is lost, make a new one with \
             `trackerctl ledger migrate` and say that it is meant with `trackerctl ledger adopt`"
        )),
        error => error,
    }
}
