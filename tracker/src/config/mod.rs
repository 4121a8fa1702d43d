//! The tracker's configuration: its keys, their defaults, and what must hold between them.
//!
//! Two shapes load: Seedbook's own with its keys at the root, and Chihaya's with everything below `chihaya:`.

mod hooks;
mod http;
#[cfg(test)]
mod manual;
mod shape;
mod storage;
mod udp;

use std::collections::HashSet;
use std::path::PathBuf;

use contract::InfoHash;
use contract::config::{ListenAddr, Period, Problems, ServiceUrl};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::logs::LogConfig;

use crate::forward::{self, Forwarder, Scope};

pub use hooks::HookConfig;
pub use http::HttpConfig;
pub use storage::{StorageConfig, StorageName, StoreConfig};
pub use udp::UdpConfig;

/// Environment variables begin with this: `TRACKER_HTTP_ADDR` sets `http.addr`.
pub const ENV_PREFIX: &str = "TRACKER";

/// How late clients announce: retries, slow hosts, their own timers.
const ANNOUNCE_SLACK_SECS: u64 = 30;

/// The whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// How often clients announce.
    pub announce_interval: Period,
    /// How often they may.
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
    /// Logs.
    pub log: LogConfig,
    /// The HTTP frontend.
    pub http: HttpConfig,
    /// The UDP frontend.
    pub udp: UdpConfig,
    /// The swarms.
    pub storage: StorageConfig,
    /// The rules, in order.
    pub hooks: HookLists,
    /// The file that lists other trackers to tell of our clients.
    pub forwarders: Option<PathBuf>,
    /// The torrents that they are told of, in hex; all, when the list is empty and anybody may announce.
    pub forward_torrents: Vec<InfoHash>,
}

