//! One schedule: a world drawn from a seed, random steps, the end.

use std::collections::BTreeSet;

use consumer::{Entry, EntryId};
use contract::Keys;

use crate::consumers::Reader;
use crate::dice::Dice;
use crate::ledger::Ledger;
use crate::mutation::{Mutation, Scripts};
use crate::redis::{Keyspace, Server};
use crate::scenario::{Clocks, SKEW_MS, Scenario};
use crate::trace::Trace;
use crate::trackers::Tracker;
use crate::world::{Checked, RedisHost, T0_MS, Violation, World};

/// A Redis and scripts that schedules use one after another.
pub struct Stage {
    server: Server,
    scripts: Scripts,
    mutation: Option<Mutation>,
}

/// Figures of one schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Announces sent.
    pub announces: u64,
    /// Entries in the stream.
    pub entries: u64,
    /// Processes killed.
    pub kills: u64,
    /// Sessions.
    pub sessions: u64,
    /// Sessions of which only a bound could be checked.
    pub hazy: u64,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.announces += other.announces;
        self.entries += other.entries;
        self.kills += other.kills;
        self.sessions += other.sessions;
        self.hazy += other.hazy;
    }
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

#[derive(Debug, Clone, Copy)]
enum Step {
    Client,
    Tracker,
    Message,
    Loss,
    Timeout,
    Consumer,
    Chore,
    Fault,
    Mend,
    Write,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    TrackerKill,
    RedisCrash,
    ConsumerKill,
    LinkDown,
    ScriptFlush,
    ClockJump,
}

