//! The tracker's half of the line, told once: hooks, swarm, recorder, reply. HTTP, UDP and the instruction
//! benchmark all begin an announce with [`Pipeline::start`].
//!
//! Hooks and swarm answer from memory, so most announces are done when `start` returns. Two things make one
//! wait: a hook that has to look something up, and the recorder, which must have the announce before its
//! client is answered. Frontends wait in their own ways: an HTTP connection has a future to wait in
//! ([`Pipeline::finish`]); a UDP worker turns to the next packet, has look-ups run elsewhere, and leaves the
//! reply with the recorder ([`Unrecorded::submit`]), so that a recorded announce takes no task.
//!
//! An announce keeps the rules it began with. Rules, time and random numbers are arguments, because one of
//! each serves a whole batch of packets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use contract::Event;
use rand::Rng;

use crate::announce::{
    Admission, Admitted, Announce, Choice, Offers, Peers, Refusal, Reply, Report, Role, Scrape, ScrapeReply,
};
use crate::hooks::{Hook, LookUp, Verdict};
use crate::rulebook::{Intervals, Rulebook};
use crate::sharing::Outbox;
use crate::swarm::{Sighting, Swarms, Visit};
use crate::traffic::{RecordError, Recorder};

/// A hook that still has to wait after so many look-ups goes in circles.
const MAX_LOOK_UPS: u32 = 16;
/// What the swarm's clock shows at the start, in seconds: what other trackers saw is older than this process.
const CLOCK_START: u32 = 1 << 30;

/// Everything an announce passes.
#[derive(Debug)]
pub struct Pipeline {
    /// The operator's rules. An announce keeps those it began with; a reload swaps them for the next one.
    pub rules: ArcSwap<Rulebook>,
    /// Who shares what. Outlives every reload.
    pub swarms: Swarms,
    /// Where other trackers are told of our visits; `None` when there are none.
    pub outbox: Option<Arc<Outbox>>,
    /// When the swarm's clock began, which never runs backwards.
    pub started: Instant,
}

/// How far a request came without waiting.
#[allow(clippy::large_enum_variant)] // Handed on at once; nobody keeps many.
pub enum Progress<T, P> {
    /// To its end: this may be told to the client.
    Done(Result<T, Refusal>),
    /// To something that has to be waited for.
    Pending(P),
}

/// What an announce waits for.
#[allow(clippy::large_enum_variant)] // As above.
pub enum Pending {
    /// A hook has to find something out.
    LookUp(UndecidedAnnounce),
    /// The client is in its swarm, and the recorder must have its report.
    Record(Unrecorded),
}

/// An announce at a hook that has to find something out.
pub struct UndecidedAnnounce {
    announce: Announce,
    admission: Admission,
    hooks: HookCursor,
    look_up: LookUp,
}

/// A scrape at a hook that has to find something out.
pub struct UndecidedScrape {
    scrape: Scrape,
    hooks: HookCursor,
    look_up: LookUp,
}

/// A reply that nobody gets at before its announce is recorded.
pub struct Unrecorded {
    reply: Reply,
    report: Report,
}

