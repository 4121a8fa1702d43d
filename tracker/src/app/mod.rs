//! The composition root: makes every part from the configuration, runs them, and takes them down in the order
//! in which nothing that was promised is lost.

pub mod metrics;
pub mod rulebook;
mod stats;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use prometheus::Registry;
use service::admin::{self, Pages, Readiness};
use service::profile;
use service::program::Plan as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::config::{Config, HttpConfig, Plan, RulePlan, StoreConfig, UdpPlan};
use crate::frontend::http::{CertificateSource, Endpoint, Frontend, Policy, Server};
use crate::frontend::udp;
use crate::pipeline::Pipeline;
use crate::rulebook::Rulebook;
use crate::sharing::{self, Outbox, Sharing};
use crate::swarm::{SwarmMetrics, Swarms};
use metrics::Metrics;
use rulebook::{Last, Recording};

/// The address of a listener that is off.
const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
const CENSUS_INTERVAL: Duration = Duration::from_secs(5);

/// A running tracker.
#[derive(Debug)]
pub struct App {
    /// Where clients announce over HTTP: the port that was chosen, when port 0 was asked for. The unspecified
    /// address while plain HTTP is off or on a Unix socket.
    pub http_address: SocketAddr,
    /// The same over HTTPS; `None` while it is off.
    pub https_address: Option<SocketAddr>,
    /// Where they announce over UDP, likewise.
    pub udp_address: Option<SocketAddr>,
    /// Where metrics are served; the unspecified address while they are off.
    pub admin_address: SocketAddr,
    /// What is in force: a reload keeps what it must not change.
    config: Config,
    rules: RulePlan,
    metrics: Metrics,
    pipeline: Arc<Pipeline>,
    frontend: Arc<Frontend>,
    udp: Option<udp::Running>,
    stop: watch::Sender<bool>,
    certificate: Option<Arc<CertificateSource>>,
    server: Server,
    recordings: Vec<Recording>,
    sharing: Option<Sharing>,
    helpers: Vec<JoinHandle<()>>,
}

impl App {
    /// Starts everything. Redis need not be there yet; addresses must be free.
    ///
    /// # Errors
    /// What the operator must change: an address that is taken, a URL that cannot be read.
    pub async fn start(plan: Plan) -> Result<Self> {
        warn_of(&plan);
        let Plan { config, rules, http, udp, sharing, .. } = plan;
        if config.heap_profile {
            profile::start_heap_sampling().context("heap_profile")?;
        }
        let metrics = Metrics::new().context("metrics")?;
        let (book, recording) = rulebook::build(&rules, &metrics, None)?;
        require_durable_redis(&book).await?;
        let outbox = sharing.is_some().then(|| sharing::outbox(&metrics.sharing));
        let pipeline = Arc::new(pipeline(book, &config, outbox));
        let sharing = start_sharing(sharing, &pipeline, &metrics)?;
        let frontend = Arc::new(frontend(http.policy, &pipeline, &metrics));
        let admin = bind_admin(&config).await?;
        let admin_address = admin.as_ref().map_or(Ok(NOWHERE), TcpListener::local_addr)?;
        let certificate = http.certificate.map(Arc::new);
        let (stop, stopped) = watch::channel(false);
        let endpoints = endpoints(&config.http, certificate.clone());
        let server = Server::start(&frontend, endpoints, http.settings, &stopped)?;
        let [http_address, https_address] = [0, 1].map(|place| server.addresses[place].inet());
        let udp = start_udp(udp, &pipeline, &metrics, &stopped)?;
        let helpers = start_helpers(admin, &config, &pipeline, &metrics);
        Ok(Self {
            http_address: http_address.unwrap_or(NOWHERE),
            https_address,
            udp_address: udp.as_ref().map(|udp| udp.address),
            admin_address,
            config,
            rules,
            metrics,
            pipeline,
            frontend,
            udp,
            stop,
            certificate,
            server,
            recordings: recording.into_iter().collect(),
            sharing,
            helpers,
        })
    }

