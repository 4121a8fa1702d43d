//! A simulated client: announces, repeats what was not answered, restarts, completes, stops, vanishes.
//!
//! It goes on only when every copy of its announce that it ever sent is answered, or on a connection that is
//! closed: a request that still lies unread at a tracker would otherwise be read after a newer one.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use contract::Keys;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::books::Bytes;
use crate::exchange::{AnnounceCopy, CopyOutcome, SendMode};
use crate::injector::connection;
use crate::session::{Announce, Loyalty, Part, Session};
use crate::tally::Figure;
use crate::transport::Transport;
use crate::world::World;

/// Announces of one session that differ lie further apart than the trackers' clocks may be: else nobody could
/// tell their order.
const CALM: Duration = Duration::from_millis(250);
/// How far a tracker's clock may be off, and a little more.
const SKEW_MS: u64 = 120;

#[derive(Debug, Clone, Copy)]
enum NextMove {
    GoOn,
    Complete,
    Stop,
    Crash,
    Vanish,
}

#[derive(Debug)]
pub(crate) struct Client {
    world: Arc<World>,
    dice: ChaCha8Rng,
    session: Session,
    /// Its number in the books.
    number: usize,
    /// The tracker that it asks now.
    tracker: usize,
    /// Whether the run's first announce is known to be in Redis, so that another tracker may be asked.
    begun: bool,
    /// When the run's first announce was sent, by the wall clock.
    run_since_ms: u64,
    transport: Transport,
}

impl Client {
    pub(crate) fn new(world: Arc<World>, mut dice: ChaCha8Rng) -> Self {
        let transport = Transport::draw(&mut dice);
        let (session, number) = appear(&world, &mut dice, &transport);
        let tracker = dice.random_range(0..world.trackers.len());
        Self { world, dice, session, number, tracker, begun: false, run_since_ms: 0, transport }
    }

    /// Announces until told to stop; the announce in hand is repeated until it is answered.
    pub(crate) async fn live(mut self, stop: watch::Receiver<()>) {
        sleep(self.world.pace.mul_f64(self.dice.random_range(0.0..1.0))).await;
        while stop.has_changed().is_ok_and(|told| !told) {
            let next_move = self.next_move();
            self.session.moves(&mut self.dice);
            let announce = match next_move {
                NextMove::Complete => self.session.completes(&mut self.dice),
                NextMove::Stop => self.session.stops(),
                NextMove::GoOn | NextMove::Crash | NextMove::Vanish => self.session.announce(),
            };
            self.say(&announce).await;
            self.changes_its_life(next_move);
            sleep(CALM.max(self.world.pace.mul_f64(self.dice.random_range(0.3..1.7)))).await;
        }
    }

    fn next_move(&mut self) -> NextMove {
        match self.dice.random_range(0..100) {
            0..82 => NextMove::GoOn,
            82..86 => NextMove::Complete,
            86..90 => NextMove::Stop,
            90..96 => NextMove::Crash,
            _ => NextMove::Vanish,
        }
    }

    fn changes_its_life(&mut self, next_move: NextMove) {
        match next_move {
            NextMove::GoOn | NextMove::Complete => {}
            NextMove::Stop if self.dice.random_bool(0.4) => self.appears_anew(),
            NextMove::Stop | NextMove::Crash => {
                self.world.tally.add(Figure::RunsBegun);
                self.session.restarts(&mut self.dice);
                self.begun = false;
                self.transport.hang_up();
            }
            NextMove::Vanish => {
                self.world.tally.add(Figure::Vanished);
                self.appears_anew();
            }
        }
    }

    fn appears_anew(&mut self) {
        (self.session, self.number) = appear(&self.world, &mut self.dice, &self.transport);
        self.begun = false;
        self.transport.hang_up();
        self.tracker = self.dice.random_range(0..self.world.trackers.len());
    }

