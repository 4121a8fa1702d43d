//! The tracker's half of the line, on one screen: hooks, swarm, record, reply.
//!
//! Admission and swarm answer from memory without waiting. Only something that a hook has to look up and the
//! recording itself leave the fast path. Frontends that have a runtime use [`Pipeline::announce`]; the UDP
//! workers take the same steps one by one, with rules, time and random numbers that serve a whole batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use contract::Event;
use rand::Rng;

use crate::announce::{
    Admission, Admitted, Announce, Choice, Counts, Offers, Peers, Refusal, Reply, Role, Scrape,
};
use crate::hooks::{LookUp, Verdict};
use crate::rulebook::{Intervals, Rulebook};
use crate::sharing::Outbox;
use crate::swarm::{Sighting, Swarms, Visit};
use crate::traffic::RecordError;

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

/// An announce between hooks.
#[derive(Debug)]
pub struct Applicant {
    admitted: Admitted,
    next_hook: usize,
    look_ups: u32,
}

/// How far an applicant got.
pub enum Step {
    /// Past the last hook.
    Admitted(Admitted),
    /// Turned away.
    Refused(Refusal),
    /// Stopped at a hook that has to find something out. Wait for it, then go on.
    Waiting(Applicant, LookUp),
}

impl Applicant {
    /// An announce before its first hook.
    #[must_use]
    pub fn new(announce: Announce, rules: &Rulebook) -> Self {
        let Intervals { interval, min_interval } = rules.intervals;
        let admission = Admission::new(interval, min_interval);
        Self { admitted: Admitted { announce, admission }, next_hook: 0, look_ups: 0 }
    }

    /// Passes through the hooks it has not passed yet. The rules must be those it began with.
    #[must_use]
    pub fn admit(mut self, rules: &Rulebook) -> Step {
        while let Some(hook) = rules.hooks.get(self.next_hook) {
            let Admitted { announce, admission } = &mut self.admitted;
            match judged(hook.announce(announce, admission), &mut self.look_ups) {
                Ok(None) => self.next_hook += 1,
                Ok(Some(look_up)) => return Step::Waiting(self, look_up),
                Err(refusal) => return Step::Refused(refusal),
            }
        }
        Step::Admitted(self.admitted)
    }
}

impl Step {
    /// Waits for what the hooks have to find out, until the applicant is past the last one.
    ///
    /// # Errors
    /// The refusal to show the client.
    pub async fn passed(mut self, rules: &Rulebook) -> Result<Admitted, Refusal> {
        loop {
            match self {
                Self::Admitted(admitted) => return Ok(admitted),
                Self::Refused(refusal) => return Err(refusal),
                Self::Waiting(applicant, look_up) => {
                    look_up.await?;
                    self = applicant.admit(rules);
                }
            }
        }
    }
}

impl Pipeline {
    /// Takes an announce all the way. The reply may leave once this resolves: what it promises is recorded.
    ///
    /// # Errors
    /// The refusal to show the client.
    pub async fn announce(&self, announce: Announce) -> Result<Reply, Refusal> {
        let rules = self.rules.load_full();
        let step = Applicant::new(announce, &rules).admit(&rules);
        self.finish(step, &rules).await
    }

    /// Takes an announce on that has come to its first wait, or past all of them, by the rules it began with.
    ///
    /// # Errors
    /// The refusal to show the client.
    pub async fn finish(&self, step: Step, rules: &Rulebook) -> Result<Reply, Refusal> {
        let admitted = step.passed(rules).await?;
        let reply = self.enter_swarm(&admitted, rules, Instant::now(), &mut rand::rng());
        if let Some((recorder, report)) = rules.report(admitted) {
            recorder.record(report).await.map_err(not_recorded)?;
        }
        Ok(reply)
    }

    /// Counts the swarms of a scrape, in its order.
    ///
    /// # Errors
    /// The refusal to show the client.
    pub async fn scrape(&self, scrape: &Scrape) -> Result<Vec<Counts>, Refusal> {
        let rules = self.rules.load_full();
        for hook in &rules.hooks {
            let mut look_ups = 0;
            while let Some(look_up) = judged(hook.scrape(scrape), &mut look_ups)? {
                look_up.await?;
            }
        }
        Ok(scrape.info_hashes.iter().map(|info_hash| self.swarms.counts(info_hash)).collect())
    }

    /// Lets an admitted client into its swarm, or out of it. Peers that forwarders named come after the
    /// swarm's own.
    pub fn enter_swarm(
        &self,
        admitted: &Admitted,
        rules: &Rulebook,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Reply {
        let Admitted { announce, admission } = admitted;
        let (num_want, choice) = match admission.peers {
            Peers::Offered(choice) => (announce.num_want, choice),
            Peers::Withheld => (0, Choice::default()),
        };
        let visit = Visit {
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
        };
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

/// 136 years fit.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// What a client is told whose announce could not be booked.
#[must_use]
pub fn not_recorded(error: RecordError) -> Refusal {
    Refusal::for_now(format!("{error}; your client will try again"))
}

/// `None` for a pass, the look-up for a wait, an error for a refusal or for a hook that waits in circles.
fn judged(verdict: Verdict, look_ups: &mut u32) -> Result<Option<LookUp>, Refusal> {
    match verdict {
        Verdict::Pass => Ok(None),
        Verdict::Refuse(refusal) => Err(refusal),
        Verdict::Wait(_) if *look_ups == MAX_LOOK_UPS => Err(Refusal::for_now("internal server error")),
        Verdict::Wait(look_up) => {
            *look_ups += 1;
            Ok(Some(look_up))
        }
    }
}
