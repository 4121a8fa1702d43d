//! The truth: what each session has earned, from what its client really did. It knows which run of the client
//! every announce belongs to, so it needs no clocks, marks or sequence numbers to judge one.
//!
//! A run earns as far as its highest report that reached the books went. The first run counts from its first
//! booked report. A run whose beginning cannot be seen (its first booked report is not below where the run
//! before had got to, or was no `started`) is hazy: nobody can know from the counters alone, and only "never
//! more than the client moved" is asserted for it.

/// One report as the oracle hears of it, in the order in which Redis first executed them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BookedReport {
    /// The run of the client, from 0.
    pub(crate) run: u32,
    /// Whether it was a `started`.
    pub(crate) started: bool,
    /// Whether Redis still had the session's snapshot.
    pub(crate) snapshot: bool,
    /// Whether the client sent it before the one with which its session began in the books.
    pub(crate) early: bool,
    /// Whether the site credits the counters of a first `started`.
    pub(crate) credit_first: bool,
}

#[derive(Debug, Clone, Copy)]
struct Chain {
    run: u32,
    base: u64,
    max: u64,
    /// The next run began when this counter stood at 0, so its beginning left no mark.
    ended_unseen: bool,
}

/// One counter of a session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    chains: Vec<Chain>,
    hazy: bool,
}

impl Meter {
    /// Bytes earned; when hazy, at most so many.
    #[must_use]
    pub(crate) fn earned(&self) -> u64 {
        self.chains.iter().map(|chain| chain.max - chain.base).sum()
    }

    /// Bytes the client reported, whoever counted them: the bound when a baseline may have been lost.
    #[must_use]
    pub(crate) fn reported(&self) -> u64 {
        self.chains.iter().map(|chain| chain.max).sum()
    }

    /// Whether only a bound is known.
    #[must_use]
    pub(crate) const fn hazy(&self) -> bool {
        self.hazy
    }

    /// Whether a report was heard yet.
    pub(crate) fn begun(&self) -> bool {
        !self.chains.is_empty()
    }

    /// Takes in the counter of one report.
    pub(crate) fn hear(&mut self, counter: u64, report: BookedReport) {
        let fresh = Chain { run: report.run, base: 0, max: counter, ended_unseen: false };
        let baseline = if report.credit_first && report.started { 0 } else { counter };
        if !report.snapshot {
            self.hazy |= self.begun() && report.credit_first;
            self.chains.push(Chain { base: baseline, ..fresh });
            return;
        }
        let Some(newest) = self.chains.last().copied() else { return };
        if let Some(place) = self.chains.iter().rposition(|chain| chain.run == report.run) {
            self.go_on(place, counter, report.early);
        } else if report.run < newest.run {
            self.hazy = true;
            self.chains.insert(0, fresh);
        } else {
            self.hazy |= !(report.started && counter < newest.max || newest.max == 0);
            if let Some(newest) = self.chains.last_mut() {
                newest.ended_unseen = newest.max == 0;
            }
            self.chains.push(fresh);
        }
    }

    fn go_on(&mut self, place: usize, counter: u64, early: bool) {
        let old = place + 2 < self.chains.len();
        let chain = &mut self.chains[place];
        // What comes from two runs ago, from before the baseline, or from a run whose end nobody saw cannot
        // be placed.
        self.hazy |= counter > chain.max && (old || early || chain.ended_unseen);
        chain.max = chain.max.max(counter);
    }
}

/// One session: (passkey, info hash, peer id).
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    /// The announce with which the session began in the books.
    pub(crate) first: usize,
    /// Its snapshot was gone when it was booked again: what is booked then may repeat a key, and carries no
    /// bytes.
    pub(crate) forgotten: bool,
    /// The uploaded counter.
    pub(crate) up: Meter,
    /// The downloaded counter.
    pub(crate) down: Meter,
    /// Redis lost a tail of its file that held reports of this session.
    pub(crate) lost_reports: bool,
    /// Bytes (up, down) of entries that Redis lost after it had confirmed them.
    pub(crate) lost: (u64, u64),
}
