//! The peers of one torrent in one address family, densely, with the seeders in front.
//!
//! Dense, so that offering peers is a walk along memory instead of a hunt through a map; seeders in front, so
//! that "leechers only" is a slice.

use std::ops::Range;

use super::index::{self, Index};
use super::rows::Rows;
use super::session::Session;
use crate::announce::Role;

/// Whom a client can use: a seeder only leechers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Everybody,
    Leechers,
}

/// What a peer was before a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Was {
    pub(super) role: Role,
    pub(super) dual: bool,
}

/// `N` is the length of an endpoint: address and port.
#[derive(Debug, Default)]
pub(super) struct Family<const N: usize> {
    pub(super) rows: Rows<N>,
    index: Option<Box<Index>>,
    seeders: u32,
    /// Peers that listen nowhere: counted, never offered.
    silent: u32,
}

impl<const N: usize> Family<N> {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn seeders(&self) -> usize {
        self.seeders as usize
    }

    pub(super) fn leechers(&self) -> usize {
        self.len() - self.seeders()
    }

    /// Where the peers of a side begin; they go on to the end.
    pub(super) fn first(&self, side: Side) -> usize {
        match side {
            Side::Everybody => 0,
            Side::Leechers => self.seeders(),
        }
    }

    /// Whether everybody here can be reached.
    pub(super) fn all_listen(&self) -> bool {
        self.silent == 0
    }

    pub(super) fn role_of(&self, session: &Session) -> Option<Role> {
        self.find(session).map(|place| self.role_at(place))
    }

    /// When the session was last seen here.
    pub(super) fn seen(&self, session: &Session) -> Option<u32> {
        self.find(session).map(|place| self.rows.seen(place))
    }

    /// Adds the peer or brings it up to date. Returns what it was before, if it was there.
    pub(super) fn upsert(
        &mut self,
        session: &Session,
        endpoint: [u8; N],
        role: Role,
        seen: u32,
    ) -> Option<Was> {
        let Some(place) = self.find(session) else {
            self.insert(session, endpoint, role, seen);
            return None;
        };
        let was = self.was(place);
        self.silent -= u32::from(is_silent(&self.rows.endpoints()[place]));
        self.silent += u32::from(is_silent(&endpoint));
        self.rows.endpoints_mut()[place] = endpoint;
        self.rows.stamp(place, seen, was.dual);
        self.move_to(place, role);
        Some(was)
    }

    pub(super) fn remove(&mut self, session: &Session) -> Option<Was> {
        self.find(session).map(|place| self.remove_at(place))
    }

    /// Marks whether the session is also in the other family; returns its role when it is here.
    pub(super) fn set_dual(&mut self, session: &Session, dual: bool) -> Option<Role> {
        let place = self.find(session)?;
        self.rows.stamp(place, self.rows.seen(place), dual);
        Some(self.role_at(place))
    }

    /// Puts a session that is here on the side it stands on now.
    pub(super) fn set_role(&mut self, session: &Session, role: Role) {
        if let Some(place) = self.find(session) {
            self.move_to(place, role);
        }
    }

    /// Removes the last of these places' peers that was last seen before `oldest`. Returns what it was, and
    /// where.
    ///
    /// Whoever goes on below that place misses nobody: removing fills the hole with peers from above it,
    /// except across the seeders' border. There the last seeder moves down into the hole, and it too was
    /// looked at.
    pub(super) fn expire_last(&mut self, oldest: u32, places: Range<usize>) -> Option<(Session, Was, usize)> {
        let place = places.rev().find(|place| self.rows.seen(*place) < oldest)?;
        let session = self.rows.session(place);
        Some((session, self.remove_at(place), place))
    }

    /// Gives memory back after a swarm shrank.
    pub(super) fn shrink(&mut self) {
        self.rows.shrink();
        if self.len() <= index::ABOVE / 2 {
            self.index = None;
        } else if let Some(index) = &mut self.index {
            index.shrink(self.rows.records());
        }
    }

    fn role_at(&self, place: usize) -> Role {
        if place < self.seeders() { Role::Seeder } else { Role::Leecher }
    }

    fn was(&self, place: usize) -> Was {
        Was { role: self.role_at(place), dual: self.rows.is_dual(place) }
    }

    fn find(&self, session: &Session) -> Option<usize> {
        let records = self.rows.records();
        match &self.index {
            Some(index) => index.find(session, records),
            None => memchr::memchr_iter(session.fingerprint(), self.rows.fingerprints())
                .find(|place| session.is(&records[*place])),
        }
    }

    fn insert(&mut self, session: &Session, endpoint: [u8; N], role: Role, seen: u32) {
        let place = self.len();
        self.rows.push(session, endpoint, seen);
        self.silent += u32::from(is_silent(&endpoint));
        match &mut self.index {
            Some(index) => index.add(place, self.rows.records()),
            None if place >= index::ABOVE => self.index = Some(Box::new(Index::of(self.rows.records()))),
            None => {}
        }
        self.move_to(place, role);
    }

    /// Moves a peer to its side of the border by swapping it with the peer at the border.
    fn move_to(&mut self, place: usize, role: Role) {
        match (self.role_at(place), role) {
            (Role::Leecher, Role::Seeder) => {
                self.swap(place, self.seeders());
                self.seeders += 1;
            }
            (Role::Seeder, Role::Leecher) => {
                self.seeders -= 1;
                self.swap(place, self.seeders());
            }
            _ => {}
        }
    }

    fn remove_at(&mut self, place: usize) -> Was {
        let was = self.was(place);
        self.silent -= u32::from(is_silent(&self.rows.endpoints()[place]));
        let mut hole = place;
        if was.role == Role::Seeder {
            self.seeders -= 1;
            self.swap(hole, self.seeders());
            hole = self.seeders();
        }
        let last = self.len() - 1;
        self.swap(hole, last);
        if let Some(index) = &mut self.index {
            index.forget(last, self.rows.records());
        }
        self.rows.pop();
        was
    }

    fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        if let Some(index) = &mut self.index {
            index.swap(a, b, self.rows.records());
        }
        self.rows.swap(a, b);
    }
}

/// Its port is 0.
pub(super) fn is_silent(endpoint: &[u8]) -> bool {
    endpoint.ends_with(&[0, 0])
}
