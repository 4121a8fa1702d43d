//! Connection ids: proof that a client receives the packets sent to its address. The tracker keeps nothing
//! about a client for that.
//!
//! An id is 16 bits of the second in which it was made and 48 bits of a keyed hash over that second and the
//! client's address. SipHash-2-4 is made for this: a keyed pseudo-random function for short inputs, some 20
//! times faster than a truncated HMAC-SHA256. The hash covers the whole time, of which the id carries only
//! what tells it from others in its lifetime: an old id does not become valid again when the 16 bits come
//! round, and the spared bits make guessing harder.

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

/// The longest lifetime and skew together, of the 65536 s that 16 bits tell apart.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

const HASH_BITS: u32 = 48;
const STAMP_RANGE: u64 = 1 << 16;

/// Makes and judges connection ids. Trackers with the same private key and clocks accept each other's.
#[derive(Debug, Clone)]
pub struct ConnectionIds {
    hasher: SipHasher24,
    lifetime_secs: u64,
    max_clock_skew_secs: u64,
}

impl ConnectionIds {
    /// An empty private key means one of this process's own. Ids are accepted for `lifetime`, and from clocks
    /// that are `max_clock_skew` ahead; both together at most [`LONGEST_LIFETIME`].
    #[must_use]
    pub fn new(private_key: &str, lifetime: Duration, max_clock_skew: Duration) -> Self {
        let key = if private_key.is_empty() { rand::random() } else { derived(private_key) };
        Self {
            hasher: SipHasher24::new_with_key(&key),
            lifetime_secs: lifetime.as_secs(),
            max_clock_skew_secs: max_clock_skew.as_secs(),
        }
    }

    /// An id for a client at `ip`. `now` is in Unix seconds.
    #[must_use]
    pub fn issue(&self, ip: IpAddr, now: u64) -> u64 {
        (now % STAMP_RANGE) << HASH_BITS | self.hash(ip, now)
    }

    /// Whether an id was made for `ip` lately. Compares whole numbers: how long that takes says nothing about
    /// them.
    #[must_use]
    pub fn accepts(&self, id: u64, ip: IpAddr, now: u64) -> bool {
        let age = now.wrapping_sub(id >> HASH_BITS) % STAMP_RANGE;
        let ahead = STAMP_RANGE - age;
        let issued = if age <= self.lifetime_secs {
            now.wrapping_sub(age)
        } else if ahead <= self.max_clock_skew_secs {
            now.wrapping_add(ahead)
        } else {
            return false;
        };
        id == self.issue(ip, issued)
    }

    fn hash(&self, ip: IpAddr, issued: u64) -> u64 {
        let address = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&issued.to_be_bytes());
        bytes[8..].copy_from_slice(&address.octets());
        self.hasher.hash(&bytes) & ((1 << HASH_BITS) - 1)
    }
}

/// The key of a text of any length.
fn derived(private_key: &str) -> [u8; 16] {
    let digest = Sha256::digest(private_key.as_bytes());
    std::array::from_fn(|place| digest[place])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn ids(private_key: &str) -> ConnectionIds {
        ConnectionIds::new(private_key, Duration::from_secs(120), Duration::from_secs(10))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_id_is_good_for_its_address_and_its_time() {
        let ids = ids("");
        for address in [ip("192.0.2.1"), ip("2001:db8::1")] {
            let id = ids.issue(address, NOW);
            assert!(ids.accepts(id, address, NOW) && ids.accepts(id, address, NOW + 120));
            assert!(!ids.accepts(id, address, NOW + 121), "stale");
            assert!(ids.accepts(id, address, NOW - 10), "from a clock that is ahead");
            assert!(!ids.accepts(id, address, NOW - 11), "from the future");
            assert!(!ids.accepts(id, ip("192.0.2.2"), NOW), "of somebody else");
        }
    }

    #[test]
    fn an_old_id_does_not_become_valid_when_its_stamp_comes_round() {
        let ids = ids("");
        let id = ids.issue(ip("192.0.2.1"), NOW);
        assert!(!ids.accepts(id, ip("192.0.2.1"), NOW + STAMP_RANGE));
    }

    #[test]
    fn trackers_share_ids_when_they_share_the_key() {
        let address = ip("192.0.2.1");
        assert!(ids("site").accepts(ids("site").issue(address, NOW), address, NOW));
        assert!(!ids("site").accepts(ids("other").issue(address, NOW), address, NOW));
        assert!(
            !ids("").accepts(ids("").issue(address, NOW), address, NOW),
            "each start has a key of its own"
        );
    }

    proptest! {
        #[test]
        fn a_changed_bit_makes_it_worthless(bit in 0u32..64, now in 0u64..1 << 40) {
            let ids = ids("site");
            let id = ids.issue(ip("192.0.2.1"), now);
            prop_assert!(!ids.accepts(id ^ 1 << bit, ip("192.0.2.1"), now));
        }
    }
}
