//! The bounded queue of one forwarder: jobs that wait, jobs in flight, and the forwarder's health. Each
//! forwarder has a queue and workers of its own, so that a forwarder that hangs delays no other.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use contract::{Event, InfoHash, PeerId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::Pace;
use super::answer::Failure;
use super::health::{ForwarderHealth, Permission, Probe, Suspension};
use super::metrics::ForwarderMetrics;
use super::store::ClientAnnounce;
use crate::announce::Role;

/// Jobs of one forwarder that are in flight at the same time: also how many workers it has.
pub(super) const MAX_IN_FLIGHT: usize = 4;
/// Jobs that wait for one forwarder; more are dropped and counted. The client's next announce makes the same
/// job again.
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
    pub(super) fn new(announce: &ClientAnnounce, event: Event, asked: Instant) -> Self {
        let ClientAnnounce { info_hash, peer_id, endpoint, role, .. } = *announce;
        Self { info_hash, peer_id, endpoint, role, event, asked, attempts: 0 }
    }

    fn same_client(&self, other: &Self) -> bool {
        self.info_hash == other.info_hash && self.endpoint == other.endpoint
    }
}

/// A job that a worker has taken, until the forwarder answers or fails.
#[derive(Debug)]
pub(super) struct JobInFlight {
    pub(super) job: Job,
    probe: Probe,
}

/// What a worker waits for when there is no job to send.
#[derive(Debug, PartialEq, Eq)]
enum Idle {
    /// A job is pushed, or one in flight ends.
    UntilNews,
    /// The same, or this time, when a suspended forwarder may be probed.
    Until(Instant),
}

#[derive(Debug)]
struct QueueState {
    waiting: VecDeque<Job>,
    in_flight: Vec<Job>,
    health: ForwarderHealth,
}

/// The jobs for one forwarder, shared by announces, which push, and its workers, which take.
#[derive(Debug)]
pub(super) struct ForwarderQueue {
    name: String,
    job_lifetime: Duration,
    state: Mutex<QueueState>,
    news: Notify,
    pub(super) metrics: ForwarderMetrics,
}

impl ForwarderQueue {
    pub(super) fn new(name: &str, pace: &Pace, metrics: ForwarderMetrics) -> Self {
        let health = ForwarderHealth::new(pace.first_pause, pace.longest_pause);
        Self {
            name: name.to_owned(),
            job_lifetime: pace.job_lifetime,
            state: Mutex::new(QueueState { waiting: VecDeque::new(), in_flight: Vec::new(), health }),
            news: Notify::new(),
            metrics,
        }
    }

    /// Adds a job; without room it is dropped and counted, because an announce waits for no forwarder.
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

    /// Waits for a job that may be sent: the forwarder is well, or due for a probe.
    pub(super) async fn next(&self) -> JobInFlight {
        loop {
            // Registered before the look: a job pushed between look and wait wakes this worker.
            let news = self.news.notified();
            let wait = match self.take(Instant::now()) {
                Ok(taken) => return taken,
                Err(wait) => wait,
            };
            match wait {
                Idle::UntilNews => news.await,
                Idle::Until(time) => tokio::select! {
                    () = news => {}
                    () = tokio::time::sleep_until(time.into()) => {}
                },
            }
        }
    }

    /// Sets the gauges to the queue's present state.
    pub(super) fn publish(&self) {
        let state = self.state.lock();
        self.metrics.waiting(state.waiting.len());
        self.metrics.suspended.set(state.health.is_suspended().into());
    }

