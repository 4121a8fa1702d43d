//! Announce forwarding: other trackers are told of our clients, and their peers are offered beside our own.
//!
//! An announce never waits for a forwarder. It takes what is known already, leaves a job in each forwarder's
//! lane, and goes on; what the forwarders answer is there for the next announce. `docs/forwarding.md` says
//! what is told to whom.

pub mod answer;
mod config;
mod health;
mod http;
mod lane;
mod metrics;
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
use lane::{Job, Lane};
pub use metrics::ForwardMetrics;
use store::{Call, Store};

/// How patient forwarding is. The operator has no need to change it; tests are in a hurry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// One exchange with a forwarder, looking up its name included.
    pub timeout: Duration,
    /// The pause after a forwarder's first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause: how often a dead forwarder is tried.
    pub longest_pause: Duration,
    /// How long a job may wait before what it says is old.
    pub job_lifetime: Duration,
    /// The first wait for a UDP datagram; it doubles with each repetition.
    pub datagram_wait: Duration,
    /// The shortest interval that is taken from a forwarder.
    pub shortest_interval: Duration,
    /// How often what expired is forgotten.
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
    /// All: the tracker is open to everybody anyway.
    Everything,
    /// Those that the operator listed.
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
    lanes: Vec<Arc<Lane>>,
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
        let (mut tasks, mut lanes) = (JoinSet::new(), Vec::new());
        for (number, forwarder) in forwarders.iter().enumerate() {
            let lane = Arc::new(Lane::new(&forwarder.name, pace, metrics.of(&forwarder.name)?));
            for _ in 0..lane::MAX_IN_FLIGHT {
                let client = worker::Client::new(forwarder, &tls, pace);
                let desk = worker::Desk { number, lane: lane.clone(), store: store.clone(), started };
                tasks.spawn(worker::work(desk, client, pace.timeout));
            }
            lanes.push(lane);
        }
        tasks.spawn(worker::sweep(store.clone(), lanes.clone(), started, pace.sweep_interval));
        let engine = Arc::new(Engine { forwarders, lanes, store, started, _tasks: tasks });
        Ok(Self { scope: Arc::new(scope), engine })
    }

    /// The same forwarders for other torrents, with all that is known and waiting; `None` when the forwarders
    /// are others.
    #[must_use]
    pub fn taken_over(&self, forwarders: &[Forwarder], scope: Scope) -> Option<Self> {
        let same = self.engine.forwarders == forwarders;
        same.then(|| Self { scope: Arc::new(scope), engine: self.engine.clone() })
    }

    /// Adds the peers that the forwarders named so far to `offers`, and leaves them word of this announce.
    /// Never waits.
    pub fn consult(&self, admitted: &Admitted, offers: &mut Offers) {
        let announce = &admitted.announce;
        if !self.scope.covers(&announce.info_hash) {
            return;
        }
        let engine = &self.engine;
        let now = Instant::now();
        let call = Call::of(admitted);
        for due in engine.store.visit(&call, store::seconds(engine.started, now), &mut rand::rng(), offers) {
            let job = Job::new(&call, due.event, now);
            engine.lanes[due.forwarder].push(job);
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
