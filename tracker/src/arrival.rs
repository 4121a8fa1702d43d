//! When a request reached this machine, from whom, and which way. Nothing that happens to it later makes it
//! newer, and reports of one session that came different ways are in no order (docs/contract.md).

use std::net::IpAddr;
use std::time::Instant;

use claims::Path;

/// A bit pattern without a pattern: the fraction of pi.
const PI: u64 = 0x243f_6a88_85a3_08d3;

/// When a request reached this machine, from whom, and which way.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// By the clock that nobody sets, because clocks that are set would reorder reports.
    pub at: Instant,
    /// The client's own address, IPv4-mapped ones mapped to IPv4.
    pub ip: IpAddr,
    /// How the client sees this tracker.
    pub way: Way,
}

/// The beginning of a [`Way`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// UDP.
    Udp,
}

/// A hash of how a client sees this tracker: transport, names, and the client's own address.
///
/// Clients have one announce under way for each URL in their list of trackers and each address of their own,
/// so whatever tells two URLs apart belongs in here: two ways taken for one would put reports in an order
/// that they do not have. Without a secret, because a tracker that was restarted must find the same; and
/// cheap, because whoever makes two ways of his own collide confuses nothing but his own session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way(u64);

impl Way {
    /// From this address over this transport.
    #[must_use]
    pub fn over(transport: Transport, ip: IpAddr) -> Self {
        let transport = fold(transport as u64);
        match ip {
            IpAddr::V4(ip) => Self(fold(transport ^ u64::from(ip.to_bits()))),
            IpAddr::V6(ip) => Self(transport).by(&ip.octets()),
        }
    }

    /// With one more thing that tells the tracker's URL from others.
    #[must_use]
    pub fn by(self, name: &[u8]) -> Self {
        let (words, rest) = name.as_chunks();
        let last = rest.iter().fold(name.len() as u64, |word, byte| word << 8 | u64::from(*byte));
        let begun = fold(self.0 ^ last);
        Self(words.iter().fold(begun, |hash, word| fold(hash ^ u64::from_le_bytes(*word))))
    }

    /// The same way to this tracker, among all of the site's.
    #[must_use]
    pub fn to(self, tracker: u64) -> Path {
        Path((self.by(&tracker.to_le_bytes()).0 >> 32) as u32)
    }
}

/// Both halves of a product: every bit has its effect on every other one.
fn fold(word: u64) -> u64 {
    let (low, high) = (word ^ PI).carrying_mul(PI.rotate_left(32) | 1, 0);
    low ^ high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_tells_two_urls_apart_makes_another_way_and_a_restart_does_not() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let way = |transport, from, host: &str| Way::over(transport, ip(from)).by(host.as_bytes());
        let ways = [
            way(Transport::Http, "192.0.2.1", "a"),
            way(Transport::Https, "192.0.2.1", "a"),
            way(Transport::Http, "192.0.2.2", "a"),
            way(Transport::Http, "2001:db8::1", "a"),
            way(Transport::Http, "192.0.2.1", "b"),
            way(Transport::Http, "192.0.2.1", "a").by(b""),
        ];
        let paths: std::collections::HashSet<_> =
            ways.iter().flat_map(|way| [way.to(1), way.to(2)]).collect();
        assert_eq!(paths.len(), 12);
        // Another release must find the paths of a session that has been going on for weeks.
        assert_eq!(ways[0].to(1), Path(2_045_795_414));
    }
}
