//! Announce forwarding: other trackers are told of our clients, and their peers are offered beside our own.
//!
//! An announce never waits for a forwarder. It takes the peers that forwarders have named already, leaves a
//! job in each forwarder's queue, and goes on; the peers that they answer with are there for the next
//! announce. `docs/forwarding.md` says which forwarder is told what.

pub mod answer;
mod config;
mod health;
mod http;
mod metrics;
mod queue;
mod reach;
mod store;
mod udp;
mod worker;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use contract::InfoHash;
use tokio::task::JoinSet;

use crate::announce::{Admitted, Offers};
pub(crate) use config::read_file;
pub use config::{Forwarder, MAX_FORWARDERS, Scheme, Target, read as read_list};
pub use metrics::ForwardMetrics;
use queue::{ForwarderQueue, Job};
use store::{ClientAnnounce, Store};

/// How patient forwarding is. The operator has no need to change it; tests are in a hurry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// One exchange with a forwarder, looking up its name included.
    pub timeout: Duration,
    /// The pause after a forwarder's first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause: how often a dead forwarder is tried.
    pub longest_pause: Duration,
    /// How long a job may wait before it is dropped as out of date.
    pub job_lifetime: Duration,
    /// The first wait for a UDP datagram; it doubles with each repetition.
    pub datagram_wait: Duration,
    /// The shortest interval that is taken from a forwarder.
    pub shortest_interval: Duration,
    /// How often expired peers and clients are forgotten.
    pub sweep_interval: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(15),
            first_pause: Duration::from_secs(5),
            longest_pause: Duration::from_secs(30 * 60),
            job_lifetime: Duration::from_secs(10 * 60),
            datagram_wait: Duration::from_secs(2),
            shortest_interval: Duration::from_secs(60),
            sweep_interval: Duration::from_secs(30),
        }
    }
}

/// Which torrents are forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All torrents: the tracker is open to everybody anyway.
    Everything,
    /// Torrents that the operator listed.
    Listed(HashSet<InfoHash>),
}

/// The forwarders at work. Cheap to clone; the last clone that goes ends the work.
#[derive(Debug, Clone)]
pub struct Forwarding {
    scope: Arc<Scope>,
    engine: Arc<Engine>,
}

#[derive(Debug)]
struct Engine {
    forwarders: Vec<Forwarder>,
    queues: Vec<Arc<ForwarderQueue>>,
    store: Arc<Store>,
    /// The zero of the store's clock.
    started: Instant,
    /// Dropped with the engine, which ends them.
    _tasks: JoinSet<()>,
}

impl Forwarding {
    /// Starts the forwarders' workers on the runtime of the caller. `session_lifetime` is how long a silent
    /// client is kept.
    ///
    /// # Errors
    /// When the metrics or TLS cannot be set up.
    pub fn start(
        forwarders: Vec<Forwarder>,
        scope: Scope,
        session_lifetime: Duration,
        pace: &Pace,
        metrics: &ForwardMetrics,
    ) -> Result<Self> {
        let own: Vec<_> = forwarders.iter().map(|forwarder| forwarder.ip).collect();
        let store = Arc::new(Store::new(&own, session_lifetime, pace.shortest_interval));
        let tls = http::tls().context("TLS for forwarders")?;
        let started = Instant::now();
        let (mut tasks, mut queues) = (JoinSet::new(), Vec::new());
        for (number, forwarder) in forwarders.iter().enumerate() {
            let queue = Arc::new(ForwarderQueue::new(&forwarder.name, pace, metrics.of(&forwarder.name)?));
            for _ in 0..queue::MAX_IN_FLIGHT {
                let client = worker::Client::new(forwarder, &tls, pace);
                let (queue, store) = (queue.clone(), store.clone());
                let worker = worker::Worker { forwarder: number, queue, store, started };
                tasks.spawn(worker::work(worker, client, pace.timeout));
            }
            queues.push(queue);
        }
        tasks.spawn(worker::sweep(store.clone(), queues.clone(), started, pace.sweep_interval));
        let engine = Arc::new(Engine { forwarders, queues, store, started, _tasks: tasks });
        Ok(Self { scope: Arc::new(scope), engine })
    }

    /// The same forwarders for other torrents, with the peers they named and the jobs that wait for them;
    /// `None` when `forwarders` are not the same.
    #[must_use]
    pub fn taken_over(&self, forwarders: &[Forwarder], scope: Scope) -> Option<Self> {
        let same = self.engine.forwarders == forwarders;
        same.then(|| Self { scope: Arc::new(scope), engine: self.engine.clone() })
    }

    /// Adds the peers that forwarders have named so far to `offers`, and queues a job for each forwarder that
    /// is to be told of this announce. Never waits.
    pub fn consult(&self, admitted: &Admitted, offers: &mut Offers) {
        if !self.scope.covers(&admitted.announce.info_hash) {
            return;
        }
        let engine = &self.engine;
        let now = Instant::now();
        let announce = ClientAnnounce::of(admitted);
        let seconds = store::seconds(engine.started, now);
        for due in engine.store.visit(&announce, seconds, &mut rand::rng(), offers) {
            let job = Job::new(&announce, due.event, now);
            engine.queues[due.forwarder].push(job);
        }
    }
}

impl Scope {
    fn covers(&self, info_hash: &InfoHash) -> bool {
        match self {
            Self::Everything => true,
            Self::Listed(listed) => listed.contains(info_hash),
        }
    }
}
