//! Offering peers by preference: the client's own network first, private addresses left out.
//!
//! Bounded work: at most [`MAX_LOOKED_AT`] peers from a random place on are looked at, however large the
//! swarm is. In a larger one a neighbour may be missed, and comes up in another announce. The plain pick does
//! not come through here.

use rand::{Rng, RngExt};

use super::address::{Address, Endpoint};
use super::family::{Family, is_silent};
use super::pick::{MAX_LOOKED_AT, Pick};
use super::session::{Session, peer_id};
use crate::announce::{Choice, PeerList, PrivatePeers, Subnets};

impl<const N: usize> Family<N>
where
    [u8; N]: Endpoint,
{
    /// Offers up to `pick.wanted` peers as `choice` says. `home` is the client's own endpoint, when it is of
    /// this family.
    pub(super) fn choose(
        &self,
        pick: Pick<'_>,
        choice: Choice,
        home: Option<[u8; N]>,
        rng: &mut impl Rng,
        offers: &mut PeerList<N>,
    ) {
        let first = self.first(pick.side);
        let count = self.len() - first;
        if count == 0 || pick.wanted == 0 {
            return;
        }
        let near = choice.near.and_then(|subnets| home.map(|home| Near { home: home.ip(), subnets }));
        let start = rng.random_range(0..count);
        let (begin, mut others) = (offers.len(), Vec::new());
        for turn in 0..count.min(MAX_LOOKED_AT) {
            let enough =
                offers.len() - begin == pick.wanted || (near.is_none() && others.len() == pick.wanted);
            if enough {
                break;
            }
            let place = first + (start + turn) % count;
            let Some(ip) = self.offered_at(place, pick.asking, choice.private) else { continue };
            if near.as_ref().is_some_and(|near| near.holds(&ip)) {
                self.offer(place, offers);
            } else if others.len() < pick.wanted {
                others.push(place);
            }
        }
        let missing = pick.wanted - (offers.len() - begin);
        others.into_iter().take(missing).for_each(|place| self.offer(place, offers));
    }

    /// The address of the peer at one place, if the session may have it.
    fn offered_at(
        &self,
        place: usize,
        asking: &Session,
        private: PrivatePeers,
    ) -> Option<<[u8; N] as Endpoint>::Ip> {
        let endpoint = &self.rows.endpoints()[place];
        let same = self.rows.fingerprints()[place] == asking.fingerprint();
        if is_silent(endpoint) || same && asking.owns(self.rows.record(place)) {
            return None;
        }
        let ip = endpoint.ip();
        let hidden = private == PrivatePeers::Hidden && ip.is_private();
        (!hidden).then_some(ip)
    }

    fn offer(&self, place: usize, offers: &mut PeerList<N>) {
        offers.push(self.rows.endpoints()[place], peer_id(self.rows.record(place)));
    }
}

struct Near<A> {
    home: A,
    subnets: Subnets,
}

impl<A: Address> Near<A> {
    fn holds(&self, ip: &A) -> bool {
        self.home.shares_subnet(ip, self.subnets)
    }
}
