//! The peers that one client is offered of a torrent: how many of each family, and by which rule.

use std::net::{IpAddr, SocketAddr};

use rand::Rng;

use super::family::Side;
use super::pick::Pick;
use super::session::Session;
use super::store::Visit;
use super::torrent::Torrent;
use crate::announce::{Alone, EndpointV4, EndpointV6, Families, Offers, PrivatePeers, Role, endpoint};

impl Torrent {
    pub(super) fn offer(&self, session: &Session, visit: &Visit, rng: &mut impl Rng, offers: &mut Offers) {
        let side = if visit.role == Role::Seeder { Side::Leechers } else { Side::Everybody };
        let in_v4 = self.v4.len() - self.v4.first(side);
        let in_v6 = self.v6().map_or(0, |v6| v6.len() - v6.first(side));
        let (for_v4, for_v6) = match (visit.families, visit.ip.is_ipv4()) {
            (Families::Own, true) => (visit.num_want, 0),
            (Families::Own, false) => (0, visit.num_want),
            (Families::Both, _) => share(visit.num_want, in_v4, in_v6),
        };
        let pick = |wanted| Pick { wanted, side, asking: session };
        if visit.choice.near.is_none() && visit.choice.private == PrivatePeers::Offered {
            self.v4.pick(pick(for_v4), rng, &mut offers.v4);
            if let Some(v6) = self.v6() {
                v6.pick(pick(for_v6), rng, &mut offers.v6);
            }
        } else {
            let (home_v4, home_v6) = homes(visit.ip, visit.port);
            self.v4.choose(pick(for_v4), visit.choice, home_v4, rng, &mut offers.v4);
            if let Some(v6) = self.v6() {
                v6.choose(pick(for_v6), visit.choice, home_v6, rng, &mut offers.v6);
            }
        }
        if visit.choice.alone == Alone::Itself && offers.is_empty() {
            offer_itself(visit, offers);
        }
    }
}

/// Where the client is reached, as each family sees it.
fn homes(ip: IpAddr, port: u16) -> (Option<EndpointV4>, Option<EndpointV6>) {
    match ip {
        IpAddr::V4(ip) => (Some(endpoint(&ip.octets(), port)), None),
        IpAddr::V6(ip) => (None, Some(endpoint(&ip.octets(), port))),
    }
}

/// A client that wants peers and listens is its own only peer.
fn offer_itself(visit: &Visit, offers: &mut Offers) {
    if visit.num_want > 0 && visit.port != 0 {
        offers.push(SocketAddr::new(visit.ip, visit.port), visit.peer_id);
    }
}

/// Splits `wanted` between the families in proportion to what each has, giving neither more than it has.
fn share(wanted: usize, in_v4: usize, in_v6: usize) -> (usize, usize) {
    let all = in_v4 + in_v6;
    if all <= wanted {
        return (in_v4, in_v6);
    }
    // A family that has peers gets at least one place, so that a rare family is not invisible in a large
    // swarm.
    let floor = usize::from(in_v6 > 0 && wanted > 1);
    let for_v6 = (wanted * in_v6 / all).clamp(floor, wanted - usize::from(in_v4 > 0 && wanted > 1));
    (wanted - for_v6, for_v6)
}
