//! The client's address: the connection's own, or the one that a trusted proxy's header names.
//!
//! Any client can write a header. It is believed only when the connection itself comes from a trusted proxy,
//! and of a list of hops the right-most one counts that is not a trusted proxy: the hops left of it are a
//! stranger's claims.
//!
//! A connection to our Unix socket is trusted, since only this machine's proxy can open one. The client's
//! address then comes from the header alone, and a request without that header is refused rather than booked
//! on a made-up address.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::announce::Refusal;
use crate::arrival::Way;

/// What proxies say of the URL that they were asked for, when they ask us for another one.
const ASKED_FOR: [HeaderName; 2] =
    [HeaderName::from_static("x-forwarded-proto"), HeaderName::from_static("x-forwarded-host")];

/// Reads an address block such as `10.0.0.0/8`, or a single address.
///
/// # Errors
/// What was expected.
pub fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "expected an address block such as 10.0.0.0/8 or fd00::/8")
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Whose traffic this is, IPv4-mapped addresses unmapped.
    Address(IpAddr),
    /// A Unix socket: a proxy on this machine, which says whom it speaks for.
    LocalProxy,
}

/// Which header carries the client's address, and from whom it is believed.
#[derive(Debug, Clone, Default)]
pub struct ProxyRules {
    /// For example `x-forwarded-for`; `None` when clients connect directly.
    pub header: Option<HeaderName>,
    pub(crate) trusted: Vec<IpNet>,
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

    /// The way by the names that this tracker has in the client's URL. They need not be true: whoever invents
    /// some has more ways to his own session.
    pub(super) fn named(&self, way: Way, connection: Origin, headers: &HeaderMap) -> Way {
        let name = |header: &HeaderName| headers.get(header).map_or(&[][..], HeaderValue::as_bytes);
        let way = way.by(name(&HOST));
        if self.header.is_none() && connection != Origin::LocalProxy {
            return way;
        }
        ASKED_FOR.iter().fold(way, |way, header| way.by(name(header)))
    }

    /// Hops from the nearest to the farthest, `None` for one that is no address: the last line's last entry
    /// was added by the proxy we talk to.
    fn hops<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = Option<IpAddr>> + use<'a> {
        let lines: Vec<_> = self.header.iter().flat_map(|name| headers.get_all(name)).collect();
        let read = |hop: &[u8]| std::str::from_utf8(hop).ok()?.trim().parse().ok();
        lines.into_iter().rev().flat_map(move |line| line.as_bytes().rsplit(|byte| *byte == b',').map(read))
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(connection: &str, hops: &[&str]) -> String {
        let rules = ProxyRules {
            header: Some(HeaderName::from_static("x-forwarded-for")),
            trusted: vec![network("10.0.0.0/8").unwrap(), network("fd00::1").unwrap()],
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
    fn a_tracker_that_a_client_knows_by_several_names_is_met_several_ways() {
        let named = |connection, lines: &[(&'static str, &str)]| {
            let rules = ProxyRules { header: None, trusted: Vec::new() };
            let lines =
                lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
            rules.named(Way::default(), connection, &lines.collect())
        };
        let direct = Origin::Address([192, 0, 2, 1].into());
        let [a, b] = ["a", "b"].map(|host| named(direct, &[("host", host)]));
        assert_ne!(a, b);
        assert_eq!(a, named(direct, &[("host", "a"), ("x-forwarded-proto", "https")]), "no proxy says that");
        let [plain, sealed] = ["http", "https"]
            .map(|scheme| named(Origin::LocalProxy, &[("host", "a"), ("x-forwarded-proto", scheme)]));
        assert_ne!(plain, sealed, "a proxy ends TLS and is asked over both");
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
        assert!(network("10.0.0.0/33").is_err());
        assert!(network("example.org").is_err());
        assert!(network("0.0.0.0/0").unwrap().contains(&"8.8.8.8".parse::<IpAddr>().unwrap()));
    }
}
