//! A simulated client: carries out what its session says, each path by itself, and goes on meanwhile.
//!
//! It waits for nothing but answers. Copies that it gave up may be read, looked up and booked at any time.

use std::sync::Arc;
use std::time::Duration;

use contract::{InfoHash, Passkey};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::announce::Announce;
use crate::exchange::{AnnounceCopy, CopyOutcome, Protocol, Route, SendMode};
use crate::session::{Change, Session};
use crate::tally::Figure;
use crate::transport::Transport;
use crate::world::World;

/// How long a client waits for an answer. With its path's lag it must stay below the trackers' `path_skew`.
const PATIENCE_MS: std::ops::Range<u64> = 700..3_000;
/// What a path's packets wait on their way.
const LAGS_MS: [u64; 5] = [0, 0, 0, 250, 900];
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// One path.
#[derive(Debug)]
struct Line {
    /// By which names its announce URL and its torrent go: other names would be other paths, each with a
    /// `started` of its own.
    names: (Passkey, InfoHash),
    lag: Duration,
    /// Not here while it is asked.
    transport: Option<Transport>,
    route: Route,
}

/// One copy that came to its end.
struct Ended {
    way: usize,
    transport: Transport,
    announce: Announce,
    ticket: u64,
    story: String,
    heard: CopyOutcome,
}

#[derive(Debug)]
pub(crate) struct Client {
    world: Arc<World>,
    dice: ChaCha8Rng,
    session: Session,
    /// Its number in the books.
    account: usize,
    lines: Vec<Line>,
    underway: JoinSet<Ended>,
}

impl Client {
    pub(crate) fn new(world: Arc<World>, mut dice: ChaCha8Rng) -> Self {
        let (session, account, lines) = appear(&world, &mut dice);
        Self { world, dice, session, account, lines, underway: JoinSet::new() }
    }

    /// Announces until told to stop, and then until its last words are answered.
    pub(crate) async fn live(mut self, mut stop: watch::Receiver<()>) {
        sleep(self.world.pace.mul_f64(self.dice.random_range(0.0..1.0))).await;
        let mut told = false;
        while !self.session.is_over() {
            let now = self.world.now();
            match self.session.lives(&mut self.dice, now) {
                Change::Nothing => {}
                Change::Crashed => self.crashes().await,
                Change::Left if told => break,
                Change::Left => self.appears_anew().await,
            }
            while let Some(way) = self.session.due(now) {
                self.ask(way, now);
            }
            let wake = self.world.begin + Duration::from_millis(self.session.wakes_at().min(now + 60_000));
            let soon = Instant::now() + LONGEST_SLEEP;
            tokio::select! {
                Some(ended) = self.underway.join_next() => self.hears(ended.ok()),
                () = sleep_until(soon.min(wake.into())) => {}
                _ = stop.changed(), if !told => {
                    told = true;
                    self.session.ends();
                }
            }
        }
        self.hangs_up().await;
    }

    /// Whatever is under way loses its client, as a killed process loses its connections.
    async fn hangs_up(&mut self) {
        self.underway.shutdown().await;
        self.world.books.hangs_up(self.account, self.world.now());
        for line in &mut self.lines {
            line.transport = Some(Transport::new(line.route));
        }
    }

    async fn crashes(&mut self) {
        self.world.tally.add(Figure::Crashed);
        self.hangs_up().await;
    }

    async fn appears_anew(&mut self) {
        self.world.tally.add(Figure::Vanished);
        self.hangs_up().await;
        (self.session, self.account, self.lines) = appear(&self.world, &mut self.dice);
    }

    /// Sends one copy on this path.
    fn ask(&mut self, way: usize, now: u64) {
        let Some(mut transport) = self.lines[way].transport.take() else { return };
        let announce = self.session.says(&mut self.dice, way, now);
        let ticket = self.world.books.says(self.account, announce, now);
        let (passkey, info_hash) = self.lines[way].names;
        let copy = AnnounceCopy { passkey, info_hash, peer_id: self.session.peer_id, announce };
        let mode = SendMode::draw(&mut self.dice);
        let patience = Duration::from_millis(self.dice.random_range(PATIENCE_MS));
        let (lag, story) = (self.lines[way].lag, self.story(way, mode, &copy));
        self.underway.spawn(async move {
            let heard = transport.ask(&copy, mode, lag, patience).await;
            Ended { way, transport, announce, ticket, story, heard }
        });
    }

    fn hears(&mut self, ended: Option<Ended>) {
        // A task that panicked has been printed, and its path never speaks again: the run fails.
        let Some(Ended { way, transport, announce, ticket, story, heard }) = ended else { return };
        let (now, answered) = (self.world.now(), matches!(heard, CopyOutcome::Answered));
        self.world.books.hears(self.account, ticket, answered, now);
        self.world.books.note(self.account, format!("{story}: {:.3} {heard}", now as f64 / 1000.0));
        self.world.tally.add(match &heard {
            CopyOutcome::Answered => Figure::Answered,
            CopyOutcome::Refused(_) => Figure::Refused,
            CopyOutcome::Nothing(_) => Figure::Unanswered,
        });
        if answered && self.lines[way].route.protocol == Protocol::Udp {
            self.world.tally.add(Figure::AnsweredOverUdp);
        }
        self.session.hears(&mut self.dice, way, &announce, (answered, now));
        self.lines[way].transport = Some(transport);
    }

    fn story(&self, way: usize, mode: SendMode, copy: &AnnounceCopy) -> String {
        let Announce { run, event, counters, left, .. } = copy.announce;
        let (at, route, event) =
            (self.world.begin.elapsed().as_secs_f64(), self.lines[way].route, event.as_str());
        format!(
            "{at:9.3} {route} run {run} {event} up {} down {} left {left} ({mode:?})",
            counters.up, counters.down
        )
    }
}

/// A client that nobody has seen before, on one to four paths.
fn appear(world: &World, dice: &mut ChaCha8Rng) -> (Session, usize, Vec<Line>) {
    let user = world.find_user(dice);
    let torrent = world.find_torrent(dice, user);
    let count = dice.random_range(1..=4);
    let routes: Vec<_> = world.routes.sample(dice, count).copied().collect();
    let line = |route| {
        let lag = Duration::from_millis(*LAGS_MS.choose(dice).unwrap_or(&0));
        let names = (world.users[user].announces_with(dice), torrent.announced(dice));
        Line { names, lag, transport: Some(Transport::new(route)), route }
    };
    let lines: Vec<Line> = routes.into_iter().map(line).collect();
    let pace = u64::try_from(world.pace.as_millis()).unwrap_or(u64::MAX);
    let session = Session::new(dice, torrent, lines.len(), (world.now(), pace));
    let account = world.books.open(user, session.torrent.clone(), session.peer_id, session.baseline());
    (session, account, lines)
}
