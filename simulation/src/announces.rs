//! What clients say, and what they hear.

use std::net::IpAddr;

use contract::Event;
use tracker::traffic::Booking;

use crate::world::{Endpoint, Fact, Life, World};

impl World<'_> {
    /// Announces at one endpoint, or at all of them.
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
        let asked = self.clients[who].endpoints[at].asked;
        let impatient = self.dice.percent(30);
        let life = self.clients[who].life;
        let owes = self.clients[who].endpoints[at].owes;
        let silent = life == Life::Gone || (life == Life::Stopping && owes.is_none());
        if silent || (asked.is_some() && !impatient) {
            return;
        }
        let client = &mut self.clients[who];
        let event = owes.unwrap_or(Event::None);
        let high = if event == Event::Completed { client.wobble } else { 0 };
        let fact = Fact {
            client: who,
            endpoint: at,
            session: client.session,
            run: client.run,
            up: client.up,
            down: client.down + high,
            event,
            answered: false,
            heard: false,
            replaced_by: None,
        };
        client.endpoints[at].asked = Some(self.facts.len());
        client.announced_ms = self.now_ms;
        let Endpoint { tracker, ip, .. } = client.endpoints[at].clone();
        let lost = !self.settling && self.dice.percent(self.scenario.faults / 2);
        let number = self.facts.len();
        self.tell(|| {
            let Fact { run, up, down, event, .. } = fact;
            let fate = if lost { " (lost on the way)" } else { "" };
            format!("announce {number}: client {who}/{at}, run {run}, {event:?}, up {up}, down {down}, to tracker {tracker}{fate}")
        });
        self.facts.push(fact);
        if !lost {
            self.tracker_hears(tracker, number, ip);
        }
    }

    /// What a tracker books of an announce.
    pub(crate) fn booking(&self, number: usize, ip: IpAddr, observed_ms: u64) -> Booking {
        let fact = &self.facts[number];
        let client = &self.clients[fact.client];
        Booking {
            passkey: self.scenario.users[client.user],
            info_hash: self.scenario.torrents[client.torrent],
            peer_id: client.peer_id,
            ip,
            port: 6881,
            uploaded: fact.up,
            downloaded: fact.down,
            left: client.left,
            event: fact.event,
            at_ms: observed_ms,
            path: claims::Path(1),
            interval: 1800,
            min_interval: 900,
            fd: None,
            pd: None,
            extras: contract::Extras::default(),
        }
    }

    /// The answer to an announce reaches its client, or is lost.
    pub(crate) fn answer(&mut self, number: usize, accepted: bool) {
        if accepted {
            self.facts[number].answered = true;
        }
        let lost = !self.settling && self.dice.percent(self.scenario.faults);
        let Fact { client: who, endpoint, event, .. } = self.facts[number];
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
