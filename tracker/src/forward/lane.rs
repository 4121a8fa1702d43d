//! One forwarder's lane: a bounded queue of jobs and the forwarder's health. Each forwarder has a lane and
//! workers of its own, so that one that hangs delays nobody else.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use contract::{Event, InfoHash, PeerId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::Pace;
use super::answer::Failure;
use super::health::{Health, Permission, Probe, Turn};
use super::metrics::LaneMetrics;
use super::store::Call;
use crate::announce::Role;

/// Jobs that one forwarder is asked at the same time: also how many workers it has.
pub(super) const MAX_IN_FLIGHT: usize = 4;
/// Jobs that wait for one forwarder; more are dropped and counted. What they say comes again with the
/// client's next announce.
pub(super) const MAX_WAITING: usize = 256;
/// How often a job is tried before it is dropped.
const MAX_ATTEMPTS: u8 = 3;

/// What one forwarder is told of one client. There is no room for a passkey or counters here: what is not in
/// a job cannot leak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) info_hash: InfoHash,
    pub(super) peer_id: PeerId,
    pub(super) endpoint: SocketAddr,
    pub(super) role: Role,
    pub(super) event: Event,
    /// When the client announced.
    asked: Instant,
    attempts: u8,
}

impl Job {
    pub(super) fn new(call: &Call, event: Event, asked: Instant) -> Self {
        let Call { info_hash, peer_id, endpoint, role, .. } = *call;
        Self { info_hash, peer_id, endpoint, role, event, asked, attempts: 0 }
    }

    fn same_client(&self, other: &Self) -> bool {
        self.info_hash == other.info_hash && self.endpoint == other.endpoint
    }
}

/// A job on its way.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) job: Job,
    probe: Probe,
}

/// Why there is no job now.
#[derive(Debug, PartialEq, Eq)]
enum Nothing {
    /// Until somebody pushes one, or one that is under way ends.
    UntilNews,
    /// Until then at the latest.
    Until(Instant),
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Job>,
    in_flight: Vec<Job>,
    health: Health,
}

/// A lane.
#[derive(Debug)]
pub(super) struct Lane {
    name: String,
    job_lifetime: Duration,
    state: Mutex<State>,
    news: Notify,
    pub(super) metrics: LaneMetrics,
}

impl Lane {
    pub(super) fn new(name: &str, pace: &Pace, metrics: LaneMetrics) -> Self {
        let health = Health::new(pace.first_pause, pace.longest_pause);
        Self {
            name: name.to_owned(),
            job_lifetime: pace.job_lifetime,
            state: Mutex::new(State { waiting: VecDeque::new(), in_flight: Vec::new(), health }),
            news: Notify::new(),
            metrics,
        }
    }

    /// Leaves a job, if there is room.
    pub(super) fn push(&self, job: Job) {
        let mut state = self.state.lock();
        if state.waiting.len() < MAX_WAITING {
            state.waiting.push_back(job);
            self.metrics.waiting(state.waiting.len());
            drop(state);
            self.news.notify_one();
        } else {
            self.metrics.dropped.inc();
        }
    }

    /// The next job, when there is one and the forwarder is worth asking.
    pub(super) async fn next(&self) -> Errand {
        loop {
            // Taken before looking: news between the look and the wait is not missed.
            let news = self.news.notified();
            let wait = match self.take(Instant::now()) {
                Ok(errand) => return errand,
                Err(wait) => wait,
            };
            match wait {
                Nothing::UntilNews => news.await,
                Nothing::Until(time) => tokio::select! {
                    () = news => {}
                    () = tokio::time::sleep_until(time.into()) => {}
                },
            }
        }
    }

    /// Sets the gauges to what is the case.
    pub(super) fn publish(&self) {
        let state = self.state.lock();
        self.metrics.waiting(state.waiting.len());
        self.metrics.suspended.set(state.health.is_suspended().into());
    }

    fn take(&self, now: Instant) -> Result<Errand, Nothing> {
        let mut state = self.state.lock();
        let before = state.waiting.len();
        state.waiting.retain(|job| now.saturating_duration_since(job.asked) < self.job_lifetime);
        self.metrics.dropped.inc_by((before - state.waiting.len()) as u64);
        let taken = state.take(now);
        self.metrics.waiting(state.waiting.len());
        if taken.is_ok() && !state.waiting.is_empty() {
            // One worker was woken; there is work for another.
            self.news.notify_one();
        }
        taken
    }

    /// The forwarder answered.
    pub(super) fn answered(&self, errand: &Errand) {
        let mut state = self.state.lock();
        state.landed(&errand.job);
        if state.health.answered() {
            self.metrics.suspended.set(0);
            info!(forwarder = self.name, "the forwarder is back");
        }
        drop(state);
        self.news.notify_one();
    }

