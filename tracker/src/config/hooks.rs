//! The hooks' options, under the names that the files of other trackers use.

use contract::config::{Period, Problems, ServiceUrl, section, suggestion};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::redis::Timeouts;

/// One configured hook.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "name", content = "options")]
pub enum HookConfig {
    /// Who may announce.
    #[serde(rename = "passkey approval")]
    PasskeyApproval(PasskeyApprovalConfig),
    /// Every accepted announce into the stream.
    #[serde(rename = "traffic push")]
    TrafficPush(TrafficPushConfig),
}

const NAMES: [&str; 2] = ["passkey approval", "traffic push"];

/// Options of `passkey approval`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PasskeyApprovalConfig {
    /// Redis, when it is not the tracker's own.
    pub redis_broker: Option<ServiceUrl>,
    /// The whitelist, without the key prefix.
    pub set_key: String,
    /// How long to wait for an answer.
    pub redis_read_timeout: Period,
    /// Taken together with the read timeout: the longer of both counts.
    pub redis_write_timeout: Period,
    /// How long to wait for a connection.
    pub redis_connect_timeout: Period,
    /// Whether a scrape needs a passkey too.
    pub protect_scrape: bool,
}

/// Options of `traffic push`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrafficPushConfig {
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

impl Default for PasskeyApprovalConfig {
    fn default() -> Self {
        Self {
            redis_broker: None,
            set_key: contract::keys::PASSKEYS.into(),
            redis_read_timeout: Period::from_secs(5),
            redis_write_timeout: Period::from_secs(5),
            redis_connect_timeout: Period::from_secs(5),
            protect_scrape: false,
        }
    }
}

impl Default for TrafficPushConfig {
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
        }
    }
}

impl PasskeyApprovalConfig {
    /// How long to wait for Redis.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        timeouts(self.redis_connect_timeout, self.redis_read_timeout, self.redis_write_timeout)
    }
}

impl TrafficPushConfig {
    /// How long to wait for Redis.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        timeouts(self.redis_connect_timeout, self.redis_read_timeout, self.redis_write_timeout)
    }
}

fn timeouts(connect: Period, read: Period, write: Period) -> Timeouts {
    Timeouts { connect: connect.0, response: Some(read.0.max(write.0)) }
}

/// A hook as written: its name, and its options under either name.
struct Written<'a> {
    name: &'a str,
    options: Value,
    path: String,
}

pub(super) fn read(prehooks: &[Value], posthooks: &[Value]) -> Result<Vec<HookConfig>, Problems> {
    let mut problems = Problems::default();
    let mut hooks = Vec::new();
    for (list, entries) in [("prehooks", prehooks), ("posthooks", posthooks)] {
        for (number, entry) in entries.iter().enumerate() {
            let path = format!("hooks.{list}[{number}]");
            match written(entry, &path).and_then(one) {
                Ok(hook) => hooks.push(hook),
                Err(found) => problems.0.extend(found.0),
            }
        }
    }
    check_order(&hooks, &mut problems);
    problems.or(hooks)
}

fn written<'a>(entry: &'a Value, path: &str) -> Result<Written<'a>, Problems> {
    let problem = |text: String| Problems(vec![text]);
    let Value::Object(fields) = entry else {
        return Err(problem(format!("`{path}`: expected `name` and `options`")));
    };
    for key in fields.keys() {
        if !["name", "options", "config"].contains(&key.as_str()) {
            let near = suggestion(key, ["name", "options", "config"]);
            return Err(problem(format!("unknown key `{path}.{key}`{near}")));
        }
    }
    let name = fields.get("name").and_then(Value::as_str);
    let name = name.ok_or_else(|| problem(format!("`{path}.name`: expected the name of a hook")))?;
    let options = fields.get("options").or_else(|| fields.get("config")).cloned();
    let options = options.unwrap_or_else(|| Value::Object(Map::new()));
    Ok(Written { name, options, path: format!("{path}.options") })
}

fn one(written: Written<'_>) -> Result<HookConfig, Problems> {
    let Written { name, options, path } = written;
    match name {
        "passkey approval" => section(&options, &path).map(HookConfig::PasskeyApproval),
        "traffic push" => section(&options, &path).map(HookConfig::TrafficPush),
        unknown => {
            let near = suggestion(unknown, NAMES);
            Err(Problems(vec![format!("`{path}`: there is no hook `{unknown}`{near}")]))
        }
    }
}

fn check_order(hooks: &[HookConfig], problems: &mut Problems) {
    let count = |wanted: fn(&HookConfig) -> bool| hooks.iter().filter(|hook| wanted(hook)).count();
    let approvals = count(|hook| matches!(hook, HookConfig::PasskeyApproval(_)));
    let pushes = count(|hook| matches!(hook, HookConfig::TrafficPush(_)));
    if approvals > 1 || pushes > 1 {
        problems.push("`hooks`: a hook may be listed once");
    }
    if pushes > 0 && approvals == 0 {
        problems.push("`hooks`: `traffic push` needs `passkey approval`, which says whose traffic it is");
    }
}
