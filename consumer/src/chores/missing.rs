//! Which of the stream's numbers cannot come any more: entries are given out in their order, so one that was
//! overtaken and is not pending was settled by another consumer, or is gone. The ledger tells which.

use books::entry::EntryId;
use books::ledger::{Numbers, Run};

/// Where the group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The newest entry that a consumer was given.
    pub(crate) delivered: EntryId,
    /// The oldest that was given and is not acknowledged.
    pub(crate) pending: Option<EntryId>,
    /// Whether anything is unread or pending.
    pub(crate) unread: bool,
}

/// Numbers under suspicion.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// Those that were missing when the ledger had seen up to this entry.
    suspected: Option<(Vec<Run>, EntryId)>,
}

impl Missing {
    /// The numbers that are settled by now or lost. `numbers`: what the ledger had seen before the group's
    /// position was asked for; `given`: the newest number that a tracker had given by then.
    pub(crate) fn look(&mut self, numbers: &Numbers, position: Position, given: Option<u64>) -> Vec<Run> {
        let Some(newest) = numbers.newest else { return Vec::new() };
        if self.suspected.is_none() && numbers.count_missing() > 0 {
            self.suspected = Some((numbers.missing(), newest.id));
        }
        let finished = |until: EntryId| {
            position.delivered >= until && position.pending.is_none_or(|pending| pending > until)
        };
        let mut gone = match self.suspected.take_if(|(_, until)| finished(*until)) {
            Some((suspected, _)) => suspected,
            None => Vec::new(),
        };
        // With nothing left to settle, also what came after the newest that was seen.
        if let Some(given) = given.filter(|given| !position.unread && *given > newest.n) {
            gone.push((newest.n + 1, given));
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use books::ledger::Numbered;

    use super::*;

    fn numbers(seen: impl IntoIterator<Item = u64>) -> Numbers {
        let mut numbers = Numbers::default();
        for n in seen {
            numbers.see(Numbered { n, id: EntryId::at_ms(n) });
        }
        numbers
    }

    fn at(delivered: u64, pending: Option<u64>, unread: bool) -> Position {
        Position { delivered: EntryId::at_ms(delivered), pending: pending.map(EntryId::at_ms), unread }
    }

    #[test]
    fn a_number_is_given_up_once_nothing_older_than_what_overtook_it_is_pending() {
        let mut missing = Missing::default();
        assert!(missing.look(&numbers([1, 2, 5]), at(9, Some(3), true), Some(9)).is_empty());
        assert!(missing.look(&numbers([1, 2, 5, 6]), at(9, Some(5), true), Some(9)).is_empty());
        assert_eq!(missing.look(&numbers([1, 2, 5, 8]), at(9, Some(6), true), Some(9)), [(3, 4)]);
        assert!(missing.look(&numbers([1]), at(9, None, true), Some(1)).is_empty());
    }

    #[test]
    fn a_group_that_was_set_back_gives_up_nothing_that_it_may_be_given_again() {
        let mut missing = Missing::default();
        assert!(missing.look(&numbers([1, 2, 5]), at(0, None, true), Some(5)).is_empty());
        assert_eq!(missing.look(&numbers([1, 2, 5]), at(5, None, false), Some(5)), [(3, 4)]);
    }

    #[test]
    fn the_last_numbers_are_given_up_when_nothing_is_left_to_read() {
        let mut missing = Missing::default();
        assert!(missing.look(&numbers([1, 2]), at(2, None, true), Some(9)).is_empty());
        assert_eq!(missing.look(&numbers([1, 2]), at(2, None, false), Some(9)), [(3, 9)]);
        assert!(missing.look(&numbers([1, 2]), at(2, None, false), Some(1)).is_empty(), "Redis went back");
        assert!(missing.look(&numbers([]), at(2, None, false), Some(9)).is_empty(), "nothing is known");
    }
}
