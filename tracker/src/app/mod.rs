//! The composition root: makes every part from the configuration, runs them, and takes them down in the order
//! in which nothing that was promised is lost.

mod stats;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Weak};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use prometheus::Registry;
use service::admin::{self, Pages, Readiness};
use service::profile;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use wire::http::reply::ScrapeForm;

use crate::config::{Config, HttpConfig, StoreConfig};
use crate::frontend::http::{
    self, CertificateSource, Endpoint, Frontend, Policy, ProxyRules, Server, Timeouts,
};
use crate::frontend::limits::{Limits, Spoofing};
use crate::frontend::udp;
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::rulebook::{Recording, Rulebook};
use crate::sharing::{self, Sharing};
use crate::swarm::{SwarmMetrics, Swarms};

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
    config: Config,
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
    pub async fn start(config: &Config) -> Result<Self> {
        if config.heap_profile {
            profile::start_heap_sampling().context("heap_profile")?;
        }
        warn_of(config);
        let metrics = Metrics::new().context("metrics")?;
        let (rules, recording) = Rulebook::build(config, &metrics, None)?;
        let pipeline = Arc::new(Pipeline {
            rules: ArcSwap::from_pointee(rules),
            swarms: Swarms::new(config.storage.config.shard_count),
            outbox: config.sharing().is_some().then(|| sharing::outbox(&metrics.sharing)),
            started: Instant::now(),
        });
        let sharing = start_sharing(config, &pipeline, &metrics)?;
        let frontend = Arc::new(Frontend {
            pipeline: pipeline.clone(),
            policy: ArcSwap::from_pointee(policy(&config.http)?),
            http: metrics.http.clone(),
            https: metrics.https.clone(),
        });
        let admin = match config.metrics_addr.inet() {
            Some(address) => Some(admin::bind(address).await?),
            None => None,
        };
        let admin_address = admin.as_ref().map_or(Ok(NOWHERE), TcpListener::local_addr)?;
        let certificate = config.http.certificate()?.map(Arc::new);
        let (stop, stopped) = watch::channel(false);
        let endpoints = endpoints(&config.http, certificate.clone());
        let server = Server::start(&frontend, endpoints, settings(config), &stopped)?;
        let [http_address, https_address] = [0, 1].map(|place| server.addresses[place].inet());
        let udp = start_udp(config, &pipeline, &metrics, &stopped)?;
        let mut helpers = vec![
            tokio::spawn(count(pipeline.clone(), metrics.swarm.clone())),
            tokio::spawn(sweep(pipeline.clone(), config.storage.config.clone(), metrics.swarm.clone())),
        ];
        let pages = pages(&metrics.registry, &pipeline);
        helpers.extend(admin.map(|listener| tokio::spawn(admin::serve(listener, pages))));
        let (config, recordings) = (config.clone(), recording.into_iter().collect());
        Ok(Self {
            http_address: http_address.unwrap_or(NOWHERE),
            https_address,
            udp_address: udp.as_ref().map(|udp| udp.address),
            admin_address,
            config,
            metrics,
            pipeline,
            frontend,
            udp,
            stop,
            certificate,
            server,
            recordings,
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
    pub fn reload(&mut self, config: &Config) -> Result<()> {
        let (policy, udp_policy) = (policy(&config.http)?, udp_policy(config)?);
        let certificate = config.http.certificate()?;
        let (rules, recording) = Rulebook::build(config, &self.metrics, Some(&self.pipeline.rules.load()))?;
        self.pipeline.rules.store(Arc::new(rules));
        self.frontend.policy.store(Arc::new(policy));
        if let (Some(current), Some(fresh)) = (&self.certificate, &certificate) {
            current.adopt(fresh);
        }
        if let Some(udp) = &self.udp {
            udp.frontend.policy.store(Arc::new(udp_policy));
        }
        self.recordings.extend(recording);
        let restart = self.config.needs_restart(config);
        if !restart.is_empty() {
            warn!(keys = restart.join(", "), "these keys changed and take effect only after a restart");
        }
        warn_of(config);
        self.config.hooks = config.hooks.clone();
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
    let stats = move || {
        let recorder_up =
            line.upgrade().and_then(|pipeline| Some(pipeline.rules.load().recorder.as_ref()?.is_up()));
        stats::document(&families.gather(), recorder_up, started.elapsed().as_secs())
    };
    Pages::new(registry, readiness(Arc::downgrade(pipeline))).with_stats(Arc::new(stats))
}

/// Plain HTTP first, then HTTPS.
fn endpoints(http: &HttpConfig, certificate: Option<Arc<CertificateSource>>) -> Vec<Endpoint> {
    vec![
        Endpoint { address: http.addr.clone(), certificate: None },
        Endpoint { address: http.https_addr.clone(), certificate },
    ]
}

fn warn_of(config: &Config) {
    for warning in config.warnings() {
        warn!("{warning}");
    }
}

fn policy(http: &HttpConfig) -> Result<Policy> {
    let header = (!http.real_ip_header.is_empty()).then(|| http.real_ip_header.parse()).transpose()?;
    Ok(Policy {
        routes: http.routes()?,
        proxies: ProxyRules { header, trusted: http.proxies()? },
        limits: Limits {
            default_numwant: http.default_numwant,
            max_numwant: http.max_numwant,
            max_scrape_infohashes: http.max_scrape_infohashes,
            spoofing: if http.allow_ip_spoofing { Spoofing::Allowed } else { Spoofing::Ignored },
        },
        scrape_form: if http.scrape_downloaded { ScrapeForm::WithDownloaded } else { ScrapeForm::Counts },
    })
}

/// Starts sharing the swarms, if the operator wants it.
fn start_sharing(config: &Config, pipeline: &Arc<Pipeline>, metrics: &Metrics) -> Result<Option<Sharing>> {
    let (Some(setup), Some(outbox)) = (config.sharing(), pipeline.outbox.clone()) else { return Ok(None) };
    let line = pipeline.clone();
    Sharing::start(setup, outbox, move |sighting, age| line.learn(sighting, age), &metrics.sharing)
        .context("storage.config.redis_broker")
        .map(Some)
}

/// Starts UDP, if it has an address.
fn start_udp(
    config: &Config,
    pipeline: &Arc<Pipeline>,
    metrics: &Metrics,
    stop: &watch::Receiver<bool>,
) -> Result<Option<udp::Running>> {
    let Some(address) = config.udp.addr.inet() else { return Ok(None) };
    let workers = threads(config.udp.workers);
    let settings = udp::Settings { address, workers, ids: config.udp.connection_ids() };
    udp::serve(pipeline.clone(), udp_policy(config)?, settings, metrics.udp.clone(), stop)
        .with_context(|| format!("udp.addr: cannot listen on {address}"))
        .map(Some)
}

fn udp_policy(config: &Config) -> Result<udp::Policy> {
    Ok(udp::Policy { routes: config.http.routes()?, limits: config.udp.limits() })
}

/// As many as were asked for; 0 means one per core.
fn threads(asked: usize) -> usize {
    if asked == 0 { available_parallelism().map_or(1, std::num::NonZero::get) } else { asked }
}

fn settings(config: &Config) -> http::Settings {
    http::Settings {
        timeouts: Timeouts {
            read: config.http.read_timeout.0,
            write: config.http.write_timeout.0,
            idle: config.http.idle_timeout.0,
        },
        keepalive: if config.http.enable_keepalive { http::Keepalive::On } else { http::Keepalive::Off },
        workers: threads(config.http.workers),
        grace: config.grace_period.0,
    }
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
