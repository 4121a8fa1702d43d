//! The plan: the configuration, read once and checked, with everything resolved that the rooms are built
//! from. A program that has a plan can only fail on what the network, other processes or the disk do to it.
//!
//! `--check`, a start and a reload all make the plan, so that each of them finds what the others would.

use std::collections::HashSet;
use std::time::Duration;

use contract::config::{Check, ListenAddr, Period, Problems};
use serde_json::Value;
use service::program;
use service::redis::{Broker, url_problem};

use super::Config;
use super::hooks::{self, HookPlan, Rule};
use super::http::HttpPlan;
use super::storage::StorageName;
use super::udp::UdpPlan;
use crate::forward::{self, Forwarder, Scope};
use crate::rulebook::Intervals;
use crate::{sharing, traffic};

/// How late clients announce: retries, slow hosts, their own timers.
const ANNOUNCE_SLACK_SECS: u64 = 30;

/// What a tracker is built from.
#[derive(Debug)]
pub struct Plan {
    /// The configuration as it is written, with defaults filled in.
    pub config: Config,
    /// The plan of the rulebook, which a reload makes anew.
    pub rules: RulePlan,
    /// The plan of the HTTP frontend, plain and over TLS.
    pub http: HttpPlan,
    /// The plan of the UDP frontend.
    pub udp: UdpPlan,
    /// How swarms are shared with other trackers; `None` when they are not.
    pub sharing: Option<sharing::Setup>,
    hooks: HookPlan,
}

/// What the rulebook is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct RulePlan {
    /// The tracker's own Redis.
    pub broker: Broker,
    /// What clients are told unless a hook changes it.
    pub intervals: Intervals,
    pub(crate) rules: Vec<Rule>,
    /// The recorder; `None` when nothing is recorded.
    pub recorder: Option<traffic::Setup>,
    /// The forwarders; `None` when there are none.
    pub forwarding: Option<ForwardPlan>,
}

/// What forwarding is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct ForwardPlan {
    /// Other trackers that are told of our clients.
    pub forwarders: Vec<Forwarder>,
    /// Of which torrents.
    pub scope: Scope,
    /// How long a client is remembered after its last announce.
    pub session_lifetime: Duration,
}

impl Plan {
    /// Reads a file's text (none: the defaults) and the environment, in either shape, and all files that they
    /// name.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn load(
        file: Option<&str>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        Self::of(Config::read(file.unwrap_or_default(), env)?)
    }

    /// Checks and resolves a configuration.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn of(config: Config) -> Result<Self, Problems> {
        let mut problems = config.problems();
        let http = problems.gather(config.http.plan(config.grace_period.0));
        let routes = http.as_ref().map(|http| http.policy.routes.clone()).unwrap_or_default();
        let udp = problems.gather(config.udp.plan(routes));
        let hooks = problems.gather(hooks::read(&config.hooks.prehooks, &config.hooks.posthooks));
        let forwarders =
            problems.gather(config.forwarders.as_deref().map_or(Ok(Vec::new()), forward::read_file));
        let needs_broker = hooks.as_ref().is_some_and(HookPlan::needs_broker);
        problems.0.extend(config.broker_problem(needs_broker));
        let scope =
            hooks.as_ref().and_then(|hooks| problems.gather(config.forward_scope(hooks.knows_users())));
        let (Some(mut http), Some(mut udp), Some(hooks), Some(forwarders), Some(scope)) =
            (http, udp, hooks, forwarders, scope)
        else {
            return Err(problems);
        };
        let event_fields = hooks.event_fields();
        http.policy.limits.event_fields = event_fields;
        udp.policy.limits.event_fields = event_fields;
        let rules = RulePlan::new(&config, &hooks, forwarders, scope);
        let sharing = config.sharing();
        problems.or(Self { config, rules, http, udp, sharing, hooks })
    }
}

impl program::Plan for Plan {
    fn effective(&self) -> Result<Value, Problems> {
        let mut tree =
            serde_json::to_value(&self.config).map_err(|error| Problems(vec![error.to_string()]))?;
        // The lists hold the file's own text, passwords included: show what was read from it instead.
        tree["hooks"] = Value::Array(self.hooks.shown.clone());
        Ok(tree)
    }

    fn warnings(&self) -> Vec<String> {
        let config = &self.config;
        let mut warnings = Vec::new();
        if config.http.believes_nobody() {
            warnings.push(
                "`http.real_ip_header` is set, but there are no `http.trusted_proxies`: nobody's header is \
                 believed, and clients behind a proxy seem to come from the proxy; list the proxies' addresses"
                    .into(),
            );
        }
        let longest = config.announce_interval.as_secs() + self.hooks.longest_delay();
        let wanted = longest + ANNOUNCE_SLACK_SECS;
        if config.storage.config.peer_lifetime.as_secs() < wanted {
            warnings.push(format!(
                "`storage.config.peer_lifetime`: some clients are asked to come back after {longest} s, and are \
                 forgotten about then; make it {wanted} s or more"
            ));
        }
        warnings
    }
}

