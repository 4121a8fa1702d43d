//! The tracker's configuration: its keys, their defaults, and what must hold between them.
//!
//! Two shapes load: Seedbook's own with its keys at the root, and Chihaya's with everything below `chihaya:`.

mod hooks;
mod http;
#[cfg(test)]
mod manual;
mod plan;
mod shape;
mod storage;
mod udp;

use std::path::PathBuf;

use contract::InfoHash;
use contract::config::{ListenAddr, Period, Problems, ServiceUrl};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::logs::LogConfig;

pub use hooks::Rule;
pub use http::{HttpConfig, HttpPlan};
pub use plan::{ForwardPlan, Plan, RulePlan};
pub use storage::{StorageConfig, StorageName, StoreConfig};
pub use udp::{UdpConfig, UdpPlan};

/// Environment variables begin with this: `TRACKER_HTTP_ADDR` sets `http.addr`.
pub const ENV_PREFIX: &str = "TRACKER";

/// Every key of the configuration; `deploy/tracker.yaml` explains each to operators.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The interval that clients are asked to announce at.
    pub announce_interval: Period,
    /// The least time that a client must leave between two announces.
    pub min_announce_interval: Period,
    /// Where `/metrics`, `/healthz`, `/readyz`, `/stats` and `/debug/pprof/` are served.
    pub metrics_addr: ListenAddr,
    /// Whether memory is sampled from the start, so that a heap profile shows all of it and not only what its
    /// own few seconds add.
    pub heap_profile: bool,
    /// The Redis that hooks use unless they name their own.
    pub redis_broker: ServiceUrl,
    /// What every Redis key begins with.
    pub key_prefix: String,
    /// How long requests in hand may take when the tracker stops.
    pub grace_period: Period,
    /// Level and form of log lines.
    pub log: LogConfig,
    /// Announces over HTTP and HTTPS.
    pub http: HttpConfig,
    /// Announces over UDP; off by default.
    pub udp: UdpConfig,
    /// Where swarms live, and when silent peers are forgotten.
    pub storage: StorageConfig,
    /// The hooks that every announce passes, in this order.
    pub hooks: HookLists,
    /// The file that lists other trackers to tell of our clients.
    pub forwarders: Option<PathBuf>,
    /// The torrents that they are told of, in hex; all, when the list is empty and anybody may announce.
    pub forward_torrents: Vec<InfoHash>,
}

