//! Offering peers by preference: the client's own network first, private addresses left out.
//!
//! Bounded work: at most [`MAX_LOOKED_AT`] peers from a random place on are looked at, however large the swarm is. In a larger one
//! a neighbour may be missed, and comes up in another announce. The plain pick does not come through here.

use rand::{Rng, RngExt};

use super::address::Address;
use super::family::{Family, Pick};
use crate::announce::{Choice, Offer, PrivatePeers, Subnets};

/// A few microseconds, and many times the peers of any reply.
pub(super) const MAX_LOOKED_AT: usize = 1024;

impl<A: Address> Family<A> {
    /// Offers up to `pick.wanted` peers as `choice` says. `home` is the client's address, when it is of this family.
    pub(super) fn choose(
        &self,
        pick: Pick<'_>,
        choice: Choice,
        home: Option<A>,
        rng: &mut impl Rng,
        offers: &mut Vec<Offer<A>>,
    ) {
        let first = self.first(pick.side);
        let count = self.len() - first;
        if count == 0 || pick.wanted == 0 {
            return;
        }
        let near = choice.near.and_then(|subnets| home.map(|home| Near { home, subnets }));
        let start = rng.random_range(0..count);
        let (begin, mut others) = (offers.len(), Vec::new());
        for turn in 0..count.min(MAX_LOOKED_AT) {
            let enough =
                offers.len() - begin == pick.wanted || (near.is_none() && others.len() == pick.wanted);
            if enough {
                break;
            }
            let Some(offer) = self.offer_at(first + (start + turn) % count, pick.asking) else { continue };
            if choice.private == PrivatePeers::Hidden && offer.ip.is_private() {
                continue;
            }
            if near.as_ref().is_some_and(|near| near.holds(&offer.ip)) {
                offers.push(offer);
            } else if others.len() < pick.wanted {
                others.push(offer);
            }
        }
        let missing = pick.wanted - (offers.len() - begin);
        offers.extend(others.into_iter().take(missing));
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
