//! What the choice of peers asks about an address: is it in that network, and can the internet reach it?

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::announce::{EndpointV4, EndpointV6, Subnets};

/// Four or sixteen address bytes.
pub(crate) trait Address: Copy {
    /// Whether both are in one network of the size that counts for this family.
    fn shares_subnet(&self, other: &Self, subnets: Subnets) -> bool;

    /// Whether it is meant for one site, link or host only, or for nobody.
    fn is_private(&self) -> bool;
}

/// An address and a port in wire order.
pub(crate) trait Endpoint: Copy {
    /// The address alone.
    type Ip: Address;

    fn ip(&self) -> Self::Ip;
}

impl Endpoint for EndpointV4 {
    type Ip = [u8; 4];

    fn ip(&self) -> [u8; 4] {
        std::array::from_fn(|place| self[place])
    }
}

impl Endpoint for EndpointV6 {
    type Ip = [u8; 16];

    fn ip(&self) -> [u8; 16] {
        std::array::from_fn(|place| self[place])
    }
}

impl Address for [u8; 4] {
    fn shares_subnet(&self, other: &Self, subnets: Subnets) -> bool {
        let differing = u32::from_be_bytes(*self) ^ u32::from_be_bytes(*other);
        differing.leading_zeros() >= u32::from(subnets.ipv4_prefix)
    }

    fn is_private(&self) -> bool {
        let ip = Ipv4Addr::from(*self);
        // 100.64/10 lies behind a provider's address translation (RFC 6598).
        let shared = self[0] == 100 && self[1] & 0b1100_0000 == 64;
        ip.is_private() || ip.is_loopback() || ip.is_link_local() || self[0] == 0 || self[0] >= 224 || shared
    }
}

impl Address for [u8; 16] {
    fn shares_subnet(&self, other: &Self, subnets: Subnets) -> bool {
        let differing = u128::from_be_bytes(*self) ^ u128::from_be_bytes(*other);
        differing.leading_zeros() >= u32::from(subnets.ipv6_prefix)
    }

    fn is_private(&self) -> bool {
        let ip = Ipv6Addr::from(*self);
        ip.is_loopback()
            || ip.is_unspecified()
            || ip.is_multicast()
            || ip.is_unicast_link_local()
            || ip.is_unique_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(text: &str) -> [u8; 4] {
        text.parse::<Ipv4Addr>().unwrap().octets()
    }

    fn v6(text: &str) -> [u8; 16] {
        text.parse::<Ipv6Addr>().unwrap().octets()
    }

    #[test]
    fn private_is_what_the_internet_cannot_reach() {
        for ip in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.0.9",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(v4(ip).is_private(), "{ip}");
        }
        for ip in ["8.8.8.8", "172.32.0.1", "100.63.0.1", "100.128.0.1", "192.0.2.1"] {
            assert!(!v4(ip).is_private(), "{ip}");
        }
        for ip in ["::1", "::", "fe80::1", "febf::1", "fc00::1", "fdff::1", "ff02::1"] {
            assert!(v6(ip).is_private(), "{ip}");
        }
        assert!(!v6("2001:db8::1").is_private());
    }

    #[test]
    fn a_subnet_is_as_large_as_its_prefix_says() {
        let near = |ipv4_prefix, other| {
            v4("192.0.2.1").shares_subnet(&v4(other), Subnets { ipv4_prefix, ipv6_prefix: 64 })
        };
        assert!(near(24, "192.0.2.200") && !near(24, "192.0.3.1") && near(23, "192.0.3.1"));
        assert!(near(32, "192.0.2.1") && !near(32, "192.0.2.0") && near(1, "128.0.0.1"));
        let near = |ipv6_prefix, other| {
            v6("2001:db8::1").shares_subnet(&v6(other), Subnets { ipv4_prefix: 24, ipv6_prefix })
        };
        assert!(near(64, "2001:db8::ffff") && !near(64, "2001:db8:0:1::1") && near(63, "2001:db8:0:1::1"));
        assert!(near(128, "2001:db8::1") && !near(128, "2001:db8::2"));
    }
}