/// The hooks as written; the plan reads them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HookLists {
    /// Hooks before the reply: they may refuse the announce.
    pub prehooks: Vec<Value>,
    /// After it. `traffic push` may stand in either list: it always takes effect before the reply leaves.
    pub posthooks: Vec<Value>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            announce_interval: Period::from_secs(30 * 60),
            min_announce_interval: Period::from_secs(15 * 60),
            metrics_addr: ListenAddr::Inet(([127, 0, 0, 1], 6880).into()),
            heap_profile: false,
            redis_broker: "redis://127.0.0.1:6379/0".into(),
            key_prefix: String::new(),
            grace_period: Period::from_secs(10),
            log: LogConfig::default(),
            http: HttpConfig::default(),
            udp: UdpConfig::default(),
            storage: StorageConfig::default(),
            hooks: HookLists::default(),
            forwarders: None,
            forward_torrents: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a file's text and the environment, in either shape: keys and types only. [`Plan::of`] checks
    /// what must hold beyond them.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn read(file: &str, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        let tree = shape::native(contract::config::parse_yaml(file)?)?;
        contract::config::load(&tree, ENV_PREFIX, env, |name| name == "TRACKER_CONFIG")
    }

    /// Reads and checks as [`Plan::load`] does, for those who start nothing.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn load(
        file: Option<&str>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        Plan::load(file, env).map(|plan| plan.config)
    }

    /// The keys outside the reloadable part that differ in `other`.
    #[must_use]
    pub fn needs_restart(&self, other: &Self) -> Vec<&'static str> {
        let keep = |changed: bool, key: &'static str| changed.then_some(key);
        let (ours, theirs) = (&self.http, &other.http);
        [
            keep(self.metrics_addr != other.metrics_addr, "metrics_addr"),
            keep(self.heap_profile != other.heap_profile, "heap_profile"),
            keep(self.grace_period != other.grace_period, "grace_period"),
            keep(self.log != other.log, "log"),
            keep(ours.addr != theirs.addr, "http.addr"),
            keep(ours.https_addr != theirs.https_addr, "http.https_addr"),
            keep(ours.workers != theirs.workers, "http.workers"),
            keep(ours.read_timeout != theirs.read_timeout, "http.read_timeout"),
            keep(ours.write_timeout != theirs.write_timeout, "http.write_timeout"),
            keep(ours.idle_timeout != theirs.idle_timeout, "http.idle_timeout"),
            keep(ours.enable_keepalive != theirs.enable_keepalive, "http.enable_keepalive"),
            keep(self.udp.needs_restart(&other.udp), "udp"),
            keep(self.storage != other.storage || self.sharing() != other.sharing(), "storage"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::forward::Scope;
    use service::program::Plan as _;
    use std::collections::HashSet;

    fn load(text: &str) -> Result<Plan, String> {
        Plan::load(Some(text), []).map_err(|problems| problems.to_string())
    }

    #[test]
    fn no_file_is_an_in_memory_tracker_on_6969() {
        let config = Config::load(None, []).unwrap();
        assert_eq!(config.http.addr, ListenAddr::port(6969));
        assert!(config.hooks.prehooks.is_empty() && config.hooks.posthooks.is_empty());
        assert!(config.metrics_addr.inet().unwrap().ip().is_loopback());
    }

    #[test]
    fn both_shapes_load_alike() {
        let native = "announce_interval: 20m\nmin_announce_interval: 10m\nhooks:\n  prehooks:\n  - name: passkey approval\n    options: {set_key: s}\n";
        let chihaya = "chihaya:\n  announce_interval: 20m\n  min_announce_interval: 10m\n  prehooks:\n  - name: passkey approval\n    config: {set_key: s}\n";
        let (native, chihaya) = (load(native).unwrap(), load(chihaya).unwrap());
        assert_eq!(native.rules, chihaya.rules);
        assert_eq!((native.rules.intervals.interval, native.rules.rules.len()), (1200, 1));
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let text = "annonce_interval: 1m\nhttp:\n  trusted_proxies: [x]\nhooks:\n  prehooks:\n  - name: passkey aproval\n  - name: traffic push\n    options: {retry_cuont: 1}\n";
        let problems = load(text).unwrap_err();
        assert!(problems.contains("`annonce_interval`"), "{problems}");
        let text = text.replace("annonce_interval: 1m\n", "");
        let problems = load(&text).unwrap_err();
        assert!(problems.contains("did you mean `passkey approval`"), "{problems}");
        assert!(
            problems.contains("hooks.prehooks[1].options") && problems.contains("did you mean `retry_count`")
        );
        assert!(problems.contains("http.trusted_proxies"), "{problems}");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let problems = load("min_announce_interval: 2h\nhttp:\n  real_ip_header: x real ip\n").unwrap_err();
        assert!(problems.contains("`min_announce_interval`") && problems.contains("`http.real_ip_header`"));
    }

    #[test]
    fn what_works_badly_is_a_warning() {
        assert!(load("").unwrap().warnings().is_empty());
        let varied =
            "hooks:\n  prehooks:\n  - name: interval variation\n    options: {max_increase_delta: 60}\n";
        let short = load(varied).unwrap().warnings();
        assert!(
            short[0].contains("`storage.config.peer_lifetime`") && short[0].contains("1890 s"),
            "{short:?}"
        );
        let long = format!("storage: {{config: {{peer_lifetime: 32m}}}}\n{varied}");
        assert!(load(&long).unwrap().warnings().is_empty());
        let proxied = load("http: {real_ip_header: x-real-ip}\n").unwrap().warnings();
        assert!(proxied[0].contains("`http.trusted_proxies`"), "{proxied:?}");
    }

    #[test]
    fn a_tracker_with_users_forwards_only_what_is_listed() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        let private = "hooks:\n  prehooks:\n  - name: passkey approval\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f.yml");
        std::fs::write(&file, "- uri: http://a/\n").unwrap();
        let forwarders = format!("forwarders: {}\n", file.display());
        let scope = |text: &str| load(text).unwrap().rules.forwarding.unwrap().scope;
        assert_eq!(scope(&forwarders), Scope::Everything);
        let problems = load(&format!("{forwarders}{private}")).unwrap_err();
        assert!(problems.contains("`forward_torrents`"), "{problems}");
        let listed = scope(&format!("{forwarders}forward_torrents: [{hash}]\n{private}"));
        assert_eq!(listed, Scope::Listed(HashSet::from([hash.parse().unwrap()])));
        assert!(load("forward_torrents: [xyz]\n").unwrap_err().contains("`forward_torrents`"));
    }

    #[test]
    fn a_forwarders_file_that_is_missing_or_wrong_is_a_problem() {
        assert!(load("forwarders: /nowhere/f.yml\n").unwrap_err().contains("/nowhere/f.yml"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f.yml");
        std::fs::write(&file, "- uri: gopher://a/\n- urii: http://a/\n").unwrap();
        let problems = load(&format!("annonce: 1\nforwarders: {}\n", file.display())).unwrap_err();
        assert!(problems.contains("annonce"), "{problems}");
        let problems = load(&format!("forwarders: {}\n", file.display())).unwrap_err();
        assert!(problems.contains("[0].uri") && problems.contains("did you mean `uri`"), "{problems}");
    }

    #[test]
    fn traffic_push_needs_somebody_to_book_on() {
        let problems = load("hooks:\n  posthooks:\n  - name: traffic push\n").unwrap_err();
        assert!(problems.contains("passkey approval"), "{problems}");
    }
}
