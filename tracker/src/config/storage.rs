//! The swarm store's section.

use contract::Keys;
use contract::config::{Period, Problems, ServiceUrl};
use serde::{Deserialize, Serialize};
use service::redis::Timeouts;

use super::Config;
use crate::sharing;

/// Each shard takes memory at the start: far more than anybody's cores can use.
const MAX_SHARDS: usize = 1 << 20;

/// Where swarms are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageConfig {
    pub(crate) name: StorageName,
    pub(crate) config: StoreConfig,
}

/// The kinds of store. Both answer from this process's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageName {
    /// What this tracker saw itself.
    #[default]
    Memory,
    /// What every tracker of the site saw: they tell each other through Redis.
    Redis,
}

/// The store's settings. Those that name Redis, and `max_bytes`, mean something to `redis` only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreConfig {
    /// How often silent peers are looked for.
    pub gc_interval: Period,
    /// How long a peer may be silent.
    pub peer_lifetime: Period,
    /// Locks: more of them means less waiting between cores.
    pub shard_count: usize,
    /// Taken for the sake of other trackers' files: gauges are brought up to date every few seconds.
    pub prometheus_reporting_interval: Period,
    /// The Redis through which trackers share; the tracker's own unless it is named here.
    pub redis_broker: Option<ServiceUrl>,
    /// How long to wait for an answer.
    pub redis_read_timeout: Period,
    /// Taken together with the read timeout: the longer of both counts.
    pub redis_write_timeout: Period,
    /// How long to wait for a connection.
    pub redis_connect_timeout: Period,
    /// Bytes that shared visits may take in Redis.
    pub max_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            gc_interval: Period::from_secs(3 * 60),
            peer_lifetime: Period::from_secs(31 * 60),
            shard_count: 256,
            prometheus_reporting_interval: Period::from_secs(1),
            redis_broker: None,
            redis_read_timeout: Period::from_secs(15),
            redis_write_timeout: Period::from_secs(15),
            redis_connect_timeout: Period::from_secs(15),
            max_bytes: 512 << 20,
        }
    }
}

impl StorageConfig {
    pub(super) fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        if self.config.max_bytes < sharing::MIN_STREAM_BYTES {
            problems.push(format!(
                "`storage.config.max_bytes`: must be at least {}: a few batches of visits",
                sharing::MIN_STREAM_BYTES
            ));
        }
        problems.require(
            !self.config.gc_interval.0.is_zero(),
            "`storage.config.gc_interval`: must be longer than 0s",
        );
        problems.require(
            self.config.shard_count <= MAX_SHARDS,
            "`storage.config.shard_count`: must be at most 1048576",
        );
        problems.0.extend(service::redis::url_problem(
            "storage.config.redis_broker",
            self.config.redis_broker.as_ref(),
        ));
        problems
    }
}

impl Config {
    /// How swarms are shared with other trackers; `None` when they are not.
    #[must_use]
    pub fn sharing(&self) -> Option<sharing::Setup> {
        let store = &self.storage.config;
        (self.storage.name == StorageName::Redis).then(|| sharing::Setup {
            redis: store.redis_broker.clone().unwrap_or_else(|| self.redis_broker.clone()),
            stream: Keys::new(&self.key_prefix).swarm(),
            timeouts: Timeouts::of_periods(
                store.redis_connect_timeout,
                store.redis_read_timeout,
                store.redis_write_timeout,
            ),
            peer_lifetime: store.peer_lifetime.0,
            max_bytes: store.max_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Plan;
    use service::program::Plan as _;

    fn load(text: &str) -> Result<Config, String> {
        Config::load(Some(text), []).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_chihaya_files_redis_store_shares_swarms() {
        let text = "chihaya:\n  storage:\n    name: redis\n    config:\n      gc_interval: 3m\n      prometheus_reporting_interval: 1s\n      peer_lifetime: 31m\n      redis_broker: \"redis://pwd@127.0.0.1:6379/0\"\n      redis_read_timeout: 15s\n      redis_write_timeout: 20s\n      redis_connect_timeout: 10s\n";
        let config = load(text).unwrap();
        let setup = config.sharing().unwrap();
        assert_eq!(setup.redis.reveal(), "redis://pwd@127.0.0.1:6379/0");
        assert_eq!((setup.stream.as_str(), setup.peer_lifetime.as_secs()), ("tracker:swarm", 31 * 60));
        assert_eq!(setup.timeouts.connect.as_secs(), 10);
        assert_eq!(setup.timeouts.response.unwrap().as_secs(), 20);
        assert!(!Plan::of(config).unwrap().effective().unwrap().to_string().contains("pwd"));
    }

    #[test]
    fn without_a_redis_of_its_own_the_store_uses_the_trackers() {
        let config = load("redis_broker: redis://h:1/2\nkey_prefix: 's:'\nstorage: {name: redis}").unwrap();
        let setup = config.sharing().unwrap();
        assert_eq!((setup.redis.reveal(), setup.stream.as_str()), ("redis://h:1/2", "s:tracker:swarm"));
        assert_eq!(load("").unwrap().sharing(), None);
        let other = load("redis_broker: redis://h:1/3\nkey_prefix: 's:'\nstorage: {name: redis}").unwrap();
        assert_eq!(config.needs_restart(&other), vec!["storage"]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let problems = load("storage: {name: redis, config: {max_bytes: 10, gc_interval: 0s}}").unwrap_err();
        assert!(problems.contains("`storage.config.max_bytes`") && problems.contains("gc_interval"));
        assert!(load("storage: {name: rediss}").unwrap_err().contains("storage.name"));
    }
}
