//! The peers of one reply, in wire order: a compact reply copies them as they lie. Only the oldest form of an
//! HTTP reply names peers' ids, so ids are collected only for clients that ask for that form.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use contract::PeerId;

/// Whether a reply names its peers' ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PeerIds {
    /// Peers are listed without ids, which need not be looked up then.
    #[default]
    Spared,
    /// Peers are listed with their ids.
    Named,
}

/// Stands for the id of a peer that another tracker named without one. No client calls itself that.
pub const NAMELESS: PeerId = PeerId([0; 20]);

/// An IPv4 address and a port, never 0, as compact replies carry them.
pub type EndpointV4 = [u8; 6];
/// The same for IPv6.
pub type EndpointV6 = [u8; 18];

/// A peer as it is offered to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Its peer id, or [`NAMELESS`].
    pub peer_id: PeerId,
    /// Address and port at which other peers reach it.
    pub address: SocketAddr,
}

/// The peers of one reply.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    /// Peers reached over IPv4.
    pub v4: PeerList<6>,
    /// Peers reached over IPv6.
    pub v6: PeerList<18>,
}

impl Offers {
    /// None yet.
    #[must_use]
    #[inline]
    pub fn with(peer_ids: PeerIds) -> Self {
        Self { v4: PeerList::with(peer_ids), v6: PeerList::with(peer_ids) }
    }

    /// How many there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is nobody.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a peer. The id is kept only when ids are wanted.
    #[inline]
    pub fn push(&mut self, address: SocketAddr, peer_id: PeerId) {
        match address {
            SocketAddr::V4(v4) => self.v4.push(endpoint(&v4.ip().octets(), v4.port()), peer_id),
            SocketAddr::V6(v6) => self.v6.push(endpoint(&v6.ip().octets(), v6.port()), peer_id),
        }
    }

    /// Whether a peer is among them.
    #[must_use]
    #[inline]
    pub fn contains(&self, address: &SocketAddr) -> bool {
        match address {
            SocketAddr::V4(v4) => self.v4.endpoints.contains(&endpoint(&v4.ip().octets(), v4.port())),
            SocketAddr::V6(v6) => self.v6.endpoints.contains(&endpoint(&v6.ip().octets(), v6.port())),
        }
    }

    /// All of them, those of IPv4 first. Nobody has a name when ids were spared.
    pub fn iter(&self) -> impl Iterator<Item = Offer> {
        let v4 = self.v4.named().map(|(v4, peer_id)| Offer { peer_id, address: address_v4(v4) });
        let v6 = self.v6.named().map(|(v6, peer_id)| Offer { peer_id, address: address_v6(v6) });
        v4.chain(v6)
    }
}

/// Peers of one family, `N` bytes each.
#[derive(Debug, Clone, Default)]
pub struct PeerList<const N: usize> {
    endpoints: Vec<[u8; N]>,
    /// One for each endpoint, or none at all.
    ids: Vec<PeerId>,
    peer_ids: PeerIds,
}

impl<const N: usize> PeerList<N> {
    fn with(peer_ids: PeerIds) -> Self {
        Self { endpoints: Vec::new(), ids: Vec::new(), peer_ids }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// Address and port of each.
    #[must_use]
    pub fn endpoints(&self) -> &[[u8; N]] {
        &self.endpoints
    }

    /// The same as a compact reply carries it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.endpoints.as_flattened()
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, count: usize) {
        self.endpoints.reserve_exact(count);
        if self.peer_ids == PeerIds::Named {
            self.ids.reserve_exact(count);
        }
    }

    /// Adds a peer. The id is kept only when ids are wanted.
    pub fn push(&mut self, endpoint: [u8; N], peer_id: PeerId) {
        self.extend(&[endpoint], || [peer_id]);
    }

    /// Adds peers; `ids` is called only when ids are wanted, and has one for each.
    pub fn extend<I: IntoIterator<Item = PeerId>>(&mut self, endpoints: &[[u8; N]], ids: impl FnOnce() -> I) {
        self.endpoints.extend_from_slice(endpoints);
        if self.peer_ids == PeerIds::Named {
            self.ids.extend(ids());
        }
    }

    /// Keeps the first `count`.
    pub fn truncate(&mut self, count: usize) {
        self.endpoints.truncate(count);
        self.ids.truncate(count);
    }

    fn named(&self) -> impl Iterator<Item = (&[u8; N], PeerId)> {
        let ids = self.ids.iter().copied().chain(std::iter::repeat(NAMELESS));
        self.endpoints.iter().zip(ids)
    }
}

/// An address and its port in wire order. `N` is the address' length and two.
#[must_use]
pub fn endpoint<const N: usize>(ip: &[u8], port: u16) -> [u8; N] {
    let port = port.to_be_bytes();
    std::array::from_fn(|place| ip.get(place).copied().unwrap_or_else(|| port[place - ip.len()]))
}

/// The IPv4 peers of a compact reply (BEP 23). A broken tail is left out.
pub fn read_v4(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> {
    bytes.as_chunks::<6>().0.iter().map(address_v4)
}

/// The IPv6 peers of a compact reply (BEP 7). A broken tail is left out.
pub fn read_v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> {
    bytes.as_chunks::<18>().0.iter().map(address_v6)
}

fn address_v4([a, b, c, d, port @ ..]: &EndpointV4) -> SocketAddr {
    (Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes(*port)).into()
}

fn address_v6(endpoint: &EndpointV6) -> SocketAddr {
    let octets: [u8; 16] = std::array::from_fn(|place| endpoint[place]);
    (Ipv6Addr::from(octets), u16::from_be_bytes([endpoint[16], endpoint[17]])).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_kept_in_wire_order_and_read_back_with_their_names() {
        let mut offers = Offers::with(PeerIds::Named);
        let (v4, v6) = ("192.0.2.1:6881".parse().unwrap(), "[2001:db8::7]:6882".parse().unwrap());
        offers.push(v6, PeerId([6; 20]));
        offers.push(v4, PeerId([4; 20]));
        assert_eq!(offers.v4.bytes(), [192, 0, 2, 1, 0x1a, 0xe1]);
        assert_eq!(offers.v6.bytes().last_chunk(), Some(&[7, 0x1a, 0xe2]));
        let read: Vec<Offer> = offers.iter().collect();
        assert_eq!(read[0], Offer { peer_id: PeerId([4; 20]), address: v4 });
        assert_eq!(read[1], Offer { peer_id: PeerId([6; 20]), address: v6 });
        assert_eq!(read_v4(&[offers.v4.bytes(), b"tail"].concat()).collect::<Vec<_>>(), [v4]);
        assert_eq!(read_v6(offers.v6.bytes()).collect::<Vec<_>>(), [v6]);
        assert!(offers.contains(&v4) && offers.contains(&v6));
        assert!(!offers.contains(&"192.0.2.1:6882".parse().unwrap()));
    }

    #[test]
    fn ids_that_nobody_wants_are_not_kept() {
        let mut offers = Offers::default();
        offers.push("192.0.2.1:6881".parse().unwrap(), PeerId([4; 20]));
        assert_eq!(offers.iter().next().map(|offer| offer.peer_id), Some(NAMELESS));
    }
}
