//! Which addresses the internet can reach. A forwarder on the internet must not send our clients to hosts of
//! their own network, and is not told a client's private address.

use std::net::IpAddr;

use crate::swarm::address::Address;

/// Whether hosts anywhere can reach this address.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !ip.octets().is_private(),
        IpAddr::V6(ip) => !ip.octets().is_private(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_special_addresses_are_told_from_public_ones() {
        for text in ["192.0.2.1", "100.128.0.1", "8.8.8.8", "2001:db8::1"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "10.1.2.3",
            "127.0.0.1",
            "192.168.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }
}