    /// Puts a new configuration in force: hooks, intervals, routes, limits, lists. No peer is dropped, and
    /// announces under way finish by the old rules. What only a restart can change stays, and the log names
    /// it.
    ///
    /// # Errors
    /// What the operator must change. Everything stays as it was then.
    pub fn reload(&mut self, plan: Plan) -> Result<()> {
        let current = self.pipeline.rules.load_full();
        let last = Last { plan: &self.rules, book: &current };
        let (book, recording) = rulebook::build(&plan.rules, &self.metrics, Some(last))?;
        // Nothing can fail from here on.
        warn_of(&plan);
        self.pipeline.rules.store(Arc::new(book));
        self.rules = plan.rules;
        self.recordings.extend(recording);
        self.frontend.policy.store(Arc::new(plan.http.policy));
        if let (Some(current), Some(fresh)) = (&self.certificate, &plan.http.certificate) {
            current.adopt(fresh);
        }
        if let Some(udp) = &self.udp {
            udp.frontend.policy.store(Arc::new(plan.udp.policy));
        }
        let restart = self.config.needs_restart(&plan.config);
        if !restart.is_empty() {
            warn!(keys = restart.join(", "), "these keys changed and take effect only after a restart");
        }
        info!("the new configuration is in force");
        Ok(())
    }

    /// Stops: no new connections, requests in hand answered, what was accepted recorded.
    ///
    /// # Errors
    /// When a worker panicked, which a test should hear of.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.send_replace(true);
        let udp_workers: Vec<_> = self.udp.iter_mut().flat_map(|udp| udp.workers.drain(..)).collect();
        let server = self.server;
        let joined = tokio::task::spawn_blocking(move || {
            let ended: Vec<_> = udp_workers.into_iter().map(std::thread::JoinHandle::join).collect();
            server.join() && ended.iter().all(Result::is_ok)
        });
        let all_well = joined.await.context("waiting for the workers")?;
        for helper in self.helpers {
            helper.abort();
            helper.await.ok();
        }
        if let Some(sharing) = self.sharing {
            sharing.stop().await;
        }
        // The frontends and the pipeline hold the last ways to the recorder: it finishes once they are gone.
        let last_udp_reply = self.udp.map(|udp| udp.last_reply);
        drop((self.frontend, self.pipeline));
        let finish = async {
            for recording in self.recordings {
                recording.await.ok();
            }
        };
        let end = tokio::time::Instant::now() + self.config.grace_period.0;
        if tokio::time::timeout_at(end, finish).await.is_err() {
            warn!(
                "the recorder had not finished when the grace period ended; those clients were not answered"
            );
        }
        // The sender of late replies says nothing: it lets go of its end when it is through.
        if let Some(last_reply) = last_udp_reply
            && tokio::time::timeout_at(end, last_reply).await.is_err()
        {
            warn!("UDP replies still waited when the grace period ended");
        }
        info!("stopped");
        anyhow::ensure!(all_well, "a worker panicked");
        Ok(())
    }
}

/// An operator who asks for it has no tracker rather than one whose Redis may lose what it confirmed. Redis
/// need not be there yet; then `/readyz` says what is wrong with it later.
async fn require_durable_redis(book: &Rulebook) -> Result<()> {
    match book.recorder.as_ref().filter(|recorder| recorder.setup().require_durable_redis) {
        Some(recorder) => recorder.durability().required(recorder.setup().timeouts.connect).await,
        None => Ok(()),
    }
}

fn pipeline(book: Rulebook, config: &Config, outbox: Option<Arc<Outbox>>) -> Pipeline {
    Pipeline {
        rules: ArcSwap::from_pointee(book),
        swarms: Swarms::new(config.storage.config.shard_count),
        outbox,
        started: Instant::now(),
    }
}

fn frontend(policy: Policy, pipeline: &Arc<Pipeline>, metrics: &Metrics) -> Frontend {
    Frontend {
        pipeline: pipeline.clone(),
        policy: ArcSwap::from_pointee(policy),
        http: metrics.http.clone(),
        https: metrics.https.clone(),
    }
}

/// The admin listener, if it has an address. It is bound before clients may announce and served behind
/// everything else: who finds a tracker ready finds it listening.
async fn bind_admin(config: &Config) -> Result<Option<TcpListener>> {
    match config.metrics_addr.inet() {
        Some(address) => Ok(Some(admin::bind(address).await?)),
        None => Ok(None),
    }
}

/// Starts what goes on beside the announces: counting, sweeping, the admin listener.
fn start_helpers(
    admin: Option<TcpListener>,
    config: &Config,
    pipeline: &Arc<Pipeline>,
    metrics: &Metrics,
) -> Vec<JoinHandle<()>> {
    let mut helpers = vec![
        tokio::spawn(count(pipeline.clone(), metrics.swarm.clone())),
        tokio::spawn(sweep(pipeline.clone(), config.storage.config.clone(), metrics.swarm.clone())),
    ];
    let pages = pages(&metrics.registry, pipeline);
    helpers.extend(admin.map(|listener| tokio::spawn(admin::serve(listener, pages))));
    helpers
}

