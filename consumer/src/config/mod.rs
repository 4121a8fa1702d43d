//! The consumer's configuration: YAML and `CONSUMER_*` variables over working defaults, all problems at once.

mod plan;

use std::net::SocketAddr;

use books::settlement::Rules;
use contract::config::{Check, Period, Problems, ServiceUrl, load, parse_yaml};
use serde::{Deserialize, Serialize};
use service::logs::LogConfig;
use service::redis::url_problem;

pub use plan::Plan;

/// Everything an operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Redis that holds the stream.
    pub redis_broker: ServiceUrl,
    /// What every key begins with, so that several sites can share one Redis.
    pub key_prefix: String,
    /// The stream of traffic events, without the key prefix, as in the tracker's configuration.
    pub stream_key: String,
    /// The consumer group; consumers of one group share the work.
    pub group: String,
    /// This consumer's name in the group; default: host name and process id.
    pub consumer: Option<String>,
    /// Entries read at once, at most. Up to eight such batches are settled in one transaction when they
    /// gather under load.
    pub batch_size: usize,
    /// After so long unacknowledged, an entry of another consumer is taken over.
    pub claim_idle: Period,
    /// Retries of a dead letter before it is given up.
    pub retry_max: u32,
    /// How often dead letters are tried again.
    pub retry_interval: Period,
    /// The URL of the ledger's database.
    pub database: ServiceUrl,
    /// Where metrics, health and readiness are served.
    pub metrics_addr: SocketAddr,
    /// Who seeds and leeches what.
    pub presence: PresenceConfig,
    /// Do not start on a Redis that may lose what it confirmed.
    pub require_durable_redis: bool,
    /// How often presence and ledger are compared.
    pub drift: DriftConfig,
    /// How long the stream keeps what is settled.
    pub retention: RetentionConfig,
    /// What an event is worth.
    pub settlement: SettlementConfig,
    /// Level and form of log lines.
    pub log: LogConfig,
}

/// How long peers stay in the presence sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PresenceConfig {
    /// A peer silent for so long is gone; default: twice its announce interval and five minutes.
    pub peer_timeout: Option<Period>,
    /// How often silent peers are looked for.
    pub sweep_interval: Period,
}

/// How many users are compared with the ledger, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriftConfig {
    /// How often sessions are counted, and some users' sets compared with guards and ledger.
    pub interval: Period,
    /// Users compared each time, at most; 0: none.
    pub users: usize,
}

/// How much of the stream is kept behind the consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetentionConfig {
    /// Days that a settled entry stays in the stream.
    pub days: u64,
    /// How often the stream is trimmed.
    pub interval: Period,
}

/// The `settlement` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SettlementConfig {
    /// Bytes per second and direction above which an event is flagged and credited nothing; 0: never.
    pub max_rate_bytes_per_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            redis_broker: "redis://127.0.0.1:6379/0".into(),
            key_prefix: String::new(),
            stream_key: contract::keys::TRAFFIC_STREAM.into(),
            group: "site".into(),
            consumer: None,
            batch_size: 1000,
            claim_idle: Period::from_secs(30),
            retry_max: 3,
            retry_interval: Period::from_secs(60),
            database: "sqlite://data/ledger.db".into(),
            metrics_addr: SocketAddr::from(([127, 0, 0, 1], 6881)),
            presence: PresenceConfig::default(),
            require_durable_redis: false,
            drift: DriftConfig::default(),
            retention: RetentionConfig::default(),
            settlement: SettlementConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self { peer_timeout: None, sweep_interval: Period::from_secs(30) }
    }
}

impl Default for DriftConfig {
    fn default() -> Self {
        Self { interval: Period::from_secs(600), users: 100 }
    }
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self { days: 14, interval: Period::from_secs(600) }
    }
}

impl Default for SettlementConfig {
    fn default() -> Self {
        Self { max_rate_bytes_per_s: Rules::default().max_rate_bytes_per_s }
    }
}

/// A batch larger than this would hold the database's write lock for seconds.
const MAX_BATCH: usize = 50_000;
/// More users than this are no sample; `trackerctl ledger verify` looks at everybody.
const MAX_SAMPLE: usize = 10_000;

impl Config {
    /// Reads keys and types only: flags come on top before a [`Plan`] is made of it.
    ///
    /// # Errors
    /// Every unknown key and unusable value, together.
    pub fn parse(yaml: &str, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        load(&parse_yaml(yaml)?, "CONSUMER", env, |name| name == "CONSUMER_CONFIG")
    }

