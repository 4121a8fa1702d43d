//! The plan: the configuration, read once and checked, with everything resolved that the rooms are built
//! from. A consumer that has a plan can only fail on what the network, other processes or the disk do to it.
//!
//! `--check`, `trackerctl check` and a start all make the plan, so that each finds what the others would.

use books::ledger::Location;
use books::presence::Leases;
use books::retention::Keep;
use books::settlement::Rules;
use contract::Keys;
use contract::config::{Period, Problems};
use serde_json::Value;
use service::program;

use super::Config;
use crate::chores;
use crate::reader::Source;

/// What a consumer is built from.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configuration as it is written, with defaults filled in.
    pub config: Config,
    /// Whose entries are read, and as whom.
    pub source: Source,
    /// The limits that events are settled by.
    pub rules: Rules,
    /// What is done beside the line.
    pub chores: chores::Setup,
}

impl Plan {
    /// Reads a file's text (empty: the defaults) and the environment.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn load(yaml: &str, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        Self::of(Config::parse(yaml, env)?)
    }

    /// Checks and resolves a configuration.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn of(config: Config) -> Result<Self, Problems> {
        let mut problems = config.problems();
        let location =
            Location::parse(&config.database).map_err(|error| Problems(vec![format!("`database`: {error}")]));
        let Some(database) = problems.gather(location) else { return Err(problems) };
        let source = config.source();
        let rules = Rules { max_rate_bytes_per_s: config.settlement.max_rate_bytes_per_s };
        let chores = config.chores(&source, database);
        problems.or(Self { config, source, rules, chores })
    }
}

impl program::Plan for Plan {
    fn effective(&self) -> Result<Value, Problems> {
        serde_json::to_value(&self.config).map_err(|error| Problems(vec![error.to_string()]))
    }
}

impl Config {
    fn source(&self) -> Source {
        Source {
            stream: format!("{}{}", self.key_prefix, self.stream_key),
            group: self.group.clone(),
            consumer: self.consumer.clone().unwrap_or_else(default_name),
            batch_size: self.batch_size,
            claim_idle: self.claim_idle.0,
        }
    }

    fn chores(&self, source: &Source, database: Location) -> chores::Setup {
        chores::Setup {
            stream: source.stream.clone(),
            group: source.group.clone(),
            keys: Keys::new(self.key_prefix.clone()),
            leases: Leases { peer_timeout_s: self.presence.peer_timeout.map(Period::as_secs) },
            database,
            retry_max: self.retry_max,
            retry_every: self.retry_interval.0,
            sweep_every: self.presence.sweep_interval.0,
            keep: Keep::Days(self.retention.days),
            trim_every: self.retention.interval.0,
            compared_users: self.drift.users,
            compare_every: self.drift.interval.0,
        }
    }
}

/// Unique among running consumers. Not stable over a restart: what a dead one left is claimed after
/// `claim_idle`.
fn default_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "consumer" } else { host.trim() };
    format!("{host}-{}", std::process::id())
}
