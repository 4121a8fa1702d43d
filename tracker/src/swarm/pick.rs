//! Offering peers: two windows of a side, copied as they lie there. The same work in a swarm of fifty and of
//! a million.

use std::ops::Range;

use rand::{Rng, RngExt};

use super::family::{Family, Side, is_silent};
use super::session::{Session, peer_id};
use crate::announce::PeerList;

/// Places looked at in one half of a swarm at most. Matters only where hundreds in a row may not be offered.
pub(super) const MAX_LOOKED_AT: usize = 1024;

/// What one session asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pick<'a> {
    pub(super) wanted: usize,
    pub(super) side: Side,
    pub(super) asking: &'a Session,
}

impl<const N: usize> Family<N> {
    /// Offers up to `wanted` peers, leaving out the session itself, its user's other sessions and peers that
    /// listen nowhere.
    ///
    /// Two half-windows, each at a random place of its own half: as cheap as one window, but two peers that
    /// are neighbours in memory are not always offered together.
    pub(super) fn pick(&self, pick: Pick<'_>, rng: &mut impl Rng, offers: &mut PeerList<N>) {
        let Pick { wanted, side, asking } = pick;
        let first = self.first(side);
        let count = self.len() - first;
        if wanted == 0 || count == 0 {
            return;
        }
        offers.reserve(wanted.min(count));
        if count <= wanted {
            return self.offer_window(first..self.len(), wanted, asking, offers);
        }
        let half = count / 2;
        let mut ring = |start: usize, length: usize, share| {
            let turn = start + rng.random_range(0..length);
            Ring { places: start..start + length, turn, share }
        };
        let rings = [ring(first, half, wanted / 2), ring(first + half, count - half, wanted - wanted / 2)];
        if !self.offer_at_once(&rings, asking, offers) {
            rings.iter().for_each(|ring| self.offer_ring(ring, asking, offers));
        }
    }

    /// Offers the windows if nobody in them must be left out. They are copied before anybody looks whether
    /// that is so: the memory that all of it takes is then on its way at the same time, which is what a pick
    /// spends most of its time on.
    fn offer_at_once(&self, rings: &[Ring; 2], asking: &Session, offers: &mut PeerList<N>) -> bool {
        let before = offers.len();
        let windows = || rings.iter().flat_map(Ring::windows);
        windows().for_each(|window| self.copy(window, offers));
        let alright = windows().all(|window| self.first_withheld(window, asking).is_none());
        if !alright {
            offers.truncate(before);
        }
        alright
    }

    /// Walks round a half, past those who must be left out.
    fn offer_ring(&self, ring: &Ring, asking: &Session, offers: &mut PeerList<N>) {
        let Ring { places, turn, share } = ring;
        let full = offers.len() + share;
        let to_the_end = *turn..places.end.min(turn + MAX_LOOKED_AT);
        let room = MAX_LOOKED_AT - to_the_end.len();
        self.offer_window(to_the_end, *share, asking, offers);
        let missing = full - offers.len();
        self.offer_window(places.start..(*turn).min(places.start + room), missing, asking, offers);
    }

    /// Copies runs of peers between those that may not be offered, until `wanted` are there.
    fn offer_window(
        &self,
        mut places: Range<usize>,
        wanted: usize,
        asking: &Session,
        offers: &mut PeerList<N>,
    ) {
        let full = offers.len() + wanted;
        while !places.is_empty() && offers.len() < full {
            let most = places.start..places.end.min(places.start + full - offers.len());
            let run = most.start..self.first_withheld(most.clone(), asking).unwrap_or(most.end);
            self.copy(run.clone(), offers);
            places.start = if run.end < most.end { run.end + 1 } else { run.end };
        }
    }

    fn copy(&self, run: Range<usize>, offers: &mut PeerList<N>) {
        offers.extend(&self.rows.endpoints()[run.clone()], || self.rows.records()[run].iter().map(peer_id));
    }

    /// The first of these places whose peer a session may not have. Whoever has another fingerprint is
    /// somebody else's.
    fn first_withheld(&self, places: Range<usize>, asking: &Session) -> Option<usize> {
        let (begin, records) = (places.start, self.rows.records());
        let own = memchr::memchr_iter(asking.fingerprint(), &self.rows.fingerprints()[places.clone()])
            .map(|place| begin + place)
            .find(|place| asking.owns(&records[*place]));
        if self.all_listen() {
            return own;
        }
        let endpoints = &self.rows.endpoints()[places.start..own.unwrap_or(places.end)];
        let silent = endpoints.iter().position(|endpoint| is_silent(endpoint));
        silent.map(|place| begin + place).or(own)
    }
}

/// Half of a swarm, walked round from `turn` until `share` peers are offered: at most as many as there are.
struct Ring {
    places: Range<usize>,
    turn: usize,
    share: usize,
}

impl Ring {
    /// The places of the first `share`.
    fn windows(&self) -> [Range<usize>; 2] {
        let to_the_end = self.turn..self.places.end.min(self.turn + self.share);
        let rest = self.share - to_the_end.len();
        [to_the_end, self.places.start..self.places.start + rest]
    }
}