    /// What is well-formed and still cannot work.
    fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let mut demand = |met: bool, problem: &str| {
            if !met {
                problems.push(problem);
            }
        };
        demand(
            (1..=MAX_BATCH).contains(&self.batch_size),
            &format!("`batch_size`: expected a number from 1 to {MAX_BATCH}"),
        );
        demand(!self.group.is_empty(), "`group`: must not be empty");
        demand(
            self.consumer.as_deref() != Some(""),
            "`consumer`: must not be empty; leave it out for the default",
        );
        demand(!self.stream_key.is_empty(), "`stream_key`: must not be empty; leave it out for the default");
        demand(self.claim_idle.as_secs() >= 1, "`claim_idle`: must be at least 1s");
        demand(self.retry_interval.as_secs() >= 1, "`retry_interval`: must be at least 1s");
        demand(self.retention.days >= 1, "`retention.days`: must be at least 1");
        demand(self.retention.interval.as_secs() >= 1, "`retention.interval`: must be at least 1s");
        demand(self.presence.sweep_interval.as_secs() >= 1, "`presence.sweep_interval`: must be at least 1s");
        demand(self.drift.interval.as_secs() >= 1, "`drift.interval`: must be at least 1s");
        demand(self.drift.users <= MAX_SAMPLE, &format!("`drift.users`: must be at most {MAX_SAMPLE}"));
        let peer_timeout = self.presence.peer_timeout.is_none_or(|timeout| timeout.as_secs() >= 1);
        demand(peer_timeout, "`presence.peer_timeout`: must be at least 1s");
        problems.0.extend(url_problem("redis_broker", Some(&self.redis_broker)));
        problems.0.extend(self.log.problems("log").0);
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str, env: &[(&str, &str)]) -> Result<Config, String> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let plan = Plan::load(yaml, env).map_err(|problems| problems.to_string());
        plan.map(|plan| plan.config)
    }

    #[test]
    fn the_sample_file_is_complete_and_tells_the_defaults() {
        let sample = include_str!("../../../deploy/consumer.yaml");
        assert_eq!(read(sample, &[]).unwrap(), Config::default());
        let missing = contract::config::unmentioned::<Config>(&parse_yaml(sample).unwrap()).unwrap();
        assert!(missing.is_empty(), "deploy/consumer.yaml does not mention {missing:?}");
    }

    #[test]
    fn nothing_at_all_is_a_working_configuration() {
        let config = read("", &[]).unwrap();
        assert_eq!(config, Config::default());
        let plan = Plan::of(config).unwrap();
        assert_eq!((plan.source.stream.as_str(), plan.source.batch_size), ("tracker:traffic", 1000));
        assert!(plan.source.consumer.ends_with(&std::process::id().to_string()));
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = read(
            "batch_size: 5\nkey_prefix: 'a:'\n",
            &[
                ("CONSUMER_BATCH_SIZE", "7"),
                ("CONSUMER_PRESENCE_PEER_TIMEOUT", "10m"),
                ("CONSUMER_CONFIG", "x"),
            ],
        )
        .unwrap();
        let plan = Plan::of(config).unwrap();
        assert_eq!((plan.source.batch_size, plan.source.stream.as_str()), (7, "a:tracker:traffic"));
        assert_eq!(plan.chores.leases.peer_timeout_s, Some(600));
    }

    #[test]
    fn an_unknown_key_names_the_nearest_one() {
        let error = read("batchsize: 5\npresence:\n  sweep: 1s\n", &[]).unwrap_err();
        assert!(error.contains("`batchsize`") && error.contains("did you mean `batch_size`"), "{error}");
        assert!(error.contains("`presence.sweep`"), "{error}");
    }

    #[test]
    fn values_that_cannot_work_are_all_reported_at_once() {
        let yaml = "batch_size: 0\nclaim_idle: 1ms\ndatabase: postgres://u:hunter2@h/db\nredis_broker: nonsense\n\
                    retention: {days: 0}\ngroup: ''\n";
        let error = read(yaml, &[]).unwrap_err();
        for key in ["batch_size", "claim_idle", "database", "redis_broker", "retention.days", "group"] {
            assert!(error.contains(&format!("`{key}`")), "{key} in {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_log_level_that_is_no_filter_and_a_database_of_another_kind_are_problems() {
        let error =
            read("log: {level: nonsense=x=y}\ndatabase: oracle://db/x\n", &[]).unwrap_err().to_string();
        assert!(error.contains("`log.level`: `nonsense=x=y` is no filter"), "{error}");
        assert!(error.contains("`database`"), "{error}");
    }

    #[test]
    fn the_effective_configuration_prints_without_passwords() {
        let config = read("redis_broker: redis://hunter2@h:1/0\n", &[]).unwrap();
        assert!(!serde_json::to_string(&config).unwrap().contains("hunter2"));
    }
}
