//! Clients: cumulative counters that grow, runs that begin and end, announces that are repeated until they
//! are answered.
//!
//! As real ones, they owe each of their paths a `started`, a `completed`, a `stopped` until it is answered,
//! say nothing else on a path before its `started` was answered, report `completed` a little high, go on
//! while they wait, restart a second later with the same peer id or a new one, and vanish. On a private
//! torrent nobody finds them before their first answer, so their counters are 0 until then.

use contract::Event;

use crate::world::{Client, Endpoint, Life, World};

const MIB: u64 = 1 << 20;
/// Nobody pauses for less.
const PAUSE_MS: u64 = 1000;

#[derive(Debug, Clone, Copy)]
enum ClientAction {
    Announce,
    Move,
    Complete,
    Stop,
    Restart,
    Vanish,
}

impl World<'_> {
    pub(crate) fn add_client(&mut self) {
        let user = self.dice.index(self.scenario.users.len());
        let torrent = self.dice.index(self.scenario.torrents.len());
        let session = self.new_session(user, torrent);
        let seeds = self.dice.percent(30);
        // A client may have been running elsewhere before it hears of this tracker.
        let ran_before = self.dice.percent(15);
        // It hears of it by its user, who adds the site's URL, or by a tracker that the site put in the place
        // of its old one.
        let is_added = self.dice.percent(50) && !self.scenario.credit_first;
        let endpoints = self.endpoints(if ran_before && !is_added { None } else { Some(Event::Started) });
        let number = self.clients.len();
        self.tell(|| {
            format!(
                "client {number} of user {user} appears on torrent {torrent}, at {} endpoints",
                endpoints.len()
            )
        });
        self.clients.push(Client {
            user,
            torrent,
            session,
            run: 0,
            up: if ran_before { 700 * MIB } else { 0 },
            down: 0,
            left: if seeds { 0 } else { 900 * MIB },
            wobble: 0,
            life: Life::Running,
            introduced: ran_before,
            began: !ran_before,
            endpoints,
            acted_ms: 0,
        });
    }

    fn endpoints(&mut self, owes: Option<Event>) -> Vec<Endpoint> {
        let home = self.dice.index(self.trackers.len());
        let trackers = if self.dice.percent(50) { 0..self.trackers.len() } else { home..home + 1 };
        let addresses: &[u8] = if self.dice.percent(30) { &[1, 2] } else { &[1] };
        let urls: &[u8] = if self.dice.percent(15) { &[0, 1] } else { &[0] };
        let mut endpoints = Vec::new();
        for tracker in trackers {
            for (ip, url) in addresses.iter().flat_map(|ip| urls.iter().map(move |url| (*ip, *url))) {
                let lag_ms = self.scenario.lags_ms[self.dice.index(self.scenario.lags_ms.len())];
                let ip = [192, 0, 2, ip].into();
                endpoints.push(Endpoint {
                    tracker,
                    ip,
                    url,
                    lag_ms,
                    owes,
                    asked: None,
                    sent_ms: 0,
                    there_ms: 0,
                });
            }
        }
        endpoints
    }

    /// A client does something.
    pub(crate) fn client_acts(&mut self) {
        let who = self.dice.index(self.clients.len());
        if self.clients[who].life == Life::Gone {
            return;
        }
        let action = self.dice.weighted(&[
            (45, ClientAction::Announce),
            (40, ClientAction::Move),
            (4, ClientAction::Complete),
            (4, ClientAction::Stop),
            (6, ClientAction::Restart),
            (1, ClientAction::Vanish),
        ]);
        let running = self.clients[who].life == Life::Running;
        let rested = self.now_ms > self.clients[who].acted_ms + PAUSE_MS;
        match action {
            ClientAction::Move if running => self.moves(who),
            ClientAction::Complete if running => self.completes(who),
            ClientAction::Stop if running && rested => self.stops(who),
            ClientAction::Restart if rested => self.restarts(who),
            ClientAction::Vanish => {
                self.clients[who].life = Life::Gone;
                self.tell(|| format!("client {who} vanishes"));
            }
            _ => {}
        }
        self.announces(who);
    }

    fn moves(&mut self, who: usize) {
        let (up, down) = (self.dice.within(0..=300) * MIB, self.dice.within(0..=200) * MIB);
        let (some_up, some_down) = (self.dice.within(0..=5000), self.dice.within(0..=5000));
        let client = &mut self.clients[who];
        if !client.introduced {
            return;
        }
        client.up += up + some_up;
        if client.left > 1 {
            let down = (down + some_down).min(client.left - 1);
            client.down += down;
            client.left -= down;
        }
    }

    fn completes(&mut self, who: usize) {
        let wobble = self.dice.within(0..=MIB - 1);
        let client = &mut self.clients[who];
        if client.left == 0 || !client.introduced {
            return;
        }
        client.down += client.left;
        (client.left, client.wobble) = (0, wobble);
        for at in &mut client.endpoints {
            // A tracker that has not heard `started` hears that first; `completed` is not repeated for it.
            if at.owes.is_none() {
                at.owes = Some(Event::Completed);
            }
        }
    }

    /// What was not answered a `started` is told nothing.
    fn stops(&mut self, who: usize) {
        let client = &mut self.clients[who];
        (client.life, client.acted_ms) = (Life::Stopping, self.now_ms);
        for at in &mut client.endpoints {
            at.owes = if at.owes == Some(Event::Started) { None } else { Some(Event::Stopped) };
        }
        if client.endpoints.iter().all(|at| at.owes.is_none()) {
            client.life = Life::Gone;
        }
    }

    fn restarts(&mut self, who: usize) {
        let same = self.dice.percent(60);
        let (user, torrent) = (self.clients[who].user, self.clients[who].torrent);
        let fresh = if same { None } else { Some(self.new_session(user, torrent)) };
        let client = &mut self.clients[who];
        match fresh {
            None => client.run += 1,
            Some(session) => (client.session, client.run) = (session, 0),
        }
        (client.up, client.down, client.wobble) = (0, 0, 0);
        (client.life, client.introduced, client.began) = (Life::Running, false, true);
        client.acted_ms = self.now_ms;
        client.endpoints.iter_mut().for_each(|at| (at.owes, at.asked) = (Some(Event::Started), None));
        let run = client.run;
        let (session, what) = (client.session, if same { "the same peer id" } else { "a new peer id" });
        self.tell(|| format!("client {who} restarts with {what}: session {session}, run {run}"));
    }
}
