//! Whether Redis keeps what it confirms. One that may evict takes entries away that nobody has settled, and
//! one without an append-only file comes back minutes older. Neither can be mended from here, so it is named:
//! in the log, in `/readyz` and in a metric, or the program refuses to start.

use std::sync::Arc;
use std::time::Duration;

use contract::config::ServiceUrl;
use prometheus::{IntGauge, Registry};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{Timeouts, client};
use crate::metrics::gauges_by;

/// How often Redis is looked at: an operator may change it, and another one may take over.
const INTERVAL: Duration = Duration::from_secs(30);
/// The first that names the entries it no longer has when they are claimed.
const OLDEST_MAJOR: u64 = 7;
/// After an attempt that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// Why what Redis confirms may be lost, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Doubt {
    /// It removes keys when memory runs out.
    #[error(
        "Redis may evict (maxmemory-policy is {policy}, maxmemory {maxmemory}), and what nobody has settled \
         would be gone; set maxmemory-policy to noeviction"
    )]
    Evicts {
        /// The policy in force.
        policy: String,
        /// The limit in bytes; 0 for none, which another moment's `CONFIG SET` changes.
        maxmemory: String,
    },
    /// It writes snapshots now and then at best.
    #[error(
        "Redis has no append-only file (appendonly is no), and would come back without its last minutes; set \
         appendonly to yes"
    )]
    NoAppendOnlyFile,
    /// It does not tell what was deleted before it was settled (its `XAUTOCLAIM` since 7.0).
    #[error("Redis {version} is too old: before 7.0 it does not tell which entries are gone; update it")]
    Old {
        /// What it says it is.
        version: String,
    },
    /// It does not say.
    #[error("Redis does not say whether it keeps what it confirms; allow its user INFO, or CONFIG GET")]
    Unknown,
}

impl Doubt {
    const REASONS: [&str; 4] = ["eviction", "no_append_only_file", "old", "unknown"];

    fn reason(&self) -> &'static str {
        match self {
            Self::Evicts { .. } => Self::REASONS[0],
            Self::NoAppendOnlyFile => Self::REASONS[1],
            Self::Old { .. } => Self::REASONS[2],
            Self::Unknown => Self::REASONS[3],
        }
    }
}

/// The doubts about the Redis behind a connection; none for one that keeps what it confirms.
///
/// # Errors
/// When it does not answer.
pub async fn examine(connection: &mut MultiplexedConnection) -> RedisResult<Vec<Doubt>> {
    let mut told = Settings::by_info(connection).await?;
    if told.doubts().contains(&Doubt::Unknown) {
        told = told.or(Settings::by_config(connection).await?);
    }
    Ok(told.doubts())
}

/// What Redis says of itself, as far as it does.
#[derive(Debug, Default)]
struct Settings {
    policy: Option<String>,
    maxmemory: Option<String>,
    appends: Option<bool>,
    /// Of Redis, or the one that Valkey says it is like.
    version: Option<String>,
}

impl Settings {
    /// Managed servers forbid CONFIG and allow this.
    async fn by_info(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        let mut text = String::new();
        for section in ["server", "memory", "persistence"] {
            let told = redis::cmd("INFO").arg(section).query_async(connection).await;
            text.push_str(&unless_refused::<String>(told)?);
        }
        let value = |name: &str| {
            let mut fields = text.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(field, _)| *field == name).map(|(_, value)| value.trim().to_owned())
        };
        let appends = value("aof_enabled").map(|enabled| enabled == "1");
        Ok(Self {
            policy: value("maxmemory_policy"),
            maxmemory: value("maxmemory"),
            appends,
            version: value("redis_version"),
        })
    }

    async fn by_config(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        Ok(Self {
            policy: configured(connection, "maxmemory-policy").await?,
            maxmemory: configured(connection, "maxmemory").await?,
            appends: configured(connection, "appendonly").await?.map(|appends| appends == "yes"),
            version: None,
        })
    }

    fn or(self, other: Self) -> Self {
        Self {
            policy: self.policy.or(other.policy),
            maxmemory: self.maxmemory.or(other.maxmemory),
            appends: self.appends.or(other.appends),
            version: self.version.or(other.version),
        }
    }

    fn doubts(&self) -> Vec<Doubt> {
        let evicts = self.policy.as_ref().filter(|policy| *policy != "noeviction");
        let evicts = evicts.map(|policy| Doubt::Evicts {
            policy: policy.clone(),
            maxmemory: self.maxmemory.clone().unwrap_or_else(|| "unknown".into()),
        });
        let forgets = (self.appends == Some(false)).then_some(Doubt::NoAppendOnlyFile);
        let is_unknown = self.policy.is_none() || self.appends.is_none();
        let unknown = is_unknown.then_some(Doubt::Unknown);
        evicts.into_iter().chain(forgets).chain(self.too_old()).chain(unknown).collect()
    }

    fn too_old(&self) -> Option<Doubt> {
        let version = self.version.as_ref()?;
        let major: u64 = version.split('.').next()?.parse().ok()?;
        (major < OLDEST_MAJOR).then(|| Doubt::Old { version: version.clone() })
    }
}