impl RulePlan {
    fn new(config: &Config, hooks: &HookPlan, forwarders: Vec<Forwarder>, scope: Scope) -> Self {
        let broker = Broker { url: config.redis_broker.clone(), key_prefix: config.key_prefix.clone() };
        let seconds = |period: Period| u32::try_from(period.as_secs()).unwrap_or(u32::MAX);
        let session_lifetime = config.storage.config.peer_lifetime.0;
        Self {
            intervals: Intervals {
                interval: seconds(config.announce_interval),
                min_interval: seconds(config.min_announce_interval),
            },
            rules: hooks.rules.clone(),
            recorder: hooks.recorder.as_ref().map(|options| options.setup(&broker)),
            forwarding: (!forwarders.is_empty()).then_some(ForwardPlan {
                forwarders,
                scope,
                session_lifetime,
            }),
            broker,
        }
    }
}

impl Config {
    /// Which torrents are forwarded. On a tracker that knows its users nothing leaves the house that the
    /// operator did not list.
    fn forward_scope(&self, knows_users: bool) -> Result<Scope, Problems> {
        let listed: HashSet<_> = self.forward_torrents.iter().copied().collect();
        if !listed.is_empty() {
            Ok(Scope::Listed(listed))
        } else if knows_users && self.forwarders.is_some() {
            Err(Problems(vec![
                "`forward_torrents`: a tracker that knows its users forwards only torrents that are listed here, \
                 and none is"
                    .into(),
            ]))
        } else {
            Ok(Scope::Everything)
        }
    }

    /// What spans several sections or needs more than a type.
    fn problems(&self) -> Problems {
        let mut problems = self.storage.problems();
        problems.0.extend(self.log.problems("log").0);
        problems.0.extend(self.shared_addresses().0);
        problems.require(
            self.min_announce_interval <= self.announce_interval,
            "`min_announce_interval`: must not be longer than `announce_interval`",
        );
        problems.require(
            !matches!(self.metrics_addr, ListenAddr::Unix(_)),
            "`metrics_addr`: must be an address with a port, or empty for none",
        );
        problems.require(self.announce_interval.as_secs() > 0, "`announce_interval`: must be at least 1s");
        problems.require(
            self.storage.config.peer_lifetime > self.announce_interval,
            "`storage.config.peer_lifetime`: must be longer than `announce_interval`, or peers vanish between \
             announces",
        );
        problems
    }

    /// An empty URL says "no Redis", which a tracker in memory can do without.
    fn broker_problem(&self, needed_by_hooks: bool) -> Option<String> {
        let own = self.storage.config.redis_broker.is_some();
        let needed_by_swarms = self.storage.name == StorageName::Redis && !own;
        let given = !self.redis_broker.reveal().is_empty();
        let counts = given || needed_by_hooks || needed_by_swarms;
        counts.then(|| url_problem("redis_broker", Some(&self.redis_broker))).flatten()
    }

