//! Where a client's own counters stood when a line was last heard of.
//!
//! A slow path speaks of a time that the others have left: its counters are lower although it is the newest
//! to arrive. So the highest counters of the newest time count, as far back as paths can differ.

use super::super::varint;

/// How far the paths of one client may differ.
pub(super) const SKEW_MS: u64 = claims::DEFAULT_SKEW_MS;
/// Readings kept; all but the newest are higher than what came after them.
const MOST: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reading {
    pub(super) at: u64,
    pub(super) counters: [u64; 2],
}

impl Reading {
    /// Whether this one says all that the other does.
    fn covers(&self, other: &Self) -> bool {
        self.at >= other.at && self.counters.iter().zip(other.counters).all(|(own, other)| *own >= other)
    }
}

/// Readings of the newest time, oldest first. A function of the set of all readings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ends(Vec<Reading>);

impl Ends {
    pub(super) fn add(&mut self, reading: Reading) {
        let newest = self.0.last().map_or(0, |newest| newest.at).max(reading.at);
        if self.0.iter().any(|known| known.covers(&reading)) {
            return;
        }
        self.0.push(reading);
        let is_old = |known: &Reading| known.at.saturating_add(SKEW_MS) < newest;
        self.0.retain(|known| !is_old(known) && (*known == reading || !reading.covers(known)));
        self.0.sort_unstable();
        if self.0.len() > MOST {
            let oldest = self.0.remove(0);
            let next = &mut self.0[0];
            next.counters = std::array::from_fn(|which| next.counters[which].max(oldest.counters[which]));
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|reading| self.add(*reading));
    }

    /// The counters; `None` while the line was not heard of.
    pub(super) fn highest(&self) -> Option<[u64; 2]> {
        let highest = |a: [u64; 2], b: [u64; 2]| std::array::from_fn(|which| a[which].max(b[which]));
        self.0.iter().map(|reading| reading.counters).reduce(highest)
    }

    /// Near the time and the counters that the reader knows.
    pub(super) fn write(&self, bytes: &mut Vec<u8>, near: Reading) {
        varint::write(bytes, self.0.len() as u64);
        for reading in &self.0 {
            varint::write_from(bytes, near.at, reading.at);
            (0..2).for_each(|which| {
                varint::write_from(bytes, near.counters[which], reading.counters[which]);
            });
        }
    }

    pub(super) fn read(bytes: &mut &[u8], near: Reading) -> Option<Self> {
        let mut readings = Vec::new();
        for _ in 0..varint::read(bytes)? {
            let at = varint::read_from(bytes, near.at)?;
            let up = varint::read_from(bytes, near.counters[0])?;
            readings.push(Reading { at, counters: [up, varint::read_from(bytes, near.counters[1])?] });
        }
        Some(Self(readings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn highest(readings: &[(u64, u64)]) -> Option<u64> {
        let mut ends = Ends::default();
        readings.iter().for_each(|(at, up)| ends.add(Reading { at: *at, counters: [*up, 0] }));
        ends.highest().map(|counters| counters[0])
    }

    #[test]
    fn a_slow_path_does_not_turn_counters_back_and_a_new_run_does() {
        assert_eq!(highest(&[(1000, 50), (1001, 40)]), Some(50));
        assert_eq!(highest(&[(1001, 40), (1000, 50)]), Some(50));
        assert_eq!(highest(&[(1000, 50), (1001 + SKEW_MS, 40)]), Some(40));
        assert_eq!(highest(&[(1001 + SKEW_MS, 40), (1000, 50)]), Some(40));
        assert_eq!(highest(&[]), None);
    }
}