    fn take(&self, now: Instant) -> Result<JobInFlight, Idle> {
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

    /// The forwarder answered a job: with peers or with a refusal.
    pub(super) fn answered(&self, taken: &JobInFlight) {
        let mut state = self.state.lock();
        state.ended(&taken.job);
        if state.health.answered() {
            self.metrics.suspended.set(0);
            info!(forwarder = self.name, "the forwarder is back");
        }
        drop(state);
        self.news.notify_one();
    }

    /// The forwarder did not answer a job, which waits for its next attempt, unless this was its last.
    pub(super) fn failed(&self, taken: JobInFlight, failure: &Failure, now: Instant) {
        let JobInFlight { mut job, probe } = taken;
        let mut state = self.state.lock();
        state.ended(&job);
        job.attempts += 1;
        if job.attempts < MAX_ATTEMPTS {
            state.waiting.push_front(job);
        } else {
            self.metrics.dropped.inc();
        }
        if state.health.failed(probe, now) == Suspension::New {
            self.metrics.suspended.set(1);
            let forwarder = &self.name;
            warn!(forwarder, %failure, "the forwarder is suspended; it is tried again from time to time");
        }
        drop(state);
        self.news.notify_one();
    }
}

impl QueueState {
    /// The first job whose client has none under way: a `stopped` must not overtake its `started`.
    fn take(&mut self, now: Instant) -> Result<JobInFlight, Idle> {
        match self.health.permission(now) {
            Permission::Go => {}
            Permission::AfterProbe => return Err(Idle::UntilNews),
            // Without a job there is nothing to probe with.
            Permission::From(_) if self.waiting.is_empty() => return Err(Idle::UntilNews),
            Permission::From(time) => return Err(Idle::Until(time)),
        }
        let free = |job: &Job| !self.in_flight.iter().any(|other| other.same_client(job));
        let place = self.waiting.iter().position(free).ok_or(Idle::UntilNews)?;
        let job = self.waiting.remove(place).ok_or(Idle::UntilNews)?;
        let probe = if self.health.is_suspended() { Probe::Yes } else { Probe::No };
        self.health.began();
        self.in_flight.push(job.clone());
        Ok(JobInFlight { job, probe })
    }

    fn ended(&mut self, job: &Job) {
        if let Some(place) = self.in_flight.iter().position(|other| other.same_client(job)) {
            self.in_flight.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::ForwardMetrics;

    fn queue() -> ForwarderQueue {
        let metrics = ForwardMetrics::new(&prometheus::Registry::new()).unwrap().of("f").unwrap();
        ForwarderQueue::new("f", &Pace::default(), metrics)
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
        let (queue, now) = (queue(), Instant::now());
        for _ in 0..MAX_WAITING + 5 {
            queue.push(job(1, Event::None, now));
        }
        assert_eq!(queue.state.lock().waiting.len(), MAX_WAITING);
        assert_eq!(queue.metrics.dropped.get(), 5);
    }

    #[test]
    fn a_clients_jobs_leave_one_after_the_other() {
        let (queue, now) = (queue(), Instant::now());
        queue.push(job(1, Event::Started, now));
        queue.push(job(1, Event::Stopped, now));
        queue.push(job(2, Event::Started, now));
        let first = queue.take(now).unwrap();
        assert_eq!((first.job.endpoint.port(), first.job.event), (1, Event::Started));
        assert_eq!(queue.take(now).unwrap().job.endpoint.port(), 2);
        assert_eq!(queue.take(now).unwrap_err(), Idle::UntilNews);
        queue.answered(&first);
        assert_eq!(queue.take(now).unwrap().job.event, Event::Stopped);
    }

    #[test]
    fn after_a_failure_the_same_job_is_the_probe() {
        let (queue, now) = (queue(), Instant::now());
        queue.push(job(1, Event::Started, now));
        queue.push(job(2, Event::Started, now));
        let taken = queue.take(now).unwrap();
        queue.failed(taken, &Failure::Silent, now);
        assert_eq!(queue.metrics.suspended.get(), 1);
        let later = now + Pace::default().first_pause;
        assert_eq!(queue.take(now).unwrap_err(), Idle::Until(later));
        let probe = queue.take(later).unwrap();
        assert_eq!(probe.job.endpoint.port(), 1);
        assert_eq!(queue.take(later).unwrap_err(), Idle::UntilNews, "one probe at a time");
        queue.answered(&probe);
        assert_eq!((queue.metrics.suspended.get(), queue.take(later).unwrap().job.endpoint.port()), (0, 2));
    }

    #[test]
    fn a_job_is_tried_a_few_times_and_not_when_it_is_old() {
        let (queue, mut now) = (queue(), Instant::now());
        queue.push(job(1, Event::Started, now));
        for _ in 0..MAX_ATTEMPTS {
            let taken = queue.take(now).unwrap();
            queue.failed(taken, &Failure::Silent, now);
            now += Duration::from_secs(60);
        }
        assert_eq!((queue.take(now).unwrap_err(), queue.metrics.dropped.get()), (Idle::UntilNews, 1));
        queue.push(job(1, Event::Started, now));
        now += Pace::default().job_lifetime;
        assert_eq!((queue.take(now).unwrap_err(), queue.metrics.dropped.get()), (Idle::UntilNews, 2));
    }
}
