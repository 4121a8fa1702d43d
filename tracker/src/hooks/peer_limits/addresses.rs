//! From how many addresses each user came lately. Pure: the time is passed in, in seconds.

use std::net::IpAddr;

use parking_lot::Mutex;

use super::room::Room;
use crate::announce::UserTag;

const SHARDS: usize = 64;
/// Users in one shard: a million in all. More are not watched, and counted.
const MAX_USERS_PER_SHARD: usize = 16_384;

/// What one more address means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noticed {
    Fine,
    /// The user's limit is passed. Said once in a window.
    TooMany,
    /// There is no room to watch this user.
    Untracked,
}

#[derive(Debug)]
pub(super) struct Addresses {
    shards: Box<[Mutex<Room<UserTag, Seen>>]>,
    most: usize,
    window_secs: u32,
}

#[derive(Debug)]
struct Seen {
    since: u32,
    /// At most one more than the limit: then the alarm is given.
    networks: Vec<u64>,
}

impl Addresses {
    pub(super) fn new(most: usize, window_secs: u32) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Room::new(MAX_USERS_PER_SHARD))).collect();
        Self { shards, most, window_secs }
    }

    pub(super) fn notice(&self, user: UserTag, ip: IpAddr, now: u32) -> Noticed {
        let place = usize::try_from(user.0.get() % SHARDS as u64).unwrap_or(0);
        let mut shard = self.shards[place].lock();
        let is_over = |seen: &Seen| now.saturating_sub(seen.since) >= self.window_secs;
        let new = || Seen { since: now, networks: Vec::new() };
        let Some(seen) = shard.entry(user, now, is_over, new) else { return Noticed::Untracked };
        if is_over(seen) {
            *seen = new();
        }
        let network = network_of(ip);
        if seen.networks.len() > self.most || seen.networks.contains(&network) {
            return Noticed::Fine;
        }
        seen.networks.push(network);
        if seen.networks.len() > self.most { Noticed::TooMany } else { Noticed::Fine }
    }
}

/// An IPv6 host changes its address within its /64 all day, for privacy.
fn network_of(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => u64::try_from(ip.to_bits() >> 64).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU64;

    fn user(number: u64) -> UserTag {
        UserTag(NonZeroU64::new(number + 1).unwrap())
    }

    fn v4(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn the_alarm_comes_once_in_a_window() {
        let addresses = Addresses::new(2, 100);
        let from = |last, now| addresses.notice(user(1), v4(last), now);
        assert_eq!([from(1, 0), from(2, 0), from(1, 50), from(2, 99)], [Noticed::Fine; 4]);
        assert_eq!((from(3, 99), from(4, 99), from(3, 99)), (Noticed::TooMany, Noticed::Fine, Noticed::Fine));
        assert_eq!(
            (from(3, 100), from(4, 100), from(5, 100)),
            (Noticed::Fine, Noticed::Fine, Noticed::TooMany)
        );
    }

    #[test]
    fn privacy_addresses_of_one_network_are_one_address() {
        let addresses = Addresses::new(1, 100);
        for last in 1..50 {
            let ip = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
            assert_eq!(addresses.notice(user(1), ip, 0), Noticed::Fine);
        }
        let other = IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, 1]);
        assert_eq!(addresses.notice(user(1), other, 0), Noticed::TooMany);
    }
}
