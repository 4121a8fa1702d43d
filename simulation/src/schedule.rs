//! One schedule: a world drawn from a seed, random steps, the end.

use std::collections::BTreeSet;
use std::time::Instant;

use books::{Entry, EntryId};
use contract::Keys;

use crate::dice::Dice;
use crate::figures::Figures;
use crate::ledger::Ledger;
use crate::mutation::{Mutation, Scripts};
use crate::redis::{Keyspace, Server};
use crate::scenario::{DRIFT_MS, Scenario};
use crate::trace::Trace;
use crate::world::{Consumer, RedisHost, T0_MS, Violation, World};

/// Plays schedules one after another, on one Redis with its scripts loaded.
pub struct Simulator {
    server: Server,
    scripts: Scripts,
    mutation: Option<Mutation>,
}

/// What became of a schedule.
#[derive(Debug)]
pub struct Report {
    /// The broken promise, if there is one.
    pub violation: Option<Violation>,
    /// The steps, when a trace was wanted.
    pub trace: Vec<String>,
    /// The stream's entries, trimmed ones too.
    pub entries: Vec<Entry>,
    /// Figures.
    pub figures: Figures,
}

/// Whether the steps are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracing {
    /// They are not.
    Off,
    /// Every one.
    On,
}

impl Simulator {
    /// A simulator for the shipped code, or with one bug put back.
    ///
    /// # Errors
    /// When Lua cannot be set up.
    pub fn new(mutation: Option<Mutation>) -> mlua::Result<Self> {
        Ok(Self { server: Server::new()?, scripts: Scripts::with(mutation), mutation })
    }

    /// Plays the schedule of `seed`, cut after `most` random steps.
    #[must_use]
    pub fn play(&self, seed: u64, most: u64, tracing: Tracing) -> Report {
        let mut world = self.world(seed, tracing);
        let steps = world.scenario.steps.min(most);
        let outcome = (0..steps).try_for_each(|_| world.step()).and_then(|()| world.end());
        let mut figures = world.figures;
        figures.announces = world.facts.len() as u64;
        figures.entries = world.history.len() as u64;
        figures.sessions = world.sessions.len() as u64;
        figures.forgotten =
            world.sessions.iter().filter(|session| session.truth.forgotten.is_some()).count() as u64;
        Report { violation: outcome.err(), trace: world.trace.lines(), entries: world.history, figures }
    }

    /// The fewest steps after which the schedule still fails.
    #[must_use]
    pub fn shrink(&self, seed: u64) -> u64 {
        let fails = |most: &u64| self.play(seed, *most, Tracing::Off).violation.is_some();
        (0..=200).find(fails).unwrap_or(u64::MAX)
    }

    fn world(&self, seed: u64, tracing: Tracing) -> World<'_> {
        let mut dice = Dice::new(seed);
        let scenario = Scenario::draw(&mut dice);
        *self.server.keyspace() = Keyspace::default();
        let redis = RedisHost {
            server: &self.server,
            up: true,
            skew_ms: skew(&mut dice),
            disk: None,
            unwritten: Vec::new(),
            owed: Vec::new(),
            seen: EntryId::default(),
            went_back: false,
        };
        let trace = if tracing == Tracing::On { Trace::kept() } else { Trace::default() };
        let mut world = World {
            dice,
            trace,
            scenario,
            mutation: self.mutation,
            scripts: &self.scripts,
            keys: Keys::default(),
            now_ms: T0_MS,
            epoch: Instant::now(),
            settling: false,
            redis,
            trackers: Vec::new(),
            clients: Vec::new(),
            consumers: Vec::new(),
            messages: Vec::new(),
            facts: Vec::new(),
            travelling: Vec::new(),
            identities: 0,
            sessions: Vec::new(),
            ledger: Ledger::default(),
            event_keys: BTreeSet::new(),
            history: Vec::new(),
            latest_now: 0,
            figures: Figures::default(),
        };
        world.populate();
        world
    }
}

/// A clock that nobody set.
fn skew(dice: &mut Dice) -> i64 {
    i64::try_from(dice.within(0..=2 * DRIFT_MS)).unwrap_or(0) - i64::try_from(DRIFT_MS).unwrap_or(0)
}

impl World<'_> {
    fn populate(&mut self) {
        let scenario = self.scenario.clone();
        self.tell(|| format!("{scenario:?}"));
        self.set_redis_clock();
        for _ in 0..scenario.trackers {
            let skew_ms = skew(&mut self.dice);
            self.add_tracker(skew_ms);
        }
        let now = self.instant();
        for number in 0..scenario.consumers {
            self.consumers.push(Consumer::new(format!("c{number}"), scenario.batch_size, now));
        }
        (0..scenario.clients).for_each(|_| self.add_client());
    }
}
