//! Offering peers: two windows of a side, copied as they lie there. The same work in a swarm of fifty and of a million.

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
    /// Offers up to `wanted` peers, leaving out the session itself, its user's other sessions and peers that listen
    /// nowhere.
    ///
    /// Two half-windows, each at a random place of its own half: as cheap as one window, but two peers that are neighbours
    /// in memory are not always offered together.
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
        for (start, length, share) in
            [(first, half, wanted / 2), (first + half, count - half, wanted - wanted / 2)]
        {
            let turn = start + rng.random_range(0..length);
            let before = offers.len();
            let to_the_end = turn..(start + length).min(turn + MAX_LOOKED_AT);
            let looked_at = to_the_end.len();
            self.offer_window(to_the_end, share, asking, offers);
            let missing = share - (offers.len() - before);
            self.offer_window(start..turn.min(start + MAX_LOOKED_AT - looked_at), missing, asking, offers);
        }
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
            offers.extend(&self.rows.endpoints()[run.clone()], || {
                self.rows.records()[run.clone()].iter().map(peer_id)
            });
            places.start = if run.end < most.end { run.end + 1 } else { run.end };
        }
    }

    /// The first of these places whose peer a session may not have. Whoever has another fingerprint is somebody else's.
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