    /// Says it until it is answered.
    async fn say(&mut self, announce: &Announce) {
        let gain = self.session.gain(announce);
        self.world.books.claim(self.number, gain);
        if announce.part != Part::GoesOn {
            self.run_since_ms = now_ms();
        }
        loop {
            self.may_change_tracker(announce.part).await;
            let heard = self.asks(announce).await;
            match heard {
                CopyOutcome::Answered => break,
                CopyOutcome::Refused(_) => self.world.tally.add(Figure::Refused),
                CopyOutcome::Nothing(_) => self.world.tally.add(Figure::Unanswered),
            }
            sleep(Duration::from_millis(self.dice.random_range(100..600))).await;
        }
        self.world.tally.add(Figure::Answered);
        if matches!(self.transport, Transport::Udp(_)) {
            self.world.tally.add(Figure::AnsweredOverUdp);
        }
        self.session.answered(announce);
        self.world.books.earn(self.number, gain, announce.state());
        let complaints = self.transport.settle().await;
        self.world.complaints.lock().extend(complaints);
    }

    /// A run begins at one tracker, and another one is asked only once that beginning is in Redis: until then
    /// it could be in the first one's spool, and what follows would be booked before it.
    async fn may_change_tracker(&mut self, part: Part) {
        let wants = self.session.loyalty == Loyalty::BothTrackers && self.dice.random_bool(0.4);
        if !wants || part != Part::GoesOn {
            return;
        }
        if !self.begun {
            self.begun = self.beginning_is_booked().await;
        }
        if self.begun {
            self.tracker = 1 - self.tracker;
            self.transport.hang_up();
        }
    }

    async fn beginning_is_booked(&self) -> bool {
        let Session { user, info_hash, peer_id, .. } = &self.session;
        let key = Keys::default().snapshot(&self.world.users[*user], info_hash, peer_id);
        let Ok(mut redis) = connection(&self.world.redis).await else { return false };
        let mut peek = redis::cmd("HMGET");
        let snapshot: Result<(Option<u64>, Option<u64>, Option<String>), _> =
            peek.arg(key).arg("uploaded").arg("downloaded").arg("seen").query_async(&mut redis).await;
        let Ok((Some(up), Some(down), Some(observed))) = snapshot else { return false };
        let observed: Option<u64> = observed.split(' ').nth(2).and_then(|ms| ms.parse().ok());
        // The counters alone could be those at which the run before stood.
        observed.is_some_and(|ms| ms + SKEW_MS >= self.run_since_ms)
            && self.session.stands_at(Bytes { up, down })
    }

    /// Sends one copy.
    async fn asks(&mut self, announce: &Announce) -> CopyOutcome {
        let (mode, patience) = (SendMode::draw(&mut self.dice), self.dice.random_range(700..3000));
        let (port, passkey) = (self.world.trackers[self.tracker], &self.world.users[self.session.user]);
        let copy = AnnounceCopy { port, passkey, session: &self.session, announce };
        let heard = self.transport.ask(copy, mode, Duration::from_millis(patience)).await;
        self.note(announce, mode, &heard);
        heard
    }

    fn note(&self, announce: &Announce, mode: SendMode, heard: &CopyOutcome) {
        let Announce { part, event, counters: Bytes { up, down }, left } = announce;
        let (at, tracker) = (self.world.begin.elapsed().as_secs_f64(), self.tracker);
        let event = event.as_str();
        let protocol = if matches!(self.transport, Transport::Udp(_)) { "UDP" } else { "HTTP" };
        self.world.books.note(
            self.number,
            format!("{at:9.3} tracker-{tracker} {part:?} {event} up {up} down {down} left {left} ({mode:?}, {protocol}): {heard}"),
        );
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A client that speaks UDP stays with one tracker: nothing tells it when a copy at the other one is gone.
fn appear(world: &World, dice: &mut ChaCha8Rng, transport: &Transport) -> (Session, usize) {
    let user = dice.random_range(0..world.users.len());
    let torrent = world.torrents[dice.random_range(0..world.torrents.len())];
    let both = dice.random_bool(0.4) && matches!(transport, Transport::Http(_));
    let loyalty = if both { Loyalty::BothTrackers } else { Loyalty::OneTracker };
    let session = Session::new(dice, user, torrent, loyalty);
    let number = world.books.open(user, torrent, session.peer_id);
    (session, number)
}
