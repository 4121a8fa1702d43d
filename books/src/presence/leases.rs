//! How long a peer counts as present after its last announce.

/// The rule for leases. `None` follows each peer's own announce interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leases {
    /// Seconds after which any silent peer is gone.
    pub peer_timeout_s: Option<u64>,
}

/// A tracker that asks for announces once a day at most: nobody needs a longer lease.
const LONGEST_S: u64 = 24 * 3600;
/// Beyond two intervals, for clients that are a little late.
const GRACE_S: u64 = 300;

impl Leases {
    /// Seconds for which an announce that was given `interval` seconds keeps its peer present.
    #[must_use]
    pub fn lease_s(self, interval: u32) -> u64 {
        self.peer_timeout_s.unwrap_or_else(|| (2 * u64::from(interval) + GRACE_S).min(LONGEST_S))
    }

    /// Seconds after an entry during which an older entry could still hold a lease: so long the guard stays.
    #[must_use]
    pub fn memory_s(self) -> u64 {
        self.peer_timeout_s.unwrap_or(0).max(LONGEST_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_two_intervals_and_five_minutes_unless_configured() {
        assert_eq!(Leases::default().lease_s(1800), 3900);
        assert_eq!(Leases::default().lease_s(u32::MAX), 86_400);
        assert_eq!(Leases { peer_timeout_s: Some(60) }.lease_s(1800), 60);
    }

    #[test]
    fn a_guard_outlives_every_lease() {
        for leases in [Leases::default(), Leases { peer_timeout_s: Some(1_000_000) }] {
            assert!(leases.memory_s() >= leases.lease_s(u32::MAX));
        }
    }
}