    /// Two listeners of one process on one address: HTTP's share their ports between threads, so that the
    /// system would hand each of them the other's clients.
    fn shared_addresses(&self) -> Problems {
        let listeners = [
            ("http.addr", &self.http.addr),
            ("http.https_addr", &self.http.https_addr),
            ("metrics_addr", &self.metrics_addr),
        ];
        let mut problems = Problems::default();
        for (number, (key, address)) in listeners.iter().enumerate() {
            for (other_key, other) in &listeners[..number] {
                if address.overlaps(other) {
                    problems.push(format!("`{key}`: {address} is taken by `{other_key}`"));
                }
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::limits::EventFields;

    fn problems(text: &str) -> String {
        Plan::load(Some(text), []).map_or_else(|problems| problems.to_string(), |_| String::new())
    }

    fn recording(options: &str) -> String {
        format!(
            "hooks:\n  prehooks:\n  - name: passkey approval\n  - {{name: traffic push, options: {options}}}\n"
        )
    }

    #[test]
    fn a_log_level_that_is_no_filter_is_a_problem() {
        assert!(problems("log: {level: nonsense=x=y}").contains("`log.level`: `nonsense=x=y` is no filter"));
        assert_eq!(problems("log: {level: 'tracker::traffic=debug,info'}"), "");
    }

    #[test]
    fn every_redis_that_is_named_must_be_one() {
        for key in ["redis_broker: mysql://db/x", "storage: {config: {redis_broker: 'mysql://db/x'}}"] {
            assert!(problems(key).contains("redis_broker`: expected a URL"), "{key}: {}", problems(key));
        }
        let of_hook = |hook: &str, options: &str| {
            problems(&format!("hooks:\n  prehooks:\n  - {{name: {hook}, options: {options}}}\n"))
        };
        let wrong = "{redis_broker: 'mysql://db/x'}";
        for hook in ["passkey approval", "torrent approval"] {
            let told = of_hook(hook, wrong);
            assert!(told.contains("`hooks.prehooks[0].options.redis_broker`: expected a URL"), "{told}");
        }
        let told = problems(&recording(wrong));
        assert!(told.contains("`hooks.prehooks[1].options.redis_broker`: expected a URL"), "{told}");
        assert_eq!(problems("redis_broker: ''"), "", "a tracker in memory needs none");
        assert!(problems("redis_broker: ''\nstorage: {name: redis}").contains("`redis_broker`"));
        let users = "redis_broker: ''\nhooks: {prehooks: [{name: passkey approval}]}";
        assert!(problems(users).contains("`redis_broker`"));
        assert_eq!(problems("redis_broker: ''\nhooks: {prehooks: [{name: client approval}]}"), "");
    }

    #[test]
    fn a_spool_folder_that_cannot_be_made_is_a_problem_and_none_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let spool = |directory: &std::path::Path| {
            problems(&recording(&format!("{{spool: {{directory: {}}}}}", directory.display())))
        };
        assert!(spool(&file.join("spool")).contains("spool.directory`: cannot be used"));
        assert_eq!(spool(&folder.path().join("not/yet")), "");
        assert!(!folder.path().join("not").exists());
    }

    #[test]
    fn event_fields_are_read_by_both_frontends_and_an_unknown_one_is_a_problem() {
        let wrong = problems(&recording("{event_fields: [agent, ratio]}"));
        assert!(wrong.contains("event_fields") && wrong.contains("ratio"), "{wrong}");
        let plan = Plan::load(Some(&recording("{event_fields: [agent, key]}")), []).unwrap();
        let wanted = EventFields { agent: true, key: true, corrupt: false };
        assert_eq!(plan.http.policy.limits.event_fields, wanted);
        assert_eq!(plan.udp.policy.limits.event_fields, wanted);
    }

    #[test]
    fn skews_and_tails_have_bounds() {
        assert!(problems(&recording("{path_skew: 100ms}")).contains("path_skew`: must be between"));
        assert!(problems(&recording("{tail: {seconds: 4000}}")).contains("tail.seconds`: must be at most"));
        assert_eq!(problems(&recording("{path_skew: 5m, tail: {seconds: 0, max_bytes: 0}}")), "");
    }

    #[test]
    fn two_listeners_on_one_address_are_a_problem() {
        let told = problems("metrics_addr: 127.0.0.1:6969");
        assert!(told.contains("`metrics_addr`: 127.0.0.1:6969 is taken by `http.addr`"), "{told}");
        assert!(
            problems("http: {addr: ':80', https_addr: '0.0.0.0:80'}").contains("is taken by `http.addr`")
        );
        assert_eq!(problems("udp: {addr: ':6969'}"), "", "UDP has ports of its own");
    }

    #[test]
    fn a_socket_that_cannot_be_bound_is_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let at = |path: &std::path::Path| {
            problems(&format!("http: {{addr: 'unix:{}', real_ip_header: x-real-ip}}", path.display()))
        };
        assert!(at(&file).contains("is there already, and no socket"));
        assert!(at(&folder.path().join("not/yet.sock")).contains("its folder is not there"));
        assert!(at(&folder.path().join("long".repeat(40))).contains("too long"));
        assert_eq!(at(&folder.path().join("t.sock")), "");
    }

    #[test]
    fn more_shards_than_memory_are_a_problem() {
        assert!(
            problems("storage: {config: {shard_count: 1000000000000}}").contains("shard_count`: must be")
        );
    }

    #[test]
    fn problems_of_all_sections_are_told_together() {
        let text = "log: {level: a=b=c}\nhttp: {default_numwant: 200}\nudp: {default_numwant: 200}\n\
                    forwarders: /nowhere/f.yml\nhooks: {prehooks: [{name: jwt}]}\nredis_broker: mysql://x/\n";
        let told = problems(text);
        for key in
            ["log.level", "http.default_numwant", "udp.default_numwant", "/nowhere", "issuer", "redis_broker"]
        {
            assert!(told.contains(key), "{key} in {told}");
        }
    }
}