async fn configured(connection: &mut MultiplexedConnection, name: &str) -> RedisResult<Option<String>> {
    let told = redis::cmd("CONFIG").arg("GET").arg(name).query_async(connection).await;
    // The name and its value.
    Ok(unless_refused::<Vec<String>>(told)?.into_iter().nth(1))
}

/// A Redis that refuses the question has answered; one that is still loading has not.
fn unless_refused<T: Default>(answer: RedisResult<T>) -> RedisResult<T> {
    let is_refusal = |error: &RedisError| error.code().is_some_and(|code| code != "LOADING");
    answer.or_else(|error| if is_refusal(&error) { Ok(T::default()) } else { Err(error) })
}

/// The gauges of the doubts, one by reason.
#[derive(Debug, Clone)]
pub struct DoubtMetrics(Arc<[IntGauge; Doubt::REASONS.len()]>);

impl DoubtMetrics {
    /// Registers them under this name.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn new(registry: &Registry, name: &str) -> prometheus::Result<Self> {
        let help = "1 while Redis may lose what it confirmed, by reason";
        let by = gauges_by(registry, name, help, "reason")?;
        let [eviction, forgetting, old, unknown] = Doubt::REASONS.map(by);
        Ok(Self(Arc::new([eviction?, forgetting?, old?, unknown?])))
    }

    fn publish(&self, doubts: &[Doubt]) {
        for (gauge, reason) in self.0.iter().zip(Doubt::REASONS) {
            gauge.set(doubts.iter().any(|doubt| doubt.reason() == reason).into());
        }
    }
}

/// Looks at one Redis from time to time, until the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Durability(watch::Receiver<Option<Vec<Doubt>>>);

impl Durability {
    /// Begins to look.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn watch(url: &ServiceUrl, timeouts: Timeouts, metrics: DoubtMetrics) -> RedisResult<Self> {
        let (known, doubts) = watch::channel(None);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeouts.connect))
            .set_response_timeout(timeouts.response);
        tokio::spawn(look(client(url)?, config, metrics, known));
        Ok(Self(doubts))
    }

    /// The doubts as sentences; none also before anything is known.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        self.0.borrow().iter().flatten().map(ToString::to_string).collect()
    }

    /// The first that is known, if that takes no longer than `patience`. A Redis that is away is no doubt.
    ///
    /// # Errors
    /// What to mend, in one sentence.
    pub async fn required(&self, patience: Duration) -> anyhow::Result<()> {
        let mut doubts = self.0.clone();
        // Away, or nobody looks any more.
        tokio::time::timeout(patience, doubts.wait_for(Option::is_some)).await.ok();
        let remarks = self.remarks();
        anyhow::ensure!(remarks.is_empty(), "require_durable_redis: {}", remarks.join("; "));
        Ok(())
    }
}

async fn look(
    client: Client,
    config: AsyncConnectionConfig,
    metrics: DoubtMetrics,
    known: watch::Sender<Option<Vec<Doubt>>>,
) {
    loop {
        let looked = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            examine(&mut connection).await
        };
        // Those who work with Redis say that it is away.
        let pause = match looked.await {
            Ok(doubts) => {
                metrics.publish(&doubts);
                tell(known.borrow().as_deref().unwrap_or_default(), &doubts);
                known.send_replace(Some(doubts));
                INTERVAL
            }
            Err(_) => AGAIN,
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = known.closed() => return,
        }
    }
}

/// Logs what is new.
fn tell(before: &[Doubt], now: &[Doubt]) {
    for doubt in now.iter().filter(|doubt| !before.contains(doubt)) {
        warn!("{doubt}");
    }
    if now.is_empty() && !before.is_empty() {
        info!("Redis keeps what it confirms, from now on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubts(policy: Option<&str>, appends: Option<bool>) -> String {
        reasons(&Settings { policy: policy.map(Into::into), appends, ..Settings::default() })
    }

    fn reasons(settings: &Settings) -> String {
        settings.doubts().iter().map(Doubt::reason).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_a_redis_that_evicts_nothing_and_appends_is_beyond_doubt() {
        assert_eq!(doubts(Some("noeviction"), Some(true)), "");
        for policy in ["volatile-lru", "allkeys-lru", "volatile-ttl", "allkeys-random"] {
            assert_eq!(doubts(Some(policy), Some(true)), "eviction");
        }
        assert_eq!(doubts(Some("noeviction"), Some(false)), "no_append_only_file");
        assert_eq!(doubts(Some("allkeys-lfu"), Some(false)), "eviction no_append_only_file");
        assert_eq!(doubts(None, Some(false)), "no_append_only_file unknown");
        assert_eq!(doubts(None, None), "unknown");
    }

    #[test]
    fn a_redis_from_before_7_is_named() {
        let of = |version: &str| Settings {
            policy: Some("noeviction".into()),
            appends: Some(true),
            version: Some(version.into()),
            ..Settings::default()
        };
        assert_eq!(reasons(&of("6.2.14")), "old");
        for version in ["7.0.15", "7.2.4", "8.2.1", "255.255.255"] {
            assert_eq!(reasons(&of(version)), "", "{version}");
        }
    }
}
