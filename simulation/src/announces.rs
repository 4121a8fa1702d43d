//! What clients say, how it travels, and what they hear.
//!
//! Every path has a delay of its own, so what was said first may come last. On one path a client has one
//! announce under way: it gives up when it is tired of waiting, but not before the announce has arrived or is
//! lost. What has arrived may wait there: for a slow look-up, or because the tracker stands still.

use std::net::IpAddr;

use claims::Path;
use contract::Event;
use tracker::traffic::Booking;

use crate::world::{Arrival, Endpoint, Fact, Life, Visit, World};

/// After so long a client takes an announce for lost.
const PATIENCE_MS: u64 = 60_000;

impl World<'_> {
    /// Announces on one path, or on all of them.
    pub(crate) fn announces(&mut self, who: usize) {
        let count = self.clients[who].endpoints.len();
        let one = self.dice.index(count);
        let all = self.settling || self.dice.percent(40);
        for at in 0..count {
            if all || at == one {
                self.announces_at(who, at);
            }
        }
    }

    pub(crate) fn announces_at(&mut self, who: usize, at: usize) {
        let life = self.clients[who].life;
        let owes = self.clients[who].endpoints[at].owes;
        let silent = life == Life::Gone || (life == Life::Stopping && owes.is_none());
        if silent || self.still_waits(who, at) {
            return;
        }
        let fact = self.word(who, at);
        let number = self.facts.len();
        let lost = !self.settling && self.dice.percent(self.scenario.faults / 2);
        self.tell(|| {
            let Fact { run, up, down, event, .. } = &fact;
            let fate = if lost { " (lost on the way)" } else { "" };
            format!("announce {number}: client {who}/{at}, run {run}, {event:?}, up {up}, down {down}{fate}")
        });
        self.facts.push(fact);
        self.sets_out(number, lost);
    }

    /// Whether an answer may still come.
    fn still_waits(&mut self, who: usize, at: usize) -> bool {
        let impatient = self.dice.percent(30);
        let Endpoint { asked, sent_ms, there_ms, .. } = self.clients[who].endpoints[at];
        let is_tired = impatient || self.now_ms >= sent_ms + PATIENCE_MS;
        asked.is_some() && !(is_tired && self.now_ms > there_ms)
    }

    fn word(&self, who: usize, at: usize) -> Fact {
        let client = &self.clients[who];
        let event = client.endpoints[at].owes.unwrap_or(Event::None);
        let high = if event == Event::Completed { client.wobble } else { 0 };
        Fact {
            client: who,
            endpoint: at,
            session: client.session,
            run: client.run,
            began: client.began,
            up: client.up,
            down: client.down + high,
            left: client.left,
            event,
            arrival: None,
            answered: false,
            refused: false,
            heard: false,
            replaced_by: None,
        }
    }

    /// An announce travels as long as its path takes, and overtakes none on the same path.
    fn sets_out(&mut self, number: usize, lost: bool) {
        let Fact { client, endpoint, .. } = self.facts[number];
        let most = if self.settling { 5 } else { self.clients[client].endpoints[endpoint].lag_ms };
        let lag = self.dice.within(most / 5..=most);
        let now = self.now_ms;
        let endpoint = &mut self.clients[client].endpoints[endpoint];
        endpoint.asked = Some(number);
        endpoint.sent_ms = now;
        endpoint.there_ms = (now + lag).max(endpoint.there_ms + 1);
        if !lost {
            let visit = Visit { fact: number, arrived_ms: endpoint.there_ms, lingers: false };
            self.travelling.push(visit);
        }
    }

    /// Whatever was to arrive by now has arrived.
    pub(crate) fn announces_arrive(&mut self) {
        let now = self.now_ms;
        let mut arrived: Vec<Visit> =
            self.travelling.extract_if(.., |visit| visit.arrived_ms <= now).collect();
        arrived.sort_by_key(|visit| visit.arrived_ms);
        for mut visit in arrived {
            visit.lingers = !self.settling && self.dice.percent(self.scenario.look_ups);
            let fact = &mut self.facts[visit.fact];
            let endpoint = &self.clients[fact.client].endpoints[fact.endpoint];
            let (slot, ip, url) = (endpoint.tracker, endpoint.ip, endpoint.url);
            let identity = self.trackers[slot].identity;
            fact.arrival = Some(Arrival { at_ms: visit.arrived_ms, path: path(identity, ip, url) });
            self.sessions[fact.session].truth.reaches_a_tracker(fact);
            self.trackers[slot].visits.push(visit);
        }
    }

    /// What a tracker books of an announce.
    pub(crate) fn booking(&self, number: usize) -> Option<Booking> {
        let fact = &self.facts[number];
        let client = &self.clients[fact.client];
        let (passkey, info_hash, peer_id) = self.sessions[fact.session].key;
        Some(Booking {
            passkey,
            info_hash,
            peer_id,
            ip: client.endpoints[fact.endpoint].ip,
            port: 6881,
            uploaded: fact.up,
            downloaded: fact.down,
            left: fact.left,
            event: fact.event,
            // The recorder knows.
            at_ms: 0,
            path: fact.arrival?.path,
            interval: 1800,
            min_interval: 900,
            fd: None,
            pd: None,
            extras: contract::Extras::default(),
        })
    }

    /// The answer to an announce reaches its client, or is lost.
    pub(crate) fn answer(&mut self, number: usize, accepted: bool) {
        let fact = &mut self.facts[number];
        fact.answered |= accepted;
        fact.refused |= !accepted;
        let lost = !self.settling && self.dice.percent(self.scenario.faults);
        let Fact { client: who, endpoint, event, session, .. } = *fact;
        if accepted {
            self.sessions[session].truth.is_answered(&self.facts[number]);
        }
        let client = &mut self.clients[who];
        let at = &mut client.endpoints[endpoint];
        if lost || at.asked != Some(number) {
            return;
        }
        at.asked = None;
        if !accepted {
            return;
        }
        if at.owes == Some(event) {
            at.owes = None;
        }
        client.introduced = true;
        if client.life == Life::Stopping && client.endpoints.iter().all(|at| at.owes.is_none()) {
            client.life = Life::Gone;
        }
    }
}

/// Two addresses of a client, or two URLs of a tracker, are two paths; so are two trackers.
fn path(identity: u32, ip: IpAddr, url: u8) -> Path {
    let address = match ip {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(ip) => ip.octets()[15],
    };
    Path(identity << 16 | u32::from(url) << 8 | u32::from(address))
}