    /// The forwarder did not answer. The job waits for the next try, unless it had enough of them.
    pub(super) fn failed(&self, errand: Errand, failure: &Failure, now: Instant) {
        let Errand { mut job, probe } = errand;
        let mut state = self.state.lock();
        state.landed(&job);
        job.attempts += 1;
        if job.attempts < MAX_ATTEMPTS {
            state.waiting.push_front(job);
        } else {
            self.metrics.dropped.inc();
        }
        if state.health.failed(probe, now) == Turn::Suspended {
            self.metrics.suspended.set(1);
            warn!(forwarder = self.name, %failure, "the forwarder is suspended; it is tried again from time to time");
        }
        drop(state);
        self.news.notify_one();
    }
}

impl State {
    /// The first job whose client has none under way: a `stopped` must not overtake its `started`.
    fn take(&mut self, now: Instant) -> Result<Errand, Nothing> {
        match self.health.permission(now) {
            Permission::Go => {}
            Permission::AfterProbe => return Err(Nothing::UntilNews),
            // Without a job there is nothing to probe with.
            Permission::From(_) if self.waiting.is_empty() => return Err(Nothing::UntilNews),
            Permission::From(time) => return Err(Nothing::Until(time)),
        }
        let free = |job: &Job| !self.in_flight.iter().any(|other| other.same_client(job));
        let place = self.waiting.iter().position(free).ok_or(Nothing::UntilNews)?;
        let job = self.waiting.remove(place).ok_or(Nothing::UntilNews)?;
        let probe = if self.health.is_suspended() { Probe::Yes } else { Probe::No };
        self.health.began();
        self.in_flight.push(job.clone());
        Ok(Errand { job, probe })
    }

    fn landed(&mut self, job: &Job) {
        if let Some(place) = self.in_flight.iter().position(|other| other.same_client(job)) {
            self.in_flight.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::ForwardMetrics;

    fn lane() -> Lane {
        let metrics = ForwardMetrics::new(&prometheus::Registry::new()).unwrap().of("f").unwrap();
        Lane::new("f", &Pace::default(), metrics)
    }

    fn job(port: u16, event: Event, asked: Instant) -> Job {
        Job {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            endpoint: ([192, 0, 2, 1], port).into(),
            role: Role::Leecher,
            event,
            asked,
            attempts: 0,
        }
    }

    #[test]
    fn the_queue_is_bounded_and_what_does_not_fit_is_counted() {
        let (lane, now) = (lane(), Instant::now());
        for _ in 0..MAX_WAITING + 5 {
            lane.push(job(1, Event::None, now));
        }
        assert_eq!(lane.state.lock().waiting.len(), MAX_WAITING);
        assert_eq!(lane.metrics.dropped.get(), 5);
    }

    #[test]
    fn a_clients_jobs_leave_one_after_the_other() {
        let (lane, now) = (lane(), Instant::now());
        lane.push(job(1, Event::Started, now));
        lane.push(job(1, Event::Stopped, now));
        lane.push(job(2, Event::Started, now));
        let first = lane.take(now).unwrap();
        assert_eq!((first.job.endpoint.port(), first.job.event), (1, Event::Started));
        assert_eq!(lane.take(now).unwrap().job.endpoint.port(), 2);
        assert_eq!(lane.take(now).unwrap_err(), Nothing::UntilNews);
        lane.answered(&first);
        assert_eq!(lane.take(now).unwrap().job.event, Event::Stopped);
    }

    #[test]
    fn after_a_failure_the_same_job_is_the_probe() {
        let (lane, now) = (lane(), Instant::now());
        lane.push(job(1, Event::Started, now));
        lane.push(job(2, Event::Started, now));
        let errand = lane.take(now).unwrap();
        lane.failed(errand, &Failure::Silent, now);
        assert_eq!(lane.metrics.suspended.get(), 1);
        let later = now + Pace::default().first_pause;
        assert_eq!(lane.take(now).unwrap_err(), Nothing::Until(later));
        let probe = lane.take(later).unwrap();
        assert_eq!(probe.job.endpoint.port(), 1);
        assert_eq!(lane.take(later).unwrap_err(), Nothing::UntilNews, "one probe at a time");
        lane.answered(&probe);
        assert_eq!((lane.metrics.suspended.get(), lane.take(later).unwrap().job.endpoint.port()), (0, 2));
    }

    #[test]
    fn a_job_is_tried_a_few_times_and_not_when_it_is_old() {
        let (lane, mut now) = (lane(), Instant::now());
        lane.push(job(1, Event::Started, now));
        for _ in 0..MAX_ATTEMPTS {
            let errand = lane.take(now).unwrap();
            lane.failed(errand, &Failure::Silent, now);
            now += Duration::from_secs(60);
        }
        assert_eq!((lane.take(now).unwrap_err(), lane.metrics.dropped.get()), (Nothing::UntilNews, 1));
        lane.push(job(1, Event::Started, now));
        now += Pace::default().job_lifetime;
        assert_eq!((lane.take(now).unwrap_err(), lane.metrics.dropped.get()), (Nothing::UntilNews, 2));
    }
}
