//! The composition root: makes every part from the configuration, runs them, and takes them down in the order in which
//! nothing that was promised is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use contract::Passkey;
use service::admin::{self, Readiness};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::config::{Config, HookConfig};
use crate::frontend::http::query::{Limits, Spoofing};
use crate::frontend::http::reply::ScrapeForm;
use crate::frontend::http::{self, Frontend, ProxyRules};
use crate::hooks::passkey_approval::PasskeyApproval;
use crate::hooks::{Hook, Site};
use crate::membership::Verdicts;
use crate::metrics::{Metrics, SwarmMetrics};
use crate::pipeline::{Intervals, Pipeline};
use crate::swarm::Swarms;
use crate::traffic::{self, Recorder};

const CENSUS_INTERVAL: Duration = Duration::from_secs(5);

/// A running tracker.
#[derive(Debug)]
pub struct App {
    /// Where clients announce over HTTP: the port that was chosen, when port 0 was asked for.
    pub http_address: SocketAddr,
    /// Where metrics are served, likewise.
    pub admin_address: SocketAddr,
    stop: watch::Sender<bool>,
    workers: Vec<thread::JoinHandle<()>>,
    recording: Option<JoinHandle<()>>,
    helpers: Vec<JoinHandle<()>>,
    grace: Duration,
}

impl App {
    /// Starts everything. Redis need not be there yet; addresses must be free.
    ///
    /// # Errors
    /// What the operator must change: an address that is taken, a URL that cannot be read.
    pub async fn start(config: &Config) -> Result<Self> {
        let metrics = Metrics::new().context("metrics")?;
        let Parts { hooks, recorder, recording, verdicts } = Parts::new(config, &metrics)?;
        let ready = readiness(recorder.as_ref().map(Recorder::up_flag), verdicts);
        let pipeline = Arc::new(Pipeline {
            hooks,
            swarms: Swarms::new(config.storage.config.shard_count),
            recorder,
            intervals: Intervals {
                interval: whole_seconds(config.announce_interval.as_secs()),
                min_interval: whole_seconds(config.min_announce_interval.as_secs()),
            },
            started: Instant::now(),
        });
        let admin = admin::bind(config.metrics_addr).await?;
        let admin_address = admin.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let (http_address, workers) = http::serve(
            &frontend(config, &pipeline, &metrics)?,
            config.http.addr,
            settings(config),
            &stopped,
        )
        .with_context(|| format!("http.addr: cannot listen on {}", config.http.addr))?;
        let helpers = vec![
            tokio::spawn(admin::serve(admin, metrics.registry.clone(), ready)),
            tokio::spawn(count(pipeline.clone(), metrics.swarm.clone())),
            tokio::spawn(sweep(pipeline, config.storage.config.clone(), metrics.swarm)),
        ];
        Ok(Self {
            http_address,
            admin_address,
            stop,
            workers,
            recording,
            helpers,
            grace: config.grace_period.0,
        })
    }

    /// Stops: no new connections, requests in hand answered, what was accepted recorded.
    ///
    /// # Errors
    /// When a worker panicked, which a test should hear of.
    pub async fn stop(self) -> Result<()> {
        self.stop.send_replace(true);
        let workers = self.workers;
        let joined =
            tokio::task::spawn_blocking(move || workers.into_iter().all(|worker| worker.join().is_ok()));
        let all_well = joined.await.context("waiting for the HTTP workers")?;
        for helper in self.helpers {
            // The sweeper holds the pipeline, and with it the last way to the recorder.
            helper.abort();
            helper.await.ok();
        }
        if let Some(recording) = self.recording
            && tokio::time::timeout(self.grace, recording).await.is_err()
        {
            warn!(
                "the recorder had not finished when the grace period ended; those clients were not answered"
            );
        }
        info!("stopped");
        anyhow::ensure!(all_well, "an HTTP worker panicked");
        Ok(())
    }
}

/// What the configured hooks became.
#[derive(Default)]
struct Parts {
    hooks: Vec<Box<dyn Hook>>,
    recorder: Option<Recorder>,
    recording: Option<JoinHandle<()>>,
    verdicts: Option<Arc<Verdicts<Passkey>>>,
}

impl Parts {
    fn new(config: &Config, metrics: &Metrics) -> Result<Self> {
        let mut parts = Self::default();
        let site = Site { redis_broker: config.redis_broker.clone(), key_prefix: config.key_prefix.clone() };
        for hook in config.hook_list()? {
            match hook {
                HookConfig::PasskeyApproval(options) => {
                    let hook =
                        PasskeyApproval::start(&options, &site).context("passkey approval: redis_broker")?;
                    parts.verdicts = Some(hook.passkeys().verdicts());
                    parts.hooks.push(Box::new(hook));
                }
                HookConfig::TrafficPush(options) => {
                    let (recorder, recording) =
                        traffic::spawn(options.setup(&site), metrics.recorder.clone())
                            .context("traffic push: redis_broker")?;
                    parts.recorder = Some(recorder);
                    parts.recording = Some(recording);
                }
            }
        }
        Ok(parts)
    }
}

/// Ready means that a new user's announce would be accepted and recorded now.
fn readiness(recording: Option<Arc<AtomicBool>>, verdicts: Option<Arc<Verdicts<Passkey>>>) -> Readiness {
    Arc::new(move || {
        let mut missing = Vec::new();
        if verdicts.as_ref().is_some_and(|verdicts| verdicts.is_frozen()) {
            missing.push("passkey approval: Redis does not answer");
        }
        if recording.as_ref().is_some_and(|up| !up.load(Ordering::Relaxed)) {
            missing.push("traffic push: Redis does not answer");
        }
        if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
    })
}

fn frontend(config: &Config, pipeline: &Arc<Pipeline>, metrics: &Metrics) -> Result<Arc<Frontend>> {
    let http = &config.http;
    let header = (!http.real_ip_header.is_empty()).then(|| http.real_ip_header.parse()).transpose()?;
    Ok(Arc::new(Frontend {
        pipeline: pipeline.clone(),
        routes: http.routes()?,
        proxies: ProxyRules { header, trusted: http.proxies()? },
        limits: Limits {
            default_numwant: http.default_numwant,
            max_numwant: http.max_numwant,
            max_scrape_infohashes: http.max_scrape_infohashes,
            spoofing: if http.allow_ip_spoofing { Spoofing::Allowed } else { Spoofing::Ignored },
        },
        scrape_form: if http.scrape_downloaded { ScrapeForm::WithDownloaded } else { ScrapeForm::Counts },
        metrics: metrics.http.clone(),
    }))
}

fn settings(config: &Config) -> http::Settings {
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    http::Settings {
        idle_timeout: config.http.idle_timeout.0,
        keepalive: if config.http.enable_keepalive { http::Keepalive::On } else { http::Keepalive::Off },
        workers: if config.http.workers == 0 { cores } else { config.http.workers },
        grace: config.grace_period.0,
    }
}

/// Forgets silent peers, one shard at a time, spread over the interval.
async fn sweep(pipeline: Arc<Pipeline>, config: crate::config::MemoryConfig, metrics: SwarmMetrics) {
    let lifetime = whole_seconds(config.peer_lifetime.as_secs());
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

fn whole_seconds(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
