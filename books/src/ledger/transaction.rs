//! A transaction as a plain function: all of it or nothing, and again from the beginning when another one was
//! in its way.

use super::LedgerError;
use super::dialect::{Dialect, Purpose};

/// Attempts at one transaction. Each conflict means that another transaction was committed, so that in
/// practice the second attempt succeeds; after the last one the caller waits as for a database that is away.
const ATTEMPTS: u32 = 8;

/// Does `work` in one transaction.
pub(super) fn transaction<T>(
    dialect: &mut dyn Dialect,
    purpose: Purpose,
    mut work: impl FnMut(&mut dyn Dialect) -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    let mut conflict = String::new();
    for _ in 0..ATTEMPTS {
        match attempt(dialect, purpose, &mut work) {
            Err(LedgerError::Conflict(cause)) => conflict = cause,
            outcome => return outcome,
        }
    }
    Err(LedgerError::Unavailable(format!(
        "{ATTEMPTS} transactions in a row were in each other's way: {conflict}"
    )))
}

fn attempt<T>(
    dialect: &mut dyn Dialect,
    purpose: Purpose,
    work: &mut impl FnMut(&mut dyn Dialect) -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    dialect.begin(purpose)?;
    let outcome = work(dialect).and_then(|done| dialect.commit().map(|()| done));
    if outcome.is_err() {
        // A connection that cannot even do this is of no use: its error is the one to act on.
        dialect.roll_back()?;
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Memory;

    /// Another connection commits during each of the first so many attempts; how many attempts there were.
    fn disturbed(times: u32) -> (u32, Result<i64, LedgerError>) {
        let memory = Memory::default();
        let (mut dialect, mut attempts) = (memory.dialect(), 0);
        let outcome = transaction(&mut dialect, Purpose::Write, |dialect| {
            attempts += 1;
            if attempts <= times {
                let mut other = memory.dialect();
                transaction(&mut other, Purpose::Write, |other| other.next_batch().map(drop))?;
            }
            dialect.next_batch().map(|mark| mark.batches)
        });
        (attempts, outcome)
    }

    #[test]
    fn a_transaction_that_another_one_was_in_the_way_of_is_done_again_on_what_that_one_wrote() {
        assert_eq!(disturbed(0), (1, Ok(1)));
        assert_eq!(disturbed(3), (4, Ok(4)));
    }

    #[test]
    fn attempts_end_and_then_the_ledger_is_waited_for() {
        let (attempts, outcome) = disturbed(u32::MAX);
        assert_eq!(attempts, ATTEMPTS);
        assert!(matches!(outcome, Err(LedgerError::Unavailable(_))), "{outcome:?}");
    }

    #[test]
    fn work_that_fails_leaves_nothing_behind() {
        let mut dialect = Memory::default().dialect();
        let refused = transaction(&mut dialect, Purpose::Write, |dialect| {
            dialect.next_batch()?;
            Err::<(), _>(LedgerError::Rejected("refused".into()))
        });
        assert_eq!(refused, Err(LedgerError::Rejected("refused".into())));
        let batches = transaction(&mut dialect, Purpose::Read, |dialect| dialect.mark());
        assert_eq!(batches.map(|mark| mark.batches), Ok(0));
    }
}
