//! One torrent: its peers in both families, and counts in which a client on two addresses is one client.

use std::net::IpAddr;

use contract::{AddressFamily, InfoHash};
use rand::Rng;

use super::family::{Family, Was};
use super::session::Session;
use super::sighting::Sighting;
use super::store::Visit;
use super::sweep::Walk;
use crate::announce::{Counts, Offers, Role, endpoint};

#[derive(Debug)]
pub(super) struct Torrent {
    pub(super) info_hash: InfoHash,
    completed: u32,
    pub(super) v4: Family<6>,
    /// Boxed: most torrents have no IPv6 peer, and then this is one word.
    v6: Option<Box<Beside>>,
}

/// What a torrent with IPv6 peers has beside its IPv4 peers.
#[derive(Debug, Default)]
struct Beside {
    peers: Family<18>,
    /// Sessions that are in both families, by side: the counts subtract them.
    dual_seeders: u32,
    dual_leechers: u32,
}

impl Torrent {
    pub(super) fn new(info_hash: InfoHash) -> Self {
        Self { info_hash, completed: 0, v4: Family::default(), v6: None }
    }

    /// Has the memory fetched that a visit begins with.
    pub(super) fn prefetch(&self) {
        self.v4.rows.prefetch();
    }

    pub(super) fn visit(
        &mut self,
        visit: &Visit,
        now: u32,
        rng: &mut impl Rng,
        offers: &mut Offers,
    ) -> Counts {
        let session = Session::new(visit.peer_id, visit.user);
        if visit.leaving {
            self.leave(&session);
            return self.counts();
        }
        if visit.completed && !self.seeds(&session) {
            // A client repeats `completed` until it succeeds: only the step from leecher to seeder counts.
            self.completed = self.completed.saturating_add(1);
        }
        // Before it enters, where it would be left out anyway: then the memory that an offer needs is on its
        // way while it is searched for.
        self.offer(&session, visit, rng, offers);
        self.enter(&session, (visit.ip, visit.port), visit.role, now);
        self.counts()
    }

    /// Takes in what somebody else saw at the time `seen`. What is known from later stays. Returns whether
    /// anything changed.
    pub(super) fn learn(&mut self, sighting: &Sighting, seen: u32) -> bool {
        let session = Session::new(sighting.peer_id, sighting.user);
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
        let (mut complete, mut incomplete) = (self.v4.seeders(), self.v4.leechers());
        if let Some(v6) = &self.v6 {
            complete += v6.peers.seeders() - v6.dual_seeders as usize;
            incomplete += v6.peers.leechers() - v6.dual_leechers as usize;
        }
        Counts { complete: narrow(complete), incomplete: narrow(incomplete), downloaded: self.completed }
    }

    /// Endpoints held, by family.
    pub(super) fn endpoints(&self) -> (usize, usize) {
        (self.v4.len(), self.v6().map_or(0, Family::len))
    }

    /// Endpoints held.
    pub(super) fn len(&self) -> usize {
        let (v4, v6) = self.endpoints();
        v4 + v6
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_none()
    }

    /// Goes on with a walk through all peers, and forgets those last seen before `oldest`. Returns how many.
    pub(super) fn expire(&mut self, oldest: u32, walk: &mut Walk) -> usize {
        let mut expired = 0;
        let mut places = Walk::next(&mut walk.v4, self.v4.len());
        while let Some((session, was, place)) = self.v4.expire_last(oldest, places.clone()) {
            self.gone_from_one(&session, was, AddressFamily::V4);
            (places.end, expired) = (place, expired + 1);
        }
        places = Walk::next(&mut walk.v6, self.v6().map_or(0, Family::len));
        while let Some((session, was, place)) =
            self.v6_mut().and_then(|v6| v6.expire_last(oldest, places.clone()))
        {
            self.gone_from_one(&session, was, AddressFamily::V6);
            (places.end, expired) = (place, expired + 1);
        }
        if walk.is_over() {
            self.shrink();
        }
        expired
    }

    pub(super) fn v6(&self) -> Option<&Family<18>> {
        self.v6.as_ref().map(|v6| &v6.peers)
    }

    fn v6_mut(&mut self) -> Option<&mut Family<18>> {
        self.v6.as_mut().map(|v6| &mut v6.peers)
    }

    fn seeds(&self, session: &Session) -> bool {
        self.role_of(session) == Some(Role::Seeder)
    }

    fn role_of(&self, session: &Session) -> Option<Role> {
        self.v4.role_of(session).or_else(|| self.v6()?.role_of(session))
    }

    /// When the session was last seen in this address' family, and when in the other.
    fn last_seen(&self, session: &Session, ip: IpAddr) -> (Option<u32>, Option<u32>) {
        let (v4, v6) = (self.v4.seen(session), self.v6().and_then(|v6| v6.seen(session)));
        if ip.is_ipv4() { (v4, v6) } else { (v6, v4) }
    }

    fn leave(&mut self, session: &Session) {
        let from_v4 = self.v4.remove(session);
        let from_v6 = self.v6_mut().and_then(|v6| v6.remove(session));
        if let (Some(was), Some(_)) = (from_v4, from_v6) {
            self.count_dual(was.role, -1);
        }
        self.shrink();
    }

    fn enter(&mut self, session: &Session, (ip, port): (IpAddr, u16), role: Role, seen: u32) {
        let family = AddressFamily::of(ip);
        let was = match ip {
            IpAddr::V4(ip) => self.v4.upsert(session, endpoint(&ip.octets(), port), role, seen),
            IpAddr::V6(ip) => {
                let peers = &mut self.v6.get_or_insert_default().peers;
                peers.upsert(session, endpoint(&ip.octets(), port), role, seen)
            }
        };
        match was {
            Some(was) if was.dual => {
                self.count_dual(was.role, -1);
                self.twin(family).set_role(session, role);
                self.count_dual(role, 1);
            }
            Some(_) => {}
            None if self.twin(family).role_of(session).is_some() => {
                self.twin(family).set_role(session, role);
                self.v4.set_dual(session, true);
                if let Some(v6) = self.v6_mut() {
                    v6.set_dual(session, true);
                }
                self.count_dual(role, 1);
            }
            None => {}
        }
    }

    /// After a session expired in one family: if it was in both, it is now in the other alone.
    fn gone_from_one(&mut self, session: &Session, was: Was, family: AddressFamily) {
        if was.dual {
            self.count_dual(was.role, -1);
            self.twin(family).set_dual(session, false);
        }
    }

    /// There is somebody in both families only while there is somebody in IPv6's.
    fn count_dual(&mut self, role: Role, change: i32) {
        if let Some(v6) = &mut self.v6 {
            let count = match role {
                Role::Seeder => &mut v6.dual_seeders,
                Role::Leecher => &mut v6.dual_leechers,
            };
            *count = count.saturating_add_signed(change);
        }
    }

    fn twin(&mut self, family: AddressFamily) -> Twin<'_> {
        match family {
            AddressFamily::V4 => self.v6_mut().map_or(Twin::Nobody, Twin::V6),
            AddressFamily::V6 => Twin::V4(&mut self.v4),
        }
    }

    fn shrink(&mut self) {
        self.v4.shrink();
        if let Some(v6) = self.v6_mut() {
            v6.shrink();
            if v6.is_empty() {
                self.v6 = None;
            }
        }
    }
}

/// The family in which an announce did not arrive.
enum Twin<'a> {
    V4(&'a mut Family<6>),
    V6(&'a mut Family<18>),
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

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
