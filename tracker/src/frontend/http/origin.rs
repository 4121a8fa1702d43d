//! Whose address counts: the connection's, or what a trusted proxy says.
//!
//! A header can be written by anybody. It is believed only when the connection itself comes from a trusted proxy, and of a
//! list of hops the right-most one counts that is not a trusted proxy: everything left of it is what a stranger claims.

use std::net::IpAddr;
use std::str::FromStr;

use hyper::HeaderMap;
use hyper::header::HeaderName;

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
    #[must_use]
    pub fn client_ip(&self, connection: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut ip = connection.to_canonical();
        let Some(header) = &self.header else { return ip };
        let lines: Vec<_> = headers.get_all(header).iter().collect();
        // Hops from the nearest to the farthest: the last line's last entry was added by the proxy we talk to.
        let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops {
            if !self.trusts(ip) {
                break;
            }
            let Some(address) =
                std::str::from_utf8(hop).ok().and_then(|text| text.trim().parse::<IpAddr>().ok())
            else {
                break;
            };
            ip = address.to_canonical();
        }
        ip
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
        rules.client_ip(connection.parse().unwrap(), &headers).to_string()
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
