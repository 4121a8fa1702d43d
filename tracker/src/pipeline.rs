//! The tracker's half of the line, on one screen: hooks, swarm, record, reply.
//!
//! Admission and swarm answer from memory without waiting. Only a passkey that nobody knows yet and the recording itself
//! leave the fast path.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use contract::Event;

use crate::announce::{Admission, Admitted, Announce, Counts, Offers, Refusal, Reply, Report, Role, Scrape};
use crate::hooks::{Hook, LookUp, Verdict};
use crate::swarm::{Swarms, Visit};
use crate::traffic::Recorder;

/// A hook that still has to wait after so many look-ups goes in circles.
const MAX_LOOK_UPS: usize = 8;

/// Everything an announce passes.
#[derive(Debug)]
pub struct Pipeline {
    /// The rules, in the operator's order.
    pub hooks: Vec<Box<dyn Hook>>,
    /// Who shares what.
    pub swarms: Swarms,
    /// Where accepted announces are booked; `None` when traffic push is off.
    pub recorder: Option<Recorder>,
    /// What clients are told unless a hook changes it.
    pub intervals: Intervals,
    /// The zero of the swarm's clock, which never runs backwards.
    pub started: Instant,
}

/// Announce intervals in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// How often to announce.
    pub interval: u32,
    /// How often at most.
    pub min_interval: u32,
}

impl Pipeline {
    /// Takes an announce all the way. The reply may leave once this resolves: what it promises is recorded.
    ///
    /// # Errors
    /// The refusal to show the client.
    pub async fn announce(&self, announce: Announce) -> Result<Reply, Refusal> {
        let admitted = self.admit(announce).await?;
        let (counts, offers) = self.enter_swarm(&admitted);
        let reply = reply(&admitted, counts, offers);
        self.record(admitted).await?;
        Ok(reply)
    }

    /// Counts the swarms of a scrape, in its order.
    ///
    /// # Errors
    /// The refusal to show the client.
    pub async fn scrape(&self, scrape: &Scrape) -> Result<Vec<Counts>, Refusal> {
        for hook in &self.hooks {
            settle(|| hook.scrape(scrape)).await?;
        }
        Ok(scrape.info_hashes.iter().map(|info_hash| self.swarms.counts(info_hash)).collect())
    }

    async fn admit(&self, announce: Announce) -> Result<Admitted, Refusal> {
        let Intervals { interval, min_interval } = self.intervals;
        let mut admission = Admission { interval, min_interval, account: None };
        for hook in &self.hooks {
            settle(|| hook.announce(&announce, &mut admission)).await?;
        }
        Ok(Admitted { announce, admission })
    }

    fn enter_swarm(&self, admitted: &Admitted) -> (Counts, Offers) {
        let announce = &admitted.announce;
        let visit = Visit {
            info_hash: announce.info_hash,
            peer_id: announce.peer_id,
            user: admitted.admission.account.as_ref().map(|account| account.tag),
            ip: announce.ip,
            port: announce.port,
            role: announce.role(),
            leaving: announce.event == Event::Stopped,
            completed: announce.event == Event::Completed && announce.role() == Role::Seeder,
            num_want: announce.num_want,
            families: announce.families,
        };
        let mut offers = Offers::default();
        let counts = self.swarms.visit(&visit, self.swarm_seconds(), &mut rand::rng(), &mut offers);
        (counts, offers)
    }

    async fn record(&self, admitted: Admitted) -> Result<(), Refusal> {
        // Without an account there is nobody to book the bytes on.
        let (Some(recorder), Some(account)) = (&self.recorder, admitted.admission.account.clone()) else {
            return Ok(());
        };
        let report = Report { admitted, account, observed_ms: unix_milliseconds() };
        recorder
            .record(report)
            .await
            .map_err(|error| Refusal::for_now(format!("{error}; your client will try again")))
    }

    /// Seconds on the swarm's clock.
    #[must_use]
    pub fn swarm_seconds(&self) -> u32 {
        // 136 years of uptime fit.
        u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX)
    }
}

/// Asks a hook until it has decided.
async fn settle(mut ask: impl FnMut() -> Verdict) -> Result<(), Refusal> {
    for _ in 0..MAX_LOOK_UPS {
        let look_up: LookUp = match ask() {
            Verdict::Pass => return Ok(()),
            Verdict::Refuse(refusal) => return Err(refusal),
            Verdict::Wait(look_up) => look_up,
        };
        look_up.await?;
    }
    Err(Refusal::for_now("internal server error"))
}

fn reply(admitted: &Admitted, counts: Counts, offers: Offers) -> Reply {
    Reply {
        interval: admitted.admission.interval,
        min_interval: admitted.admission.min_interval,
        counts,
        offers,
        external_ip: admitted.announce.ip,
    }
}

fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