impl Pipeline {
    /// Takes an announce as far as it comes without waiting.
    pub fn start(
        &self,
        announce: Announce,
        rules: &Rulebook,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Progress<Reply, Pending> {
        let Intervals { interval, min_interval } = rules.intervals;
        let mut admission = Admission::new(interval, min_interval);
        let mut hooks = HookCursor::default();
        match hooks.advance(rules, |hook| hook.announce(&announce, &mut admission)) {
            Ok(None) => match self.enter(Admitted { announce, admission }, rules, now, rng) {
                Progress::Done(outcome) => Progress::Done(outcome),
                Progress::Pending(unrecorded) => Progress::Pending(Pending::Record(unrecorded)),
            },
            Ok(Some(look_up)) => {
                let undecided = UndecidedAnnounce { announce, admission, hooks, look_up };
                Progress::Pending(Pending::LookUp(undecided))
            }
            Err(refusal) => Progress::Done(Err(refusal)),
        }
    }

    /// Waits for whatever an announce waits for. The rules must be those it began with.
    ///
    /// # Errors
    /// The refusal to show the client.
    pub async fn finish(&self, pending: Pending, rules: &Rulebook) -> Result<Reply, Refusal> {
        let unrecorded = match pending {
            Pending::Record(unrecorded) => unrecorded,
            Pending::LookUp(undecided) => match self.look_up(undecided, rules).await {
                Progress::Done(outcome) => return outcome,
                Progress::Pending(unrecorded) => unrecorded,
            },
        };
        unrecorded.record(rules).await
    }

    /// Waits for what the hooks have to find out, and goes on. The rules must be those it began with.
    pub async fn look_up(
        &self,
        undecided: UndecidedAnnounce,
        rules: &Rulebook,
    ) -> Progress<Reply, Unrecorded> {
        let UndecidedAnnounce { announce, mut admission, mut hooks, look_up } = undecided;
        let judge = |hook: &dyn Hook| hook.announce(&announce, &mut admission);
        match hooks.finish(rules, look_up, judge).await {
            Ok(()) => self.enter(Admitted { announce, admission }, rules, Instant::now(), &mut rand::rng()),
            Err(refusal) => Progress::Done(Err(refusal)),
        }
    }

    /// Lets an admitted client into its swarm, and finds out whether its reply has to wait for the recorder.
    fn enter(
        &self,
        admitted: Admitted,
        rules: &Rulebook,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Progress<Reply, Unrecorded> {
        let reply = self.enter_swarm(&admitted, rules, now, rng);
        match rules.report(admitted) {
            Some(report) => Progress::Pending(Unrecorded { reply, report }),
            None => Progress::Done(Ok(reply)),
        }
    }

    /// Lets an admitted client into its swarm, or out of it. Peers that forwarders named come after the
    /// swarm's own.
    fn enter_swarm(&self, admitted: &Admitted, rules: &Rulebook, now: Instant, rng: &mut impl Rng) -> Reply {
        let Admitted { announce, admission } = admitted;
        let visit = visit(admitted);
        let mut offers = Offers::with(announce.peer_ids);
        let counts = self.swarms.visit(&visit, self.seconds_at(now), rng, &mut offers);
        if let Some(outbox) = &self.outbox {
            outbox.share(visit.sighting(), now);
        }
        rules.forward(admitted, &mut offers);
        Reply {
            interval: admission.interval,
            min_interval: admission.min_interval,
            counts,
            offers,
            external_ip: announce.ip,
            warning: admission.warning.clone(),
        }
    }

    /// Takes a scrape as far as it comes without waiting.
    pub fn start_scrape(&self, scrape: Scrape, rules: &Rulebook) -> Progress<ScrapeReply, UndecidedScrape> {
        let mut hooks = HookCursor::default();
        match hooks.advance(rules, |hook| hook.scrape(&scrape)) {
            Ok(None) => Progress::Done(Ok(self.count(scrape))),
            Ok(Some(look_up)) => Progress::Pending(UndecidedScrape { scrape, hooks, look_up }),
            Err(refusal) => Progress::Done(Err(refusal)),
        }
    }

    /// Waits for what the hooks have to find out about a scrape. The rules must be those it began with.
    ///
    /// # Errors
    /// The refusal to show the client.
    pub async fn finish_scrape(
        &self,
        undecided: UndecidedScrape,
        rules: &Rulebook,
    ) -> Result<ScrapeReply, Refusal> {
        let UndecidedScrape { scrape, mut hooks, look_up } = undecided;
        hooks.finish(rules, look_up, |hook| hook.scrape(&scrape)).await?;
        Ok(self.count(scrape))
    }

    fn count(&self, Scrape { info_hashes, .. }: Scrape) -> ScrapeReply {
        let counts = info_hashes.iter().map(|info_hash| self.swarms.counts(info_hash)).collect();
        ScrapeReply { info_hashes, counts }
    }

    /// Takes in what another tracker saw, so long ago. Returns whether it was news.
    pub fn learn(&self, sighting: &Sighting, age: Duration) -> bool {
        let now = Duration::from_secs(CLOCK_START.into()) + self.started.elapsed();
        let news = self.swarms.learn(sighting, seconds(now.saturating_sub(age)));
        if news {
            let rules = self.rules.load();
            for hook in &rules.hooks {
                hook.elsewhere(sighting, age, rules.intervals.interval);
            }
        }
        news
    }

    /// Seconds on the swarm's clock.
    #[must_use]
    pub fn swarm_seconds(&self) -> u32 {
        self.seconds_at(Instant::now())
    }

    fn seconds_at(&self, now: Instant) -> u32 {
        CLOCK_START.saturating_add(seconds(now.saturating_duration_since(self.started)))
    }
}

/// An admitted announce, as the swarm sees it.
fn visit(Admitted { announce, admission }: &Admitted) -> Visit {
    let (num_want, choice) = match admission.peers {
        Peers::Offered(choice) => (announce.num_want, choice),
        Peers::Withheld => (0, Choice::default()),
    };
    Visit {
        info_hash: announce.info_hash,
        peer_id: announce.peer_id,
        user: admission.account.as_ref().map(|account| account.tag),
        ip: announce.ip,
        port: announce.port,
        role: announce.role(),
        leaving: announce.event == Event::Stopped,
        completed: announce.event == Event::Completed && announce.role() == Role::Seeder,
        num_want,
        families: announce.families,
        choice,
    }
}

/// 136 years fit.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// Which hooks a request has passed. All that one hook decides is seen by those behind it.
#[derive(Default)]
struct HookCursor {
    passed: usize,
    look_ups: u32,
}

impl HookCursor {
    /// Passes hooks up to one that has to look something up, which is asked again afterwards; `None` behind
    /// the last one.
    fn advance(
        &mut self,
        rules: &Rulebook,
        mut judge: impl FnMut(&dyn Hook) -> Verdict,
    ) -> Result<Option<LookUp>, Refusal> {
        while let Some(hook) = rules.hooks.get(self.passed) {
            match judge(hook.as_ref()) {
                Verdict::Pass => self.passed += 1,
                Verdict::Refuse(refusal) => return Err(refusal),
                Verdict::Wait(_) if self.look_ups == MAX_LOOK_UPS => {
                    return Err(Refusal::for_now("internal server error"));
                }
                Verdict::Wait(look_up) => {
                    self.look_ups += 1;
                    return Ok(Some(look_up));
                }
            }
        }
        Ok(None)
    }

    /// Passes all hooks that are left, waiting where one has to look something up.
    async fn finish(
        &mut self,
        rules: &Rulebook,
        mut look_up: LookUp,
        mut judge: impl FnMut(&dyn Hook) -> Verdict,
    ) -> Result<(), Refusal> {
        loop {
            look_up.await?;
            match self.advance(rules, &mut judge)? {
                Some(next) => look_up = next,
                None => return Ok(()),
            }
        }
    }
}

impl Unrecorded {
    /// Waits until the announce is recorded.
    async fn record(self, rules: &Rulebook) -> Result<Reply, Refusal> {
        let Self { reply, report } = self;
        let recorded = match recorder(rules) {
            Ok(recorder) => recorder.record(report).await,
            Err(missing) => Err(missing),
        };
        recorded.map(|()| reply).map_err(not_recorded)
    }

    /// Has `answer` called when it is known whether the announce is recorded: once, on the recorder's task,
    /// so it must not block. The rules must be those that the announce began with.
    pub fn submit(self, rules: &Rulebook, answer: impl FnOnce(Result<Reply, Refusal>) + Send + 'static) {
        let Self { reply, report } = self;
        let recorded = move |recorded: Result<(), RecordError>| {
            answer(recorded.map(|()| reply).map_err(not_recorded));
        };
        match recorder(rules) {
            Ok(recorder) => recorder.submit(report, Box::new(recorded)),
            Err(missing) => recorded(Err(missing)),
        }
    }
}

/// Rules that asked for a report have a recorder; others cannot book it.
fn recorder(rules: &Rulebook) -> Result<&Recorder, RecordError> {
    rules.recorder.as_ref().ok_or(RecordError::Unavailable)
}

/// The counters of a client that comes back are absolute, so it loses nothing.
fn not_recorded(error: RecordError) -> Refusal {
    Refusal::for_now(format!("{error}; your client will try again"))
}
