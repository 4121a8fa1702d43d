//! The composition root: makes the parts from the plan, runs them, and stops them in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use service::admin::{self, Pages};
use service::redis::durable::Durability;
use service::redis::{Link, Timeouts};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::chores::{Chores, Missing, Told};
use crate::config::Plan;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::pump::{self, ReadingHalf, SettlingHalf, Shared};
use crate::reader::RedisReader;
use crate::stop::Stop;
use books::ledger::{LedgerHandle, Numbers};
use books::site_clock::SiteClock;

/// How long stopping may take; what is unfinished then stays pending for another consumer.
const GRACE: Duration = Duration::from_secs(10);

/// A running consumer.
#[derive(Debug)]
pub struct App {
    /// Where metrics, health and readiness are served.
    pub metrics_addr: SocketAddr,
    switch: watch::Sender<bool>,
    pump: JoinHandle<()>,
    helpers: Vec<JoinHandle<()>>,
}

impl App {
    /// Starts everything. Neither Redis nor the ledger need be there yet: the consumer waits for them and
    /// says so.
    ///
    /// # Errors
    /// What the operator must change: a metrics address that is taken.
    pub async fn start(plan: Plan) -> anyhow::Result<Self> {
        let Plan { config, source, rules, chores } = plan;
        let metrics = Metrics::new().context("metrics")?;
        let health = Health::default();
        let (switch, stop) = Stop::switch();
        let timeouts = Timeouts::default();
        let durability = Durability::watch(&config.redis_broker, timeouts, metrics.redis_doubts.clone())
            .context("redis_broker")?;
        if config.require_durable_redis {
            durability.required(timeouts.connect).await?;
        }
        let listener = admin::bind(config.metrics_addr).await?;
        let metrics_addr = listener.local_addr()?;
        let pages = Pages::new(metrics.registry.clone(), health.readiness())
            .with_remarks(Arc::new(move || durability.remarks()));
        info!(
            consumer = %source.consumer, stream = %source.stream, group = %source.group,
            redis = %config.redis_broker, database = %config.database, "settling"
        );
        let ledger = LedgerHandle::spawn(chores.database.clone(), rules).context("the ledger's thread")?;
        let link = || Link::new(&config.redis_broker, timeouts).context("redis_broker");
        let reader = RedisReader::new(&config.redis_broker, source.clone()).context("redis_broker")?;
        let shared = Shared { source, keys: chores.keys.clone(), metrics: metrics.clone(), health };
        let reading = ReadingHalf::new(shared.clone(), reader, link()?, chores.leases);
        let (numbers, seen) = watch::channel(Numbers::default());
        let settling = SettlingHalf { shared, link: link()?, ledger: ledger.clone(), numbers, reached: None };
        let clock = SiteClock::default();
        let chores = Chores {
            setup: chores,
            link: link()?,
            ledger,
            metrics,
            clock,
            seen,
            missing: Missing::default(),
            told: Told::default(),
        };
        let helpers = vec![tokio::spawn(admin::serve(listener, pages)), tokio::spawn(chores.run())];
        Ok(Self { metrics_addr, switch, pump: tokio::spawn(pump::run(reading, settling, stop)), helpers })
    }

    /// Stops: what is in hand is settled and acknowledged, then everything ends.
    ///
    /// # Errors
    /// When the pump panicked, which a test should hear of.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.switch.send_replace(true);
        let finished = tokio::time::timeout(GRACE, self.pump).await;
        for helper in self.helpers {
            helper.abort();
        }
        match finished {
            Ok(pump) => pump.context("the pump")?,
            Err(_) => {
                warn!("what was in hand was not finished in time; it stays pending for the next consumer");
            }
        }
        info!("stopped");
        Ok(())
    }
}
