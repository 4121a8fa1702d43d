//! Sessions as a Redis books them that goes back in time and forgets, and what their clients really moved.

#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)] // Each test uses a part of it.

use books::{Entry, EntryId};
use contract::{Claim, Event, TrafficEvent};
use proptest::prelude::*;

use super::{T0, event};

#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// The client reports: so many bytes more (of upload, of download), so many seconds later.
    Report([u64; 2], u64),
    /// The client begins a run.
    Restart(u64),
    /// Redis comes back without the newest so many events, which the ledger may have.
    GoBack(usize),
    /// Redis comes back without the session.
    Forget,
}

/// What Redis knows of the session.
#[derive(Debug, Clone, Copy)]
struct Known {
    born: u64,
    claimed: [u64; 2],
    counters: [u64; 2],
    ts: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Session {
    pub entries: Vec<Entry>,
    /// What the client moved since it was first heard, of upload and download.
    pub truth: [u64; 2],
    now: u64,
    counters: [u64; 2],
    redis: Option<Known>,
    /// Redis' older states of this line.
    past: Vec<Option<Known>>,
    /// How often Redis may forget it yet.
    may_be_forgotten: u32,
}

impl Session {
    pub fn after(steps: &[Step], may_be_forgotten: u32) -> Self {
        let mut session = Self { now: T0 * 1000, counters: [5000, 700], may_be_forgotten, ..Self::default() };
        session.report(Event::Started);
        for step in steps {
            session.step(*step);
        }
        session
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Report(grown, seconds) => {
                self.now += seconds * 1000;
                (0..2).for_each(|which| {
                    self.counters[which] += grown[which];
                    self.truth[which] += grown[which];
                });
                self.report(Event::None);
            }
            Step::Restart(seconds) => {
                self.now += seconds * 1000;
                self.counters = [0; 2];
                self.report(Event::Started);
            }
            Step::GoBack(events) => {
                let kept = self.past.len().saturating_sub(events);
                let kept = if self.may_be_forgotten == 0 { kept.max(1) } else { kept };
                self.may_be_forgotten -= u32::from(kept == 0);
                if let Some(known) = self.past.get(kept).copied() {
                    self.redis = known;
                    self.past.truncate(kept);
                }
            }
            Step::Forget if self.may_be_forgotten == 0 => {}
            Step::Forget => {
                self.may_be_forgotten -= 1;
                self.redis = None;
                self.past.clear();
            }
        }
    }

    fn report(&mut self, word: Event) {
        let before =
            self.redis.unwrap_or(Known { born: self.now, claimed: [0; 2], counters: self.counters, ts: 0 });
        let gained: [u64; 2] = std::array::from_fn(|which| {
            let (now, then) = (self.counters[which], before.counters[which]);
            if now < then { now } else { now - then }
        });
        let ts = (self.now / 1000).max(before.ts + 1);
        let claimed = [before.claimed[0] + gained[0], before.claimed[1] + gained[1]];
        let claim = Claim {
            at_ms: self.now,
            up: self.counters[0],
            down: self.counters[1],
            born_ms: before.born,
            tu: claimed[0],
            td: claimed[1],
            n: self.entries.len() as u64,
        };
        let dt = if before.ts == 0 { 0 } else { ts - before.ts };
        let [du, dd] = gained;
        let event = TrafficEvent { du, dd, dt, ts, event: word, claim: Some(claim), ..event(ts) };
        self.entries.push(Entry { id: EntryId { ms: self.now, seq: self.entries.len() as u64 }, event });
        self.past.push(self.redis);
        self.redis = Some(Known { born: before.born, claimed, counters: self.counters, ts });
    }
}

fn report() -> impl Strategy<Value = Step> {
    let bytes = || prop_oneof![Just(0), 0..50_000_u64];
    ([bytes(), bytes()], prop_oneof![1..10_u64, 600..4000_u64])
        .prop_map(|(grown, after)| Step::Report(grown, after))
}

/// One run that is reported of, whatever becomes of Redis.
pub fn one_run() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![6 => report(), 2 => (1..6_usize).prop_map(Step::GoBack), 1 => Just(Step::Forget)];
    proptest::collection::vec(step, 1..30)
}

/// Runs that follow each other, and all the rest.
pub fn runs() -> impl Strategy<Value = Vec<Step>> {
    let restart = (130..4000_u64).prop_map(Step::Restart);
    let back = (1..6_usize).prop_map(Step::GoBack);
    let step = prop_oneof![6 => report(), 1 => restart, 1 => back, 1 => Just(Step::Forget)];
    proptest::collection::vec(step, 1..30)
}

/// Runs, and a Redis that keeps what it has.
pub fn undisturbed() -> impl Strategy<Value = Vec<Step>> {
    let restart = (1..4000_u64).prop_map(Step::Restart);
    proptest::collection::vec(prop_oneof![4 => report(), 1 => restart], 1..30)
}
