//! How many bytes the stream holds from each second, so that its oldest entries can be trimmed when it takes
//! more room than the operator gives it.
//!
//! Every tracker reads every entry and so comes to the same figures without asking. Pure: times are Redis'
//! own, from entries' ids.

use std::collections::VecDeque;

/// What Redis 7 needs for an entry of so many bytes, measured: ids, counts, the tree above them, and the
/// unused ends of its blocks.
fn room_for(bytes: usize) -> u64 {
    let bytes = bytes as u64;
    bytes + bytes / 4 + 32
}

/// Bytes by the second in which they came.
#[derive(Debug, Default)]
pub(super) struct Retained {
    seconds: VecDeque<(u64, u64)>,
    total: u64,
    /// Entries from before this time were trimmed for want of room.
    full_since: u64,
}

impl Retained {
    /// Notes an entry. Entries come in the order of their ids.
    pub(super) fn add(&mut self, unix_ms: u64, bytes: usize) {
        let (second, bytes) = (unix_ms / 1000, room_for(bytes));
        self.total += bytes;
        match self.seconds.back_mut() {
            Some((last, sum)) if *last >= second => *sum += bytes,
            _ => self.seconds.push_back((second, bytes)),
        }
    }

    /// Forgets what is older than `unix_ms`, and then the oldest seconds until no more than `most` bytes are
    /// left. Returns the time, in milliseconds, before which nothing is wanted.
    pub(super) fn trim(&mut self, unix_ms: u64, most: u64) -> u64 {
        while let Some(&(second, bytes)) = self.seconds.front() {
            let end = (second + 1) * 1000;
            if end > unix_ms && self.total <= most {
                break;
            }
            self.full_since = self.full_since.max(end);
            self.total -= bytes;
            self.seconds.pop_front();
        }
        self.full_since.max(unix_ms)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_goes_and_then_what_is_too_much() {
        let mut retained = Retained::default();
        for ms in (0..10_000).step_by(500) {
            retained.add(ms, 800);
        }
        let entry = room_for(800);
        assert_eq!((retained.trim(0, 1 << 20), retained.bytes()), (0, 20 * entry));
        assert_eq!((retained.trim(2500, 1 << 20), retained.bytes()), (2500, 16 * entry), "whole seconds go");
        assert_eq!((retained.trim(2500, 5 * entry), retained.bytes()), (8000, 4 * entry));
        assert_eq!(retained.trim(2600, 5 * entry), 8000, "what went stays away");
        assert_eq!((retained.trim(60_000, 5 * entry), retained.bytes()), (60_000, 0));
        retained.add(9_000, 800);
        retained.add(8_000, 800);
        assert_eq!(retained.seconds.len(), 1, "a clock that steps back opens no older second");
    }
}
