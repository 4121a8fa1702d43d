//! One torrent: its peers in both families, and counts in which a client on two addresses is one client.

use std::net::IpAddr;

use rand::Rng;

use super::family::{Family, Pick, Session, Side, Was};
use super::sighting::Sighting;
use super::store::Visit;
use crate::announce::{Alone, Counts, Families, Offer, Offers, PrivatePeers, Role};

#[derive(Debug, Default)]
pub(super) struct Torrent {
    v4: Family<[u8; 4]>,
    /// Boxed: most torrents have no IPv6 peer, and then this is one word.
    v6: Option<Box<Family<[u8; 16]>>>,
    /// Sessions that are in both families, by side: the counts subtract them.
    dual_seeders: u32,
    dual_leechers: u32,
    completed: u32,
}

impl Torrent {
    pub(super) fn visit(
        &mut self,
        visit: &Visit,
        now: u32,
        rng: &mut impl Rng,
        offers: &mut Offers,
    ) -> Counts {
        let session = Session { peer_id: visit.peer_id, user: visit.user };
        if visit.leaving {
            self.leave(&session);
            return self.counts();
        }
        if visit.completed && !self.seeds(&session) {
            // A client repeats `completed` until it succeeds: only the step from leecher to seeder counts.
            self.completed = self.completed.saturating_add(1);
        }
        self.enter(&session, (visit.ip, visit.port), visit.role, now);
        self.offer(&session, visit, rng, offers);
        self.counts()
    }

    /// Takes in what somebody else saw at the time `seen`. What is known from later stays. Returns whether anything changed.
    pub(super) fn learn(&mut self, sighting: &Sighting, seen: u32) -> bool {
        let session = Session { peer_id: sighting.peer_id, user: sighting.user };
        let (here, there) = self.last_seen(&session, sighting.ip);
        if sighting.leaving {
            let last = here.max(there);
            let leaves = last.is_some_and(|last| last <= seen);
            if leaves {
                self.leave(&session);
            }
            return leaves;
        }
        if here > Some(seen) {
            return false;
        }
        if sighting.completed && !self.seeds(&session) {
            self.completed = self.completed.saturating_add(1);
        }
        // On its other address it may have been seen since: then the side on which it stands is known better.
        let newer = if there > Some(seen) { self.role_of(&session) } else { None };
        self.enter(&session, (sighting.ip, sighting.port), newer.unwrap_or(sighting.role), seen);
        true
    }

    pub(super) fn counts(&self) -> Counts {
        let v6 = self.v6.as_deref();
        let seeders = self.v4.seeders() + v6.map_or(0, Family::seeders);
        let leechers = self.v4.leechers() + v6.map_or(0, Family::leechers);
        Counts {
            complete: narrow(seeders) - self.dual_seeders,
            incomplete: narrow(leechers) - self.dual_leechers,
            downloaded: self.completed,
        }
    }

