//! The truth, from the client's side: what each of its runs had counted when it announced, and what of that
//! it was told to be recorded. It knows which run every announce belongs to, so it needs no clocks, marks,
//! paths or sequence numbers to judge one.
//!
//! Never more than what reached a tracker: a run's bytes are its highest counter less its lowest, and the
//! lowest of a run that began with `started` is 0. Never less than what was answered: each run's highest
//! counter that was, less the lowest of the run with which the session began in the books.

use crate::fact::Fact;

/// What one run said of one counter.
#[derive(Debug, Clone, Copy)]
struct Run {
    number: u32,
    /// Its beginning was told: it counts from 0.
    began: bool,
    /// The least and the most that reached a tracker.
    heard: (u64, u64),
    /// The least and the most that was answered.
    answered: Option<(u64, u64)>,
}

/// One counter of a session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    runs: Vec<Run>,
}

impl Meter {
    /// Bytes that nobody may have more than.
    pub(crate) fn most(&self) -> u64 {
        let most = |run: &Run| run.heard.1 - if run.began { 0 } else { run.heard.0 };
        self.runs.iter().map(most).sum()
    }

    /// Bytes that were answered.
    pub(crate) fn least(&self, baseline: Baseline) -> u64 {
        let answered = self.runs.iter().filter_map(|run| run.answered);
        let lowest = match baseline {
            Baseline::Credited => 0,
            Baseline::ClaimsNothing => answered.clone().next().map_or(0, |(lowest, _)| lowest),
        };
        answered.map(|(_, highest)| highest).sum::<u64>().saturating_sub(lowest)
    }

    fn reaches_a_tracker(&mut self, counter: u64, fact: &Fact) {
        let began = fact.began;
        match self.runs.iter_mut().find(|run| run.number == fact.run) {
            Some(run) => run.heard = wider(run.heard, counter),
            None => {
                let run = Run { number: fact.run, began, heard: (counter, counter), answered: None };
                self.runs.push(run);
                self.runs.sort_by_key(|run| run.number);
            }
        }
    }

    fn is_answered(&mut self, counter: u64, fact: &Fact) {
        if let Some(run) = self.runs.iter_mut().find(|run| run.number == fact.run) {
            run.answered = Some(wider(run.answered.unwrap_or((counter, counter)), counter));
        }
    }
}

fn wider((least, most): (u64, u64), counter: u64) -> (u64, u64) {
    (least.min(counter), most.max(counter))
}

/// What a session's first counters are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Baseline {
    ClaimsNothing,
    /// The site trusts them, and it was a `started`.
    Credited,
}

/// One session: (passkey, info hash, peer id).
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    /// The uploaded counter.
    pub(crate) up: Meter,
    /// The downloaded counter.
    pub(crate) down: Meter,
    /// Why only "never more" can be asserted of it.
    pub(crate) forgotten: Option<Forgotten>,
}

/// Why what was answered may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgotten {
    /// Its snapshot expired, so it began anew.
    Expired,
    /// Redis lost reports that no tail had any more.
    BeyondTheTail,
}

impl Truth {
    pub(crate) fn reaches_a_tracker(&mut self, fact: &Fact) {
        self.up.reaches_a_tracker(fact.up, fact);
        self.down.reaches_a_tracker(fact.down, fact);
    }

    pub(crate) fn is_answered(&mut self, fact: &Fact) {
        self.up.is_answered(fact.up, fact);
        self.down.is_answered(fact.down, fact);
    }
}