/// Ready means that users' announces are accepted and recorded now, be it in the spool. Holds the pipeline
/// weakly: an operator's open connection to the admin listener must not keep the recorder from finishing.
fn readiness(pipeline: Weak<Pipeline>) -> Readiness {
    Arc::new(move || {
        let pipeline = pipeline.upgrade().ok_or("stopping")?;
        let missing = pipeline.rules.load().waits_for();
        if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
    })
}

/// Holds the pipeline weakly, as [`readiness`] does.
fn pages(registry: &Registry, pipeline: &Arc<Pipeline>) -> Pages {
    let (registry, started) = (registry.clone(), pipeline.started);
    let (families, line) = (registry.clone(), Arc::downgrade(pipeline));
    let recording = line.clone();
    let remarks = move || {
        let durability = |pipeline: Arc<Pipeline>| {
            pipeline.rules.load().recorder.as_ref().map(|recorder| recorder.durability().remarks())
        };
        recording.upgrade().and_then(durability).unwrap_or_default()
    };
    let stats = move || {
        let recorder_up =
            line.upgrade().and_then(|pipeline| Some(pipeline.rules.load().recorder.as_ref()?.is_up()));
        stats::document(&families.gather(), recorder_up, started.elapsed().as_secs())
    };
    Pages::new(registry, readiness(Arc::downgrade(pipeline)))
        .with_remarks(Arc::new(remarks))
        .with_stats(Arc::new(stats))
}

/// Plain HTTP first, then HTTPS.
fn endpoints(http: &HttpConfig, certificate: Option<Arc<CertificateSource>>) -> Vec<Endpoint> {
    vec![
        Endpoint { address: http.addr.clone(), certificate: None },
        Endpoint { address: http.https_addr.clone(), certificate },
    ]
}

fn warn_of(plan: &Plan) {
    for warning in plan.warnings() {
        warn!("{warning}");
    }
}

/// Starts sharing the swarms, if the operator wants it.
fn start_sharing(
    setup: Option<sharing::Setup>,
    pipeline: &Arc<Pipeline>,
    metrics: &Metrics,
) -> Result<Option<Sharing>> {
    let (Some(setup), Some(outbox)) = (setup, pipeline.outbox.clone()) else { return Ok(None) };
    let line = pipeline.clone();
    Sharing::start(setup, outbox, move |sighting, age| line.learn(sighting, age), &metrics.sharing)
        .context("storage.config.redis_broker")
        .map(Some)
}

/// Starts UDP, if it has an address.
fn start_udp(
    plan: UdpPlan,
    pipeline: &Arc<Pipeline>,
    metrics: &Metrics,
    stop: &watch::Receiver<bool>,
) -> Result<Option<udp::Running>> {
    let UdpPlan { policy, settings: Some(settings) } = plan else { return Ok(None) };
    let address = settings.address;
    udp::serve(pipeline.clone(), policy, settings, metrics.udp.clone(), stop)
        .with_context(|| format!("udp.addr: cannot listen on {address}"))
        .map(Some)
}

/// Forgets silent peers, one shard at a time, spread over the interval.
async fn sweep(pipeline: Arc<Pipeline>, config: StoreConfig, metrics: SwarmMetrics) {
    let lifetime = u32::try_from(config.peer_lifetime.as_secs()).unwrap_or(u32::MAX);
    loop {
        tokio::time::sleep(config.gc_interval.0).await;
        let started = Instant::now();
        let oldest = pipeline.swarm_seconds().saturating_sub(lifetime);
        for shard in 0..pipeline.swarms.shard_count() {
            metrics.expired.inc_by(pipeline.swarms.sweep(shard, oldest) as u64);
            tokio::task::yield_now().await;
        }
        metrics.sweep_seconds.observe(started.elapsed().as_secs_f64());
    }
}

/// Keeps the gauges fresh: a census is cheap, and a dashboard wants it more often than the sweeper runs.
async fn count(pipeline: Arc<Pipeline>, metrics: SwarmMetrics) {
    loop {
        metrics.publish(&pipeline.swarms);
        tokio::time::sleep(CENSUS_INTERVAL).await;
    }
}