/// The hooks as written; [`Config::hooks`] reads them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HookLists {
    /// Before the reply.
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
    /// Reads a file's text (none: the defaults) and the environment, in either shape.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn load(
        file: Option<&str>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let tree = shape::native(contract::config::parse_yaml(file.unwrap_or_default())?)?;
        let foreign = |name: &str| name == "TRACKER_CONFIG";
        let config: Self = contract::config::load(&tree, ENV_PREFIX, env, foreign)?;
        config.problems().or(config)
    }

    /// The hooks in order, read strictly.
    ///
    /// # Errors
    /// Every problem in any hook's options.
    pub fn hook_list(&self) -> Result<Vec<HookConfig>, Problems> {
        hooks::read(&self.hooks.prehooks, &self.hooks.posthooks)
    }

    /// The forwarders, read from their file now.
    ///
    /// # Errors
    /// Every problem in the file.
    pub fn forwarder_list(&self) -> Result<Vec<Forwarder>, Problems> {
        self.forwarders.as_deref().map_or(Ok(Vec::new()), forward::read_file)
    }

    /// Which torrents are forwarded. On a tracker that knows its users nothing leaves the house that the
    /// operator did not list.
    ///
    /// # Errors
    /// When there are forwarders, but nothing may be forwarded to them.
    pub fn forward_scope(&self) -> Result<Scope, Problems> {
        let listed: HashSet<_> = self.forward_torrents.iter().copied().collect();
        let private = self.hook_list()?.iter().any(HookConfig::knows_users);
        if !listed.is_empty() {
            Ok(Scope::Listed(listed))
        } else if private && self.forwarders.is_some() {
            Err(Problems(vec![
                "`forward_torrents`: a tracker that knows its users forwards only torrents that are listed here, and none is"
                    .into(),
            ]))
        } else {
            Ok(Scope::Everything)
        }
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

    /// What is in force, as a tree: defaults filled in, hooks read, secrets hidden.
    ///
    /// # Errors
    /// Problems in the hooks' options.
    pub fn effective(&self) -> Result<Value, Problems> {
        let shown = |error: serde_json::Error| Problems(vec![error.to_string()]);
        let mut tree = serde_json::to_value(self).map_err(shown)?;
        // The lists hold the file's own text, passwords included: show what was read from it instead.
        tree["hooks"] = serde_json::to_value(self.hook_list()?).map_err(shown)?;
        Ok(tree)
    }

    /// What works, but hardly as the operator wants it.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.http.believes_nobody() {
            warnings.push(
                "`http.real_ip_header` is set, but there are no `http.trusted_proxies`: nobody's header is believed, and clients \
                 behind a proxy seem to come from the proxy; list the proxies' addresses"
                    .into(),
            );
        }
        let longest = self.announce_interval.as_secs() + self.longest_delay();
        if self.storage.config.peer_lifetime.as_secs() < longest + ANNOUNCE_SLACK_SECS {
            warnings.push(format!(
                "`storage.config.peer_lifetime`: some clients are asked to come back after {longest} s, and are forgotten about then; make \
                 it {} s or more",
                longest + ANNOUNCE_SLACK_SECS
            ));
        }
        warnings
    }

    /// What `interval variation` may add to an interval, in seconds.
    fn longest_delay(&self) -> u64 {
        let delay = |hook: &HookConfig| match hook {
            HookConfig::IntervalVariation(options) => Some(options.max_increase_delta.into()),
            _ => None,
        };
        self.hook_list().ok().and_then(|hooks| hooks.iter().find_map(delay)).unwrap_or(0)
    }

    /// What spans several keys or needs more than a type.
    fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let mut gather = |found: Problems| problems.0.extend(found.0);
        match self.hook_list() {
            Ok(_) => gather(self.forward_scope().err().unwrap_or_default()),
            Err(found) => gather(found),
        }
        gather(self.http.problems());
        gather(self.udp.problems());
        gather(self.storage.problems());
        gather(self.forwarder_list().err().unwrap_or_default());
        let mut require = |holds: bool, otherwise: &str| {
            if !holds {
                problems.push(otherwise);
            }
        };
        require(
            self.min_announce_interval <= self.announce_interval,
            "`min_announce_interval`: must not be longer than `announce_interval`",
        );
        require(
            !matches!(self.metrics_addr, ListenAddr::Unix(_)),
            "`metrics_addr`: must be an address with a port, or empty for none",
        );
        require(self.announce_interval.as_secs() > 0, "`announce_interval`: must be at least 1s");
        require(
            self.storage.config.peer_lifetime > self.announce_interval,
            "`storage.config.peer_lifetime`: must be longer than `announce_interval`, or peers vanish between announces",
        );
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        Config::load(Some(text), []).map_err(|problems| problems.to_string())
    }

    #[test]
    fn no_file_is_an_in_memory_tracker_on_6969() {
        let config = Config::load(None, []).unwrap();
        assert_eq!(config.http.addr, ListenAddr::port(6969));
        assert!(config.hook_list().unwrap().is_empty());
        assert!(config.metrics_addr.inet().unwrap().ip().is_loopback());
    }

    #[test]
    fn both_shapes_load_alike() {
        let native = "announce_interval: 20m\nmin_announce_interval: 10m\nhooks:\n  prehooks:\n  - name: passkey approval\n    options: {set_key: s}\n";
        let chihaya = "chihaya:\n  announce_interval: 20m\n  min_announce_interval: 10m\n  prehooks:\n  - name: passkey approval\n    config: {set_key: s}\n";
        let (native, chihaya) = (load(native).unwrap(), load(chihaya).unwrap());
        assert_eq!(native.announce_interval, chihaya.announce_interval);
        assert_eq!(native.hook_list().unwrap(), chihaya.hook_list().unwrap());
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
        let open = load("forwarders: /dev/null\n").unwrap();
        assert_eq!(open.forward_scope(), Ok(Scope::Everything));
        let problems = load(&format!("forwarders: /dev/null\n{private}")).unwrap_err();
        assert!(problems.contains("`forward_torrents`"), "{problems}");
        let listed = load(&format!("forwarders: /dev/null\nforward_torrents: [{hash}]\n{private}")).unwrap();
        assert_eq!(listed.forward_scope(), Ok(Scope::Listed(HashSet::from([hash.parse().unwrap()]))));
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
