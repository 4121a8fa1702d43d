//! Options of `traffic push`.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::config::{Check, Period, Problems, ServiceUrl};
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};
use service::redis::{Broker, Timeouts, url_problem};

use super::recorder::Setup;
use super::script::Rules;
use super::spool::TailLimits;

/// Clients give up within minutes; what differs by more than that is no skew.
const SKEWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
/// A Redis that comes back older by more has been restored from a backup.
const LONGEST_TAIL_SECS: u64 = 3600;

/// Options of `traffic push`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Redis, when it is not the tracker's own.
    pub redis_broker: Option<ServiceUrl>,
    /// The stream, without the key prefix.
    pub stream_key: String,
    /// What snapshot keys begin with, without the key prefix.
    pub last_key_prefix: String,
    /// How often a batch is sent again before its clients are told to come back.
    pub retry_count: u32,
    /// How long to wait before it is sent again.
    pub retry_interval: Period,
    /// How long to wait for an answer.
    pub redis_read_timeout: Period,
    /// Taken together with the read timeout: the longer of both counts.
    pub redis_write_timeout: Period,
    /// How long to wait for a connection.
    pub redis_connect_timeout: Period,
    /// Leave out announces that change nothing, at the expense of presence and seed time.
    pub skip_idle: bool,
    /// How long a session's counters are remembered.
    pub snapshot_ttl: Period,
    /// What a session's first `started` is worth.
    pub first_started: FirstStarted,
    /// How far two paths of one client may differ: a client's own timeout.
    pub path_skew: Period,
    /// What is kept of what Redis confirmed.
    pub tail: TailLimits,
    /// What of clients the event tells besides.
    pub event_fields: Vec<EventField>,
    /// Do not start on a Redis that may lose what it confirmed without being asked to.
    pub require_durable_redis: bool,
    /// How many replicas must have an announce before its client is answered.
    pub wait_replicas: u32,
    /// Where announces are kept while Redis is away.
    pub spool: SpoolOptions,
}

/// What an event may tell of a client besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventField {
    /// Its `User-Agent`. HTTP only.
    Agent,
    /// The `key` that it tells nobody but trackers.
    Key,
    /// Bytes that it threw away. HTTP only.
    Corrupt,
}

/// Where announces are kept while Redis is away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpoolOptions {
    /// The folder, one for each tracker process. Empty: there is no spool, and announces are refused while
    /// Redis is away.
    pub directory: PathBuf,
    /// Bytes it may take on disk, about 6,000 announces each MiB.
    pub max_bytes: u64,
}

impl SpoolOptions {
    /// Below this there is no room for batches of announces.
    pub const MIN_BYTES: u64 = 64 * 1024;
}

impl Default for SpoolOptions {
    /// No folder: a default one would be shared by all trackers that are started in the same place.
    fn default() -> Self {
        Self { directory: PathBuf::new(), max_bytes: 256 * 1024 * 1024 }
    }
}

/// What a session's first `started` is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirstStarted {
    /// Nothing: its counters are where counting begins.
    Baseline,
    /// Its counters are believed.
    Credit,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            redis_broker: None,
            stream_key: contract::keys::TRAFFIC_STREAM.into(),
            last_key_prefix: contract::keys::SNAPSHOT_PREFIX.into(),
            retry_count: 3,
            retry_interval: Period::from_millis(200),
            redis_read_timeout: Period::from_secs(5),
            redis_write_timeout: Period::from_secs(5),
            redis_connect_timeout: Period::from_secs(5),
            skip_idle: false,
            snapshot_ttl: Period::from_secs(21 * 86_400),
            first_started: FirstStarted::Baseline,
            path_skew: Period(Duration::from_millis(claims::DEFAULT_SKEW_MS)),
            tail: TailLimits::default(),
            event_fields: Vec::new(),
            require_durable_redis: false,
            wait_replicas: 0,
            spool: SpoolOptions::default(),
        }
    }
}

impl Check for Options {
    fn problems(&self, path: &str) -> Problems {
        let mut problems = Problems::default();
        if self.spool.max_bytes < SpoolOptions::MIN_BYTES {
            let min = SpoolOptions::MIN_BYTES;
            problems.push(format!("`{path}.spool.max_bytes`: must be at least {min} (64 KiB)"));
        }
        problems.require(
            SKEWS.contains(&self.path_skew.0),
            &format!("`{path}.path_skew`: must be between 1s and 1h"),
        );
        problems.require(
            self.tail.seconds <= LONGEST_TAIL_SECS,
            &format!("`{path}.tail.seconds`: must be at most {LONGEST_TAIL_SECS} (an hour)"),
        );
        if let Some(problem) = folder_problem(&self.spool.directory) {
            problems.push(format!("`{path}.spool.directory`: {problem}"));
        }
        problems.0.extend(url_problem(&format!("{path}.redis_broker"), self.redis_broker.as_ref()));
        problems
    }
}

/// Why a spool cannot be made there. Nothing is made or locked: the tracker that uses the folder may run
/// while its operator checks the next configuration.
fn folder_problem(directory: &Path) -> Option<String> {
    let there = directory.ancestors().find(|folder| folder.symlink_metadata().is_ok())?;
    let shown = there.display();
    if !there.is_dir() {
        Some(format!("cannot be used: {shown} is no folder"))
    } else if access(there, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        Some(format!("cannot be used: {shown} cannot be written to"))
    } else {
        None
    }
}

impl Options {
    /// The recorder's setup on one site.
    #[must_use]
    pub fn setup(&self, broker: &Broker) -> Setup {
        Setup {
            redis: broker.url_or(self.redis_broker.as_ref()),
            timeouts: Timeouts::of_periods(
                self.redis_connect_timeout,
                self.redis_read_timeout,
                self.redis_write_timeout,
            ),
            rules: Rules {
                stream_key: format!("{}{}", broker.key_prefix, self.stream_key),
                snapshot_prefix: format!("{}{}", broker.key_prefix, self.last_key_prefix),
                snapshot_ttl_secs: self.snapshot_ttl.as_secs(),
                skip_idle: self.skip_idle,
                path_skew_ms: u64::try_from(self.path_skew.0.as_millis()).unwrap_or(u64::MAX),
                credit_first_started: self.first_started == FirstStarted::Credit,
                ..Rules::new(&contract::Keys::new(&broker.key_prefix))
            },
            retry_count: self.retry_count,
            retry_interval: self.retry_interval.0,
            tail: self.tail,
            require_durable_redis: self.require_durable_redis,
            wait_replicas: self.wait_replicas,
            spool: (!self.spool.directory.as_os_str().is_empty()).then(|| self.spool.clone()),
        }
    }
}
