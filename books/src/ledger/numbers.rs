//! The numbers of the stream's entries that this ledger has seen: proof that it has seen them all.
//!
//! Trackers number the entries without a gap. So a number that never comes is an entry that was lost, and a
//! number that comes again with a newer entry is a Redis that went back in time: it numbers anew from where
//! it had been before. What came of the time that is gone is told apart by its entry ids.

use crate::entry::EntryId;

/// Runs of numbers that are kept apart. Beyond, the oldest gap counts as lost: so many gaps are never open
/// while consumers only hold some batches each.
const MOST_RUNS: usize = 1000;

/// An entry's number and its place in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbered {
    /// Its number.
    pub n: u64,
    /// Where the stream holds it.
    pub id: EntryId,
}

/// Numbers from the first to the last, both included.
pub type Run = (u64, u64);

/// What the ledger has seen of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbers {
    /// Runs in their order, not touching.
    pub(super) seen: Vec<Run>,
    /// The entry with the highest number.
    pub newest: Option<Numbered>,
    /// Since Redis went back: the lowest number that it gave anew, and the newest entry from before.
    pub(super) anew: Numbered,
    /// Entries that were lost, as far as that has been noticed.
    pub lost: u64,
    /// How often Redis went back in time.
    pub rollbacks: u64,
    /// Every entry before this one was settled into this ledger, or a copy of it, by now.
    pub settled_before: EntryId,
}

impl Numbers {
    /// Sees an entry. When it shows that Redis went back in time: how many numbers come again.
    pub fn see(&mut self, entry: Numbered) -> Option<u64> {
        let Some(top) = self.newest else {
            self.newest = Some(entry);
            self.insert(entry.n);
            return None;
        };
        match (entry.n > top.n, entry.id > top.id) {
            // From before Redis went back.
            _ if entry.id <= self.anew.id => {
                self.see_older(entry);
                None
            }
            (true, true) => {
                self.newest = Some(entry);
                self.insert(entry.n);
                None
            }
            (false, false) => {
                self.see_older(entry);
                None
            }
            (false, true) => Some(self.went_back(entry, top.id)),
            // Its clock went back with it.
            (true, false) => Some(self.went_back(entry, EntryId::at_ms(entry.id.ms.saturating_sub(1)))),
        }
    }

    /// One that is delivered again, or overtaken by another consumer's.
    fn see_older(&mut self, entry: Numbered) {
        match entry.id > self.anew.id {
            true if entry.n < self.anew.n => {
                self.forget(entry.n);
                self.anew.n = entry.n;
                self.insert(entry.n);
            }
            false if entry.n >= self.anew.n => {}
            _ => self.insert(entry.n),
        }
    }

    fn went_back(&mut self, entry: Numbered, before: EntryId) -> u64 {
        let reused = self.newest.map_or(0, |top| (top.n + 1).saturating_sub(entry.n));
        self.seen.retain(|run| run.0 < entry.n);
        if let Some(last) = self.seen.last_mut() {
            last.1 = last.1.min(entry.n.saturating_sub(1));
        }
        self.anew = Numbered { n: entry.n, id: before };
        self.newest = Some(entry);
        self.rollbacks += 1;
        self.insert(entry.n);
        reused
    }

    /// What was seen from here up to where Redis began anew was seen before it went back.
    fn forget(&mut self, from: u64) {
        let until = self.anew.n;
        let cut = |run: Run| {
            let (before, after) = ((run.0, run.1.min(from.saturating_sub(1))), (run.0.max(until), run.1));
            [before, after].into_iter().filter(|(first, last)| first <= last)
        };
        self.seen = std::mem::take(&mut self.seen).into_iter().flat_map(cut).collect();
    }

    fn insert(&mut self, n: u64) {
        self.insert_run((n, n));
    }

    fn insert_run(&mut self, (first, last): Run) {
        let from = self.seen.partition_point(|run| run.1 < first.saturating_sub(1));
        let until = self.seen.partition_point(|run| run.0 <= last.saturating_add(1));
        let touched = self.seen.get(from..until).unwrap_or_default();
        let merged = touched.iter().fold((first, last), |sum, run| (sum.0.min(run.0), sum.1.max(run.1)));
        self.seen.splice(from..until.max(from), [merged]);
        if self.seen.len() > MOST_RUNS {
            let gap = (self.seen[0].1 + 1, self.seen[1].0 - 1);
            self.lost += gap.1 - gap.0 + 1;
            self.insert_run(gap);
        }
    }

    /// Runs of numbers that did not come although higher ones did. What came before the first that was ever
    /// seen is nobody's loss: it was settled elsewhere, or trimmed before this ledger was made.
    #[must_use]
    pub fn missing(&self) -> Vec<Run> {
        self.seen.windows(2).map(|pair| (pair[0].1 + 1, pair[1].0 - 1)).collect()
    }

