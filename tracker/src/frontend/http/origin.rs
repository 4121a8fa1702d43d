//! Whose address counts: the connection's, or what a trusted proxy says.
//!
//! A header can be written by anybody. It is believed only when the connection itself comes from a trusted
//! proxy, and of a list of hops the right-most one counts that is not a trusted proxy: everything left of it
//! is what a stranger claims.

use std::net::IpAddr;
use std::str::FromStr;

use hyper::HeaderMap;
use hyper::header::HeaderName;

use crate::announce::Refusal;

/// An address block such as `10.0.0.0/8`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedNetwork {
    address: IpAddr,
    prefix_bits: u32,
}

impl FromStr for TrustedNetwork {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "expected an address block such as 10.0.0.0/8 or fd00::/8";
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| WANTED)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.map_or(Ok(width), str::parse).map_err(|_| WANTED)?;
        if prefix_bits > width { Err(WANTED) } else { Ok(Self { address, prefix_bits }) }
    }
}

impl TrustedNetwork {
    fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(block), IpAddr::V4(ip)) => {
                (u32::from(block) ^ u32::from(ip)).checked_shr(32 - self.prefix_bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(block), IpAddr::V6(ip)) => {
                (u128::from(block) ^ u128::from(ip)).checked_shr(128 - self.prefix_bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This address.
    Address(IpAddr),
    /// A Unix socket: a proxy on this machine, which says whom it speaks for.
    LocalProxy,
}

/// Which header carries the client's address, and from whom it is believed.
#[derive(Debug, Clone, Default)]
pub struct ProxyRules {
    /// For example `x-forwarded-for`; `None` when clients connect directly.
    pub header: Option<HeaderName>,
    /// The proxies.
    pub trusted: Vec<TrustedNetwork>,
}

impl ProxyRules {
    /// The client's address, IPv4-mapped ones mapped to IPv4.
    ///
    /// # Errors
    /// When only a local proxy knows it and does not say.
    pub fn client_ip(&self, connection: Origin, headers: &HeaderMap) -> Result<IpAddr, Refusal> {
        let mut ip = match (connection, &self.header) {
            (Origin::Address(ip), None) => return Ok(ip.to_canonical()),
            (Origin::Address(ip), Some(_)) => Some(ip.to_canonical()),
            (Origin::LocalProxy, _) => None,
        };
        for hop in self.hops(headers) {
            // The local proxy itself is trusted; so its word about the next hop counts.
            if ip.is_some_and(|ip| !self.trusts(ip)) {
                break;
            }
            let Some(address) = hop else { break };
            ip = Some(address.to_canonical());
        }
        ip.ok_or_else(|| Refusal::because("the proxy in front of this tracker does not say who you are"))
    }

    /// Hops from the nearest to the farthest, `None` for one that is no address: the last line's last entry
    /// was added by the proxy we talk to.
    fn hops<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = Option<IpAddr>> + use<'a> {
        let lines: Vec<_> = self.header.iter().flat_map(|name| headers.get_all(name)).collect();
        let read = |hop: &[u8]| std::str::from_utf8(hop).ok()?.trim().parse().ok();
        lines.into_iter().rev().flat_map(move |line| line.as_bytes().rsplit(|byte| *byte == b',').map(read))
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(connection: &str, hops: &[&str]) -> String {
        let rules = ProxyRules {
            header: Some(HeaderName::from_static("x-forwarded-for")),
            trusted: vec!["10.0.0.0/8".parse().unwrap(), "fd00::1".parse().unwrap()],
        };
        let mut headers = HeaderMap::new();
        for line in hops {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let origin = connection.parse().map_or(Origin::LocalProxy, Origin::Address);
        rules
            .client_ip(origin, &headers)
            .map_or_else(|refusal| refusal.reason.into_owned(), |ip| ip.to_string())
    }

    #[test]
    fn a_proxy_on_a_unix_socket_is_believed_and_must_say_something() {
        assert_eq!(client("unix", &["1.1.1.1, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("unix", &["192.0.2.1, 10.0.0.7"]), "192.0.2.1");
        for silent in [&[][..], &["unknown"]] {
            assert!(client("unix", silent).contains("does not say who you are"));
        }
    }

    #[test]
    fn a_stranger_cannot_claim_an_address() {
        assert_eq!(client("198.51.100.9", &["192.0.2.1"]), "198.51.100.9");
    }

    #[test]
    fn the_right_most_untrusted_hop_counts() {
        assert_eq!(client("10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 192.0.2.1, 10.9.9.9"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("fd00::1", &["2001:db8::5"]), "2001:db8::5");
    }

    #[test]
    fn without_a_usable_header_the_proxy_itself_counts() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["unknown"]), "10.0.0.1");
    }

    #[test]
    fn mapped_addresses_are_unmapped() {
        assert_eq!(client("::ffff:192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(client("::ffff:10.0.0.1", &["::ffff:192.0.2.2"]), "192.0.2.2");
    }

    #[test]
    fn blocks_are_read_strictly() {
        assert!("10.0.0.0/33".parse::<TrustedNetwork>().is_err());
        assert!("example.org".parse::<TrustedNetwork>().is_err());
        assert!("0.0.0.0/0".parse::<TrustedNetwork>().unwrap().contains("8.8.8.8".parse().unwrap()));
    }
}
