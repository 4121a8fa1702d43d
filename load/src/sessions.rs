//! One worker's sessions and the next announce of each: started, plain announces, completed, stopped, and
//! again.

use contract::Event;

use crate::draw::Draw;
use crate::population::Population;
use crate::settings::{Events, Swarms};

/// A torrent's size, as far as its leechers are concerned.
const TORRENT_BYTES: u64 = 4 << 30;
/// What a session uploads, and a leecher downloads, from one announce to the next.
const STEP_BYTES: u64 = 256 << 10;
/// One in so many announces of a leecher says that it completed, and one in so many of anybody that it stops.
const COMPLETES_ONCE_IN: u32 = 8;
const STOPS_ONCE_IN: u32 = 16;

/// A request to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    /// Whose, among all sessions.
    pub(crate) session: u32,
    pub(crate) torrent: u32,
    pub(crate) kind: Kind,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Announce(Announce),
    Scrape,
}

/// What an announce says. Bytes, since the session's last start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announce {
    pub(crate) event: Event,
    pub(crate) uploaded: u64,
    pub(crate) downloaded: u64,
    pub(crate) left: u64,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    torrent: u32,
    /// Since its start.
    announces: u32,
    /// Announces as a leecher, since its start.
    leeched: u32,
    /// In the swarm, as far as events tell.
    is_present: bool,
    seeds: bool,
}

/// What one session takes, for the bound on all of them.
pub(crate) const SESSION_BYTES: usize = size_of::<Session>();

/// Who speaks next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Everybody once, with a first announce.
    EachOnce,
    /// Anybody, any number of times.
    Random,
}

/// The sessions of one worker: every n-th of all, so that all workers are in all large swarms.
#[derive(Debug)]
pub(crate) struct Sessions {
    sessions: Vec<Session>,
    first: u32,
    step: u32,
    events: Events,
    scrape: f64,
    draw: Draw,
    order: Order,
    /// How many sessions were introduced, and the stride from one to the next.
    introduced: u32,
    stride: u32,
}

impl Sessions {
    /// The sessions `first`, `first + step`, ...
    pub(crate) fn new(population: &Population, swarms: &Swarms, first: u32, step: u32) -> Self {
        let mine = population.torrents_of_sessions().skip(first as usize).step_by(step as usize);
        let sessions: Vec<Session> = (first..)
            .step_by(step as usize)
            .zip(mine)
            .map(|(session, torrent)| Session::new(torrent, population.seeds(session), swarms.events))
            .collect();
        let stride = stride(u32::try_from(sessions.len()).unwrap_or(u32::MAX));
        let draw = Draw::new(swarms.seed ^ u64::from(first) << 32);
        let (events, scrape) = (swarms.events, swarms.scrape);
        Self { sessions, first, step, events, scrape, draw, order: Order::Random, introduced: 0, stride }
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.sessions.len()).unwrap_or(u32::MAX)
    }

    /// Says who speaks from now on.
    pub(crate) fn call(&mut self, order: Order) {
        self.order = order;
    }

    /// The next request; `None` when nobody has anything to say any more.
    pub(crate) fn next(&mut self) -> Option<Request> {
        match self.order {
            Order::EachOnce => self.each_once(),
            Order::Random => self.random(),
        }
    }

    fn random(&mut self) -> Option<Request> {
        let place = match self.len() {
            0 => return None,
            sessions => self.draw.below(sessions),
        };
        if self.draw.falls_in(self.scrape) {
            return Some(self.request(place, Kind::Scrape));
        }
        let session = &mut self.sessions[place as usize];
        let announce = match self.events {
            Events::Plain => session.go_on(Event::None),
            Events::Realistic => session.live(&mut self.draw),
        };
        Some(self.request(place, Kind::Announce(announce)))
    }

    /// The first announce of the next session that has made none; `None` when all have. The order leaps
    /// through the swarms.
    fn each_once(&mut self) -> Option<Request> {
        let sessions = self.len();
        if self.introduced >= sessions {
            return None;
        }
        let place = (u64::from(self.introduced) * u64::from(self.stride)) % u64::from(sessions);
        let place = u32::try_from(place).unwrap_or(0);
        self.introduced += 1;
        let session = &mut self.sessions[place as usize];
        let announce = session.go_on(if session.is_present { Event::None } else { Event::Started });
        Some(self.request(place, Kind::Announce(announce)))
    }

    fn request(&self, place: u32, kind: Kind) -> Request {
        let torrent = self.sessions[place as usize].torrent;
        Request { session: self.first + place * self.step, torrent, kind }
    }
}

impl Session {
    fn new(torrent: u32, seeds: bool, events: Events) -> Self {
        Self { torrent, announces: 0, leeched: 0, is_present: events == Events::Plain, seeds }
    }

    /// Says what a client says next.
    fn live(&mut self, draw: &mut Draw) -> Announce {
        let event = match *self {
            Self { is_present: false, .. } => Event::Started,
            _ if draw.once_in(STOPS_ONCE_IN) => Event::Stopped,
            Self { seeds: false, .. } if draw.once_in(COMPLETES_ONCE_IN) => Event::Completed,
            _ => Event::None,
        };
        self.go_on(event)
    }

    fn go_on(&mut self, event: Event) -> Announce {
        match event {
            Event::Started => (self.is_present, self.announces, self.leeched) = (true, 0, 0),
            Event::Completed => self.seeds = true,
            Event::Stopped => self.is_present = false,
            Event::None => (),
        }
        let announce = self.announce(event);
        self.announces = self.announces.saturating_add(1);
        self.leeched = self.leeched.saturating_add(u32::from(!self.seeds));
        announce
    }

    fn announce(&self, event: Event) -> Announce {
        let downloaded = (u64::from(self.leeched) * STEP_BYTES).min(TORRENT_BYTES - 1);
        let left = if self.seeds { 0 } else { TORRENT_BYTES - downloaded };
        Announce { event, uploaded: u64::from(self.announces) * STEP_BYTES, downloaded, left }
    }
}

/// A step that visits every one of `count` places once, far from the one before.
fn stride(count: u32) -> u32 {
    let golden = u64::from(count) * 618 / 1000;
    let from = u32::try_from(golden).unwrap_or(1).max(1);
    (from..=u32::MAX).find(|step| gcd(*step, count) == 1).unwrap_or(1)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn everybody_is_introduced_once_whatever_the_number() {
        for count in [1, 2, 3, 10, 97, 1000, 4096] {
            let stride = stride(count);
            let mut places: Vec<u64> =
                (0..count).map(|one| u64::from(one) * u64::from(stride) % u64::from(count)).collect();
            places.sort_unstable();
            assert_eq!(places, (0..u64::from(count)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_session_starts_first_and_its_counters_only_grow_until_it_starts_again() {
        let mut draw = Draw::new(3);
        let mut session = Session::new(0, false, Events::Realistic);
        let mut said: HashMap<Event, u32> = HashMap::new();
        let mut before: Option<Announce> = None;
        for _ in 0..1000 {
            let announce = session.live(&mut draw);
            match before {
                None | Some(Announce { event: Event::Stopped, .. }) => {
                    assert_eq!(announce.event, Event::Started);
                }
                Some(before) => {
                    assert_ne!(announce.event, Event::Started);
                    assert!(announce.uploaded > before.uploaded && announce.downloaded >= before.downloaded);
                    assert!(announce.left <= before.left);
                }
            }
            *said.entry(announce.event).or_default() += 1;
            before = Some(announce);
        }
        assert_eq!(said[&Event::Completed], 1);
        assert!(said[&Event::Stopped] > 20 && said[&Event::None] > 500, "{said:?}");
    }
}