    /// How many those are.
    #[must_use]
    pub fn count_missing(&self) -> u64 {
        self.missing().iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Counts as lost what of these numbers has not come until now; how many that is.
    pub fn write_off(&mut self, run: Run) -> u64 {
        let (Some(base), Some(top)) = (self.seen.first().map(|run| run.0), self.newest) else { return 0 };
        let (first, last) = (run.0.max(base), run.1);
        if first > last {
            return 0;
        }
        let overlap = |seen: &Run| (seen.1.min(last) + 1).saturating_sub(seen.0.max(first));
        let lost = last - first + 1 - self.seen.iter().map(overlap).sum::<u64>();
        self.insert_run((first, last));
        self.newest = Some(Numbered { n: top.n.max(last), ..top });
        self.lost += lost;
        lost
    }

    /// The runs as text: `1-40,42-50`.
    pub(super) fn runs(&self) -> String {
        self.seen.iter().map(|(first, last)| format!("{first}-{last}")).collect::<Vec<_>>().join(",")
    }

    /// Reads [`Numbers::runs`].
    pub(super) fn read_runs(text: &str) -> Option<Vec<Run>> {
        let read = |run: &str| {
            let (first, last) = run.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        text.split(',').filter(|run| !run.is_empty()).map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64, ms: u64) -> Numbered {
        Numbered { n, id: EntryId::at_ms(ms) }
    }

    /// Those that were seen, each with an entry of its tenfold.
    fn saw(order: impl IntoIterator<Item = u64>) -> Numbers {
        let mut numbers = Numbers::default();
        for n in order {
            assert_eq!(numbers.see(at(n, 10 * n)), None, "{n}");
        }
        numbers
    }

    #[test]
    fn any_order_and_repetition_of_the_same_entries_is_the_same() {
        let numbers = saw([7, 3, 4, 9, 3, 8, 5, 9, 6]);
        assert_eq!((numbers.seen.as_slice(), numbers.missing()), ([(3, 9)].as_slice(), vec![]));
    }

    #[test]
    fn a_number_that_does_not_come_is_missing_and_written_off_once() {
        let mut numbers = saw([1, 2, 5, 9]);
        assert_eq!(numbers.missing(), [(3, 4), (6, 8)]);
        numbers.see(at(7, 70));
        assert_eq!(numbers.write_off((6, 8)), 2, "one of them came after all");
        assert_eq!(numbers.write_off((6, 8)), 0);
        assert_eq!((numbers.lost, numbers.count_missing()), (2, 2));
        assert_eq!(numbers.write_off((10, 12)), 3, "the last ones, that nobody was ever given");
        assert_eq!(numbers.see(at(13, 130)), None);
        assert_eq!(numbers.missing(), [(3, 4)]);
    }

    #[test]
    fn a_redis_that_went_back_numbers_anew_and_what_it_lost_then_is_noticed() {
        let mut numbers = saw(1..=100);
        assert_eq!(numbers.see(at(93, 2030)), Some(8), "of another consumer than the first of them");
        assert_eq!(numbers.see(at(95, 950)), None, "from before, delivered again");
        assert_eq!(numbers.see(at(91, 2010)), None);
        assert_eq!(numbers.see(at(94, 2040)), None);
        assert_eq!((numbers.rollbacks, numbers.missing()), (1, vec![(92, 92)]));
        for n in 95..=120 {
            assert_eq!(numbers.see(at(n, 2000 + 10 * n)), None);
        }
        assert_eq!((numbers.seen.as_slice(), numbers.rollbacks), ([(1, 91), (93, 120)].as_slice(), 1));
        assert_eq!(numbers.see(at(1, 9000)), Some(120), "and one that lost everything");
        assert_eq!((numbers.rollbacks, numbers.missing()), (2, vec![]));
    }

    #[test]
    fn a_redis_that_went_back_with_its_clock_is_noticed_when_its_numbers_pass_the_old_ones() {
        let mut numbers = saw(1..=10);
        assert_eq!(numbers.see(at(9, 45)), None, "looks like one that is delivered again");
        assert_eq!(numbers.see(at(11, 47)), Some(0));
        assert_eq!(numbers.see(at(12, 48)), None);
        assert_eq!((numbers.rollbacks, numbers.missing()), (1, vec![]));
    }

    #[test]
    fn runs_are_bounded_and_can_be_written_down() {
        let mut numbers = saw((1..=MOST_RUNS as u64 + 5).map(|n| 2 * n));
        assert_eq!((numbers.seen.len(), numbers.lost), (MOST_RUNS, 5));
        assert_eq!(Numbers::read_runs(&numbers.runs()).as_ref(), Some(&numbers.seen));
        numbers.seen.clear();
        assert_eq!(Numbers::read_runs(&numbers.runs()), Some(vec![]));
        assert_eq!(Numbers::read_runs("1-x"), None);
    }
}
