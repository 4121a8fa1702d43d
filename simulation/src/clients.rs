//! Clients: cumulative counters that grow, runs that begin and end, announces that are repeated until they
//! are answered.
//!
//! As real ones, they owe each of their trackers a `started`, a `completed`, a `stopped` until it is
//! answered, report `completed` a little high, restart with the same peer id or a new one, and vanish. On a
//! private torrent nobody finds them before their first answer, so their counters are 0 until then.

use contract::Event;

use crate::scenario::{Clocks, SKEW_MS};
use crate::world::{Client, Endpoint, Life, World};

/// Between two announces with different counters lies more than clocks may differ: else nobody could tell
/// their order.
const CALM_MS: u64 = 2 * SKEW_MS + 1;
const MIB: u64 = 1 << 20;

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
        let (session, peer_id) = self.new_session(user, torrent);
        let seeds = self.dice.percent(30);
        // A client may have been running elsewhere before it hears of this tracker.
        let ran_before = self.dice.percent(15);
        let endpoints = self.endpoints(if ran_before { None } else { Some(Event::Started) });
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
            peer_id,
            run: 0,
            up: if ran_before { 700 * MIB } else { 0 },
            down: 0,
            left: if seeds { 0 } else { 900 * MIB },
            wobble: 0,
            life: Life::Running,
            introduced: ran_before,
            endpoints,
            announced_ms: 0,
        });
    }

    fn endpoints(&mut self, owes: Option<Event>) -> Vec<Endpoint> {
        let home = self.dice.index(self.trackers.len());
        let others = self.scenario.clocks == Clocks::Synchronised && self.dice.percent(50);
        let trackers = if others { 0..self.trackers.len() } else { home..home + 1 };
        let both = self.dice.percent(30);
        let ips: &[[u8; 4]] = if both { &[[192, 0, 2, 1], [192, 0, 2, 2]] } else { &[[192, 0, 2, 1]] };
        let at =
            |tracker| ips.iter().map(move |ip| Endpoint { tracker, ip: (*ip).into(), owes, asked: None });
        trackers.flat_map(at).collect()
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
        // Counters and runs change only when the last announce is past every clock's error.
        let calm = self.now_ms > self.clients[who].announced_ms + CALM_MS;
        match action {
            ClientAction::Move if running && calm => self.moves(who),
            ClientAction::Complete if running && calm => self.completes(who),
            ClientAction::Stop if running => self.stops(who),
            ClientAction::Restart if calm => self.restarts(who),
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
        // A counter that is small itself and falls at a late `started` is that of a restart, to anybody who
        // sees only the counters: such a client would be credited those few bytes again.
        (client.left, client.wobble) = (0, if client.down >= MIB { wobble } else { 0 });
        for at in &mut client.endpoints {
            // A tracker that has not heard `started` hears that first; `completed` is not repeated for it.
            if at.owes.is_none() {
                at.owes = Some(Event::Completed);
            }
        }
    }

    fn stops(&mut self, who: usize) {
        let client = &mut self.clients[who];
        client.life = Life::Stopping;
        client.endpoints.iter_mut().for_each(|at| at.owes = Some(Event::Stopped));
    }

    fn restarts(&mut self, who: usize) {
        let same = self.scenario.clocks == Clocks::Synchronised && self.dice.percent(60);
        let (user, torrent) = (self.clients[who].user, self.clients[who].torrent);
        let fresh = if same { None } else { Some(self.new_session(user, torrent)) };
        let client = &mut self.clients[who];
        match fresh {
            None => client.run += 1,
            Some((session, peer_id)) => {
                (client.session, client.peer_id, client.run) = (session, peer_id, 0);
            }
        }
        (client.up, client.down, client.wobble) = (0, 0, 0);
        (client.life, client.introduced) = (Life::Running, false);
        client.endpoints.iter_mut().for_each(|at| (at.owes, at.asked) = (Some(Event::Started), None));
        let run = client.run;
        let (session, what) = (client.session, if same { "the same peer id" } else { "a new peer id" });
        self.tell(|| format!("client {who} restarts with {what}: session {session}, run {run}"));
    }
}