impl Stage {
    /// A stage for the shipped code, or with one bug put back.
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
        let hazy =
            world.sessions.iter().filter(|session| session.truth.up.hazy() || session.truth.down.hazy());
        figures.hazy = hazy.count() as u64;
        Report { violation: outcome.err(), trace: world.trace.lines(), entries: world.history, figures }
    }

    /// The fewest steps after which the schedule still fails.
    #[must_use]
    pub fn shrink(&self, seed: u64) -> u64 {
        let fails = |most: &u64| self.play(seed, *most, Tracing::Off).violation.is_some();
        (0..=140).find(fails).unwrap_or(u64::MAX)
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
            unwritten: BTreeSet::new(),
            seen: EntryId::default(),
            lost_entries: false,
            rolled_back: false,
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
            settling: false,
            redis,
            trackers: Vec::new(),
            clients: Vec::new(),
            consumers: Vec::new(),
            messages: Vec::new(),
            facts: Vec::new(),
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

/// A synchronised clock.
fn skew(dice: &mut Dice) -> i64 {
    i64::try_from(dice.within(0..=2 * SKEW_MS)).unwrap_or(0) - i64::try_from(SKEW_MS).unwrap_or(0)
}

impl World<'_> {
    fn populate(&mut self) {
        let scenario = self.scenario.clone();
        self.tell(|| format!("{scenario:?}"));
        self.set_redis_clock();
        for slot in 0..usize::try_from(scenario.trackers).unwrap_or(1) {
            let (skew_ms, rules) = (skew(&mut self.dice), self.rules());
            self.trackers.push(Tracker::new(slot, skew_ms, rules));
        }
        for number in 0..scenario.consumers {
            let skew_ms = skew(&mut self.dice);
            self.consumers.push(Reader::new(format!("c{number}"), skew_ms));
        }
        (0..scenario.clients).for_each(|_| self.add_client());
    }

    /// Lets time pass.
    pub(crate) fn pass_time(&mut self, ms: u64) {
        self.now_ms += ms;
        self.set_redis_clock();
    }

    fn nothing_is_under_way(&self) -> bool {
        self.messages.is_empty() && self.trackers.iter().all(Tracker::is_idle)
    }

    fn step(&mut self) -> Checked {
        let ms = match self.dice.within(0..=999) {
            0..700 => self.dice.within(1..=40),
            700..900 => self.dice.within(500..=5000),
            900..970 => self.dice.within(10_000..=60_000),
            970..998 => self.dice.within(300_000..=2_400_000),
            // A day passes in peace: what is under way for so long is beyond any timeout.
            _ if self.nothing_is_under_way() => 86_400_000,
            _ => 3_000_000,
        };
        self.pass_time(ms);
        let faults = self.scenario.faults;
        let step = self.dice.weighted(&[
            (30, Step::Client),
            (18, Step::Tracker),
            (24, Step::Message),
            (faults / 3, Step::Loss),
            (4, Step::Timeout),
            (20, Step::Consumer),
            (5, Step::Chore),
            (faults, Step::Fault),
            (4, Step::Mend),
            (6, Step::Write),
        ]);
        match step {
            Step::Client => self.client_acts(),
            Step::Tracker => {
                let slot = self.dice.index(self.trackers.len());
                self.tracker_turn(slot);
            }
            Step::Message => return self.some_message_arrives(),
            Step::Loss => self.some_message_is_lost(),
            Step::Timeout => {
                let slot = self.dice.index(self.trackers.len());
                self.tracker_times_out(slot);
            }
            Step::Consumer => {
                let who = self.dice.index(self.consumers.len());
                return self.consumer_turn(who);
            }
            Step::Chore => {
                let who = self.dice.index(self.consumers.len());
                return self.chore_turn(who);
            }
            Step::Fault => self.fault(),
            Step::Mend => self.mend(),
            Step::Write => self.redis_writes(),
        }
        Ok(())
    }

    /// Any of those under way, in any order; Redis's own answers are no older than Redis.
    fn some_message_arrives(&mut self) -> Checked {
        if self.messages.is_empty() {
            return Ok(());
        }
        let place = self.dice.index(self.messages.len());
        let message = self.messages.remove(place);
        self.deliver(message)
    }

    fn some_message_is_lost(&mut self) {
        if !self.messages.is_empty() {
            let place = self.dice.index(self.messages.len());
            let message = self.messages.remove(place);
            self.tell(|| format!("a message of tracker {} is lost", message.slot));
        }
    }

    fn fault(&mut self) {
        let fault = self.dice.weighted(&[
            (3, Fault::TrackerKill),
            (3, Fault::RedisCrash),
            (4, Fault::ConsumerKill),
            (2, Fault::LinkDown),
            (1, Fault::ScriptFlush),
            (3, Fault::ClockJump),
        ]);
        let slot = self.dice.index(self.trackers.len());
        let who = self.dice.index(self.consumers.len());
        match fault {
            Fault::TrackerKill => self.tracker_crashes(slot),
            Fault::RedisCrash => self.redis_crashes(),
            Fault::ConsumerKill => self.consumer_crashes(who),
            Fault::LinkDown => self.trackers[slot].link_up = false,
            Fault::ScriptFlush => drop(self.redis.server.run(&crate::redis::words(&["SCRIPT", "FLUSH"]))),
            Fault::ClockJump => self.clock_jumps(slot, who),
        }
        self.figures.kills +=
            u64::from(matches!(fault, Fault::TrackerKill | Fault::RedisCrash | Fault::ConsumerKill));
    }

    fn mend(&mut self) {
        self.redis_returns();
        self.trackers.iter_mut().for_each(|tracker| tracker.link_up = true);
    }

    /// Consumers' clocks may jump in any schedule: they decide about nothing but presence, which the last sweep settles.
    fn clock_jumps(&mut self, slot: usize, who: usize) {
        let far = i64::try_from(self.dice.within(0..=172_800_000)).unwrap_or(0) - 86_400_000;
        let wild = self.scenario.clocks == Clocks::Wild;
        let whose = match self.dice.index(3) {
            0 if wild => {
                self.trackers[slot].skew_ms = far;
                "a tracker's"
            }
            1 if wild => {
                self.redis.skew_ms = far;
                self.set_redis_clock();
                "Redis's"
            }
            _ => {
                self.consumers[who].skew_ms = far;
                "a consumer's"
            }
        };
        self.tell(|| format!("{whose} clock jumps to {far} ms off"));
    }
}
