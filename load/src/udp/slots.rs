//! Requests under way on one socket, by the transaction number that replies repeat.

use std::time::{Duration, Instant};

/// The low bits of a transaction number are the place, the others tell requests in one place apart.
const PLACE_BITS: u32 = 16;
/// Requests under way on one socket at most: the last place is never used, so that [`CONNECTING`] is nobody's
/// number.
pub(crate) const MAX_SLOTS: usize = (1 << PLACE_BITS) - 1;
/// The number under which connection ids are asked for.
pub(crate) const CONNECTING: u32 = u32::MAX;

/// The requests of one socket.
#[derive(Debug)]
pub(crate) struct Slots {
    places: Vec<Slot>,
    free: Vec<u16>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// From when the latency counts, and when the request left.
    times: Option<(Instant, Instant)>,
    generation: u16,
}

impl Slots {
    /// Room for so many requests, at most [`MAX_SLOTS`].
    pub(crate) fn new(room: usize) -> Self {
        let room = u16::try_from(room.min(MAX_SLOTS)).unwrap_or(u16::MAX - 1);
        Self { places: vec![Slot::default(); room.into()], free: (0..room).rev().collect() }
    }

    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn room(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// Takes a free place; its transaction number.
    pub(crate) fn take(&mut self, due: Instant, now: Instant) -> Option<u32> {
        let place = self.free.pop()?;
        let slot = &mut self.places[usize::from(place)];
        slot.times = Some((due, now));
        slot.generation = slot.generation.wrapping_add(1);
        Some(u32::from(slot.generation) << PLACE_BITS | u32::from(place))
    }

    /// Ends the request of this number; from when its latency counts. `None` for one that was given up or
    /// never made.
    pub(crate) fn end(&mut self, transaction: u32) -> Option<Instant> {
        let place = u16::try_from(transaction & 0xffff).ok()?;
        let slot = self.places.get_mut(usize::from(place))?;
        if u32::from(slot.generation) != transaction >> PLACE_BITS {
            return None;
        }
        let (due, _) = slot.times.take()?;
        self.free.push(place);
        Some(due)
    }

    /// Gives up what left before `now - timeout`; how many these were.
    pub(crate) fn expire(&mut self, now: Instant, timeout: Duration) -> u64 {
        let mut expired = 0;
        for (place, slot) in (0..).zip(&mut self.places) {
            if slot.times.is_some_and(|(_, sent)| now.saturating_duration_since(sent) > timeout) {
                slot.times = None;
                self.free.push(place);
                expired += 1;
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_its_own_request_and_no_later_one_in_the_same_place() {
        let (mut slots, now) = (Slots::new(1), Instant::now());
        let first = slots.take(now, now).unwrap();
        assert_eq!((slots.take(now, now), slots.free()), (None, 0));
        assert_eq!(slots.end(first), Some(now));
        assert!(slots.is_empty());
        let second = slots.take(now, now).unwrap();
        assert_eq!(slots.end(first), None);
        assert_eq!(slots.end(CONNECTING), None);
        let timeout = Duration::from_secs(1);
        assert_eq!(slots.expire(now + timeout, timeout), 0);
        assert_eq!(slots.expire(now + 2 * timeout, timeout), 1);
        assert_eq!((slots.end(second), slots.is_empty()), (None, true));
    }
}