    /// Endpoints held, by family.
    pub(super) fn endpoints(&self) -> (usize, usize) {
        (self.v4.len(), self.v6.as_ref().map_or(0, |v6| v6.len()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_none()
    }

    /// Forgets every peer last seen before `oldest`. Returns how many.
    pub(super) fn expire(&mut self, oldest: u32) -> usize {
        let mut expired = 0;
        let mut from = usize::MAX;
        while let Some((session, was, place)) = self.v4.expire_one(oldest, from) {
            self.gone_from_one(&session, was, |torrent| torrent.v6.as_deref_mut().map(Twin::V6));
            (from, expired) = (place, expired + 1);
        }
        from = usize::MAX;
        while let Some((session, was, place)) = self.v6.as_mut().and_then(|v6| v6.expire_one(oldest, from)) {
            self.gone_from_one(&session, was, |torrent| Some(Twin::V4(&mut torrent.v4)));
            (from, expired) = (place, expired + 1);
        }
        if expired > 0 {
            self.shrink();
        }
        expired
    }

    fn seeds(&self, session: &Session) -> bool {
        self.role_of(session) == Some(Role::Seeder)
    }

    fn role_of(&self, session: &Session) -> Option<Role> {
        self.v4.role_of(session).or_else(|| self.v6.as_ref()?.role_of(session))
    }

    /// When the session was last seen in this address' family, and when in the other.
    fn last_seen(&self, session: &Session, ip: IpAddr) -> (Option<u32>, Option<u32>) {
        let (v4, v6) = (self.v4.seen(session), self.v6.as_ref().and_then(|v6| v6.seen(session)));
        if ip.is_ipv4() { (v4, v6) } else { (v6, v4) }
    }

    fn leave(&mut self, session: &Session) {
        let from_v4 = self.v4.remove(session);
        let from_v6 = self.v6.as_mut().and_then(|v6| v6.remove(session));
        if let (Some(was), Some(_)) = (from_v4, from_v6) {
            *self.dual(was.role) -= 1;
        }
        self.shrink();
    }

    fn enter(&mut self, session: &Session, (ip, port): (IpAddr, u16), role: Role, seen: u32) {
        let was = match ip {
            IpAddr::V4(ip) => self.v4.upsert(*session, ip.octets(), port, role, seen),
            IpAddr::V6(ip) => self.v6.get_or_insert_default().upsert(*session, ip.octets(), port, role, seen),
        };
        match was {
            Some(was) if was.dual => {
                *self.dual(was.role) -= 1;
                self.twin(ip).set_role(session, role);
                *self.dual(role) += 1;
            }
            Some(_) => {}
            None if self.twin(ip).role_of(session).is_some() => {
                self.twin(ip).set_role(session, role);
                self.v4.set_dual(session, true);
                if let Some(v6) = &mut self.v6 {
                    v6.set_dual(session, true);
                }
                *self.dual(role) += 1;
            }
            None => {}
        }
    }

    /// After a session expired in one family: if it was in both, it is now in `other` alone.
    fn gone_from_one(&mut self, session: &Session, was: Was, other: impl Fn(&mut Self) -> Option<Twin<'_>>) {
        if was.dual {
            *self.dual(was.role) -= 1;
            if let Some(mut twin) = other(self) {
                twin.set_dual(session, false);
            }
        }
    }

    fn offer(&self, session: &Session, visit: &Visit, rng: &mut impl Rng, offers: &mut Offers) {
        let side = if visit.role == Role::Seeder { Side::Leechers } else { Side::Everybody };
        let in_v4 = self.v4.len() - self.v4.first(side);
        let in_v6 = self.v6.as_ref().map_or(0, |v6| v6.len() - v6.first(side));
        let (for_v4, for_v6) = match (visit.families, visit.ip.is_ipv4()) {
            (Families::Own, true) => (visit.num_want, 0),
            (Families::Own, false) => (0, visit.num_want),
            (Families::Both, _) => share(visit.num_want, in_v4, in_v6),
        };
        let pick = |wanted| Pick { wanted, side, asking: session };
        if visit.choice.near.is_none() && visit.choice.private == PrivatePeers::Offered {
            self.v4.pick(pick(for_v4), rng, &mut offers.v4);
            if let Some(v6) = &self.v6 {
                v6.pick(pick(for_v6), rng, &mut offers.v6);
            }
        } else {
            let (home_v4, home_v6) = homes(visit.ip);
            self.v4.choose(pick(for_v4), visit.choice, home_v4, rng, &mut offers.v4);
            if let Some(v6) = &self.v6 {
                v6.choose(pick(for_v6), visit.choice, home_v6, rng, &mut offers.v6);
            }
        }
        if visit.choice.alone == Alone::Itself && offers.v4.is_empty() && offers.v6.is_empty() {
            offer_itself(visit, offers);
        }
    }

    fn dual(&mut self, role: Role) -> &mut u32 {
        match role {
            Role::Seeder => &mut self.dual_seeders,
            Role::Leecher => &mut self.dual_leechers,
        }
    }

    fn twin(&mut self, ip: IpAddr) -> Twin<'_> {
        match (ip.is_ipv4(), &mut self.v6) {
            (true, Some(v6)) => Twin::V6(v6),
            (true, None) => Twin::Nobody,
            (false, _) => Twin::V4(&mut self.v4),
        }
    }

    fn shrink(&mut self) {
        self.v4.shrink();
        if let Some(v6) = &mut self.v6 {
            v6.shrink();
            if v6.is_empty() {
                self.v6 = None;
            }
        }
    }
}

/// The family in which an announce did not arrive.
enum Twin<'a> {
    V4(&'a mut Family<[u8; 4]>),
    V6(&'a mut Family<[u8; 16]>),
    Nobody,
}

impl Twin<'_> {
    fn role_of(&self, session: &Session) -> Option<Role> {
        match self {
            Self::V4(family) => family.role_of(session),
            Self::V6(family) => family.role_of(session),
            Self::Nobody => None,
        }
    }

    fn set_role(&mut self, session: &Session, role: Role) {
        match self {
            Self::V4(family) => family.set_role(session, role),
            Self::V6(family) => family.set_role(session, role),
            Self::Nobody => {}
        }
    }

    fn set_dual(&mut self, session: &Session, dual: bool) {
        match self {
            Self::V4(family) => drop(family.set_dual(session, dual)),
            Self::V6(family) => drop(family.set_dual(session, dual)),
            Self::Nobody => {}
        }
    }
}

/// The client's address as each family sees it.
fn homes(ip: IpAddr) -> (Option<[u8; 4]>, Option<[u8; 16]>) {
    match ip {
        IpAddr::V4(ip) => (Some(ip.octets()), None),
        IpAddr::V6(ip) => (None, Some(ip.octets())),
    }
}

/// A client that wants peers and listens is its own only peer.
fn offer_itself(visit: &Visit, offers: &mut Offers) {
    let &Visit { peer_id, ip, port, num_want, .. } = visit;
    if num_want == 0 || port == 0 {
        return;
    }
    match ip {
        IpAddr::V4(ip) => offers.v4.push(Offer { peer_id, ip: ip.octets(), port }),
        IpAddr::V6(ip) => offers.v6.push(Offer { peer_id, ip: ip.octets(), port }),
    }
}

/// Splits `wanted` between the families in proportion to what each has, giving neither more than it has.
fn share(wanted: usize, in_v4: usize, in_v6: usize) -> (usize, usize) {
    let all = in_v4 + in_v6;
    if all <= wanted {
        return (in_v4, in_v6);
    }
    // A family that has peers gets at least one place, so that a rare family is not invisible in a large swarm.
    let floor = usize::from(in_v6 > 0 && wanted > 1);
    let for_v6 = (wanted * in_v6 / all).clamp(floor, wanted - usize::from(in_v4 > 0 && wanted > 1));
    (wanted - for_v6, for_v6)
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
