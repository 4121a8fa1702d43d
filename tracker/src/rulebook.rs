//! The operator's rules in force: hooks, recorder, intervals. A reload makes a new book from the new file;
//! announces under way finish by the one they began with.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use service::redis::Broker;
use tokio::task::JoinHandle;

use crate::announce::{Admitted, Offers, Report};
use crate::config::{Config, HookConfig};
use crate::forward::{Forwarding, Pace};
use crate::hooks::Hook;
use crate::hooks::client_approval::ClientApproval;
use crate::hooks::hybrid_alias::HybridAlias;
use crate::hooks::interval_variation::IntervalVariation;
use crate::hooks::jwt::Jwt;
use crate::hooks::passkey_approval::{self, PasskeyApproval};
use crate::hooks::peer_limits::PeerLimits;
use crate::hooks::response::Response;
use crate::hooks::torrent_approval::TorrentApproval;
use crate::metrics::Metrics;
use crate::traffic::{self, Recorder};

/// What a reload of the configuration replaces.
#[derive(Debug)]
pub struct Rulebook {
    /// The hooks, in the operator's order.
    pub hooks: Vec<Arc<dyn Hook>>,
    /// Where accepted announces are booked; `None` when traffic push is off.
    pub recorder: Option<Recorder>,
    /// Other trackers that are told of our clients; `None` when there are none.
    pub forwarding: Option<Forwarding>,
    /// What clients are told unless a hook changes it.
    pub intervals: Intervals,
    /// What each hook was made from, so that the next book can take it over.
    origins: Vec<Origin>,
    broker: Broker,
}

/// What a hook was made from.
#[derive(Debug, Clone, PartialEq)]
enum Origin {
    Configured(HookConfig),
    /// Hybrids are recognised with the connection of `passkey approval`.
    Aliases(passkey_approval::Options),
}

/// Announce intervals in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// How often to announce.
    pub interval: u32,
    /// How often at most.
    pub min_interval: u32,
}

/// A recorder's task: finished when every way to the recorder is dropped and what was queued is booked.
pub type Recording = JoinHandle<()>;

impl Rulebook {
    /// Makes the book. What did not change is taken over from the `last` one: hooks with what they know,
    /// which matters while Redis or the site is away, and the recorder with what waits in it. A recorder that
    /// is new has a task, which is returned.
    ///
    /// # Errors
    /// What the operator must change.
    pub fn build(
        config: &Config,
        metrics: &Metrics,
        last: Option<&Self>,
    ) -> Result<(Self, Option<Recording>)> {
        let broker = Broker { url: config.redis_broker.clone(), key_prefix: config.key_prefix.clone() };
        let mut book = Self {
            hooks: Vec::new(),
            recorder: None,
            forwarding: forwarding(config, metrics, last)?,
            intervals: Intervals::of(config),
            origins: Vec::new(),
            broker,
        };
        let mut recording = None;
        let list = config.hook_list()?;
        let needs_aliases = needs_aliases(&list);
        for hook in list {
            match hook {
                HookConfig::TrafficPush(options) => {
                    let setup = options.setup(&book.broker);
                    let last = last.and_then(|last| last.recorder.as_ref());
                    book.recorder = last.filter(|last| *last.setup() == setup).cloned();
                    if book.recorder.is_none() {
                        let (recorder, task) =
                            traffic::spawn(setup, metrics.recorder.clone(), last).context("traffic push")?;
                        (book.recorder, recording) = (Some(recorder), Some(task));
                    }
                }
                HookConfig::PasskeyApproval(options) if needs_aliases => {
                    let aliases = Origin::Aliases(options.clone());
                    book.add(Origin::Configured(HookConfig::PasskeyApproval(options)), metrics, last)?;
                    book.add(aliases, metrics, last)?;
                }
                rule => book.add(Origin::Configured(rule), metrics, last)?,
            }
        }
        Ok((book, recording))
    }

    fn add(&mut self, origin: Origin, metrics: &Metrics, last: Option<&Self>) -> Result<()> {
        let kept = last.filter(|last| last.broker == self.broker).and_then(|last| last.made_from(&origin));
        self.hooks.push(match kept {
            Some(hook) => hook,
            None => origin.start(&self.broker, metrics)?,
        });
        self.origins.push(origin);
        Ok(())
    }

    fn made_from(&self, origin: &Origin) -> Option<Arc<dyn Hook>> {
        let place = self.origins.iter().position(|known| known == origin)?;
        self.hooks.get(place).cloned()
    }

    /// What stands between a new user and a recorded announce now; empty when nothing does.
    #[must_use]
    pub fn waits_for(&self) -> Vec<String> {
        let recorder = self.recorder.as_ref().and_then(Recorder::waits_for).map(str::to_owned);
        self.hooks.iter().filter_map(|hook| hook.waits_for()).chain(recorder).collect()
    }

    /// Offers the peers that forwarders named, and has them told of this announce later. Never waits for
    /// them.
    pub fn forward(&self, admitted: &Admitted, offers: &mut Offers) {
        if let Some(forwarding) = &self.forwarding {
            forwarding.consult(admitted, offers);
        }
    }

    /// What must be booked before the client is answered; `None` when nothing is: traffic push is off, or
    /// there is no account to book it on.
    #[must_use]
    pub fn report(&self, admitted: Admitted) -> Option<Report> {
        self.recorder.as_ref()?;
        let account = admitted.admission.account.clone()?;
        Some(Report { admitted, account, observed_ms: unix_milliseconds() })
    }
}

/// Whether hybrids must be recognised by a look-up of their own: traffic is booked, and no rule asks about
/// torrents anyway.
fn needs_aliases(list: &[HookConfig]) -> bool {
    let asks = |hook: &HookConfig| matches!(hook, HookConfig::TorrentApproval(options) if options.redis_set.is_some());
    list.iter().any(|hook| matches!(hook, HookConfig::TrafficPush(_))) && !list.iter().any(asks)
}

/// Aliases of torrents are where those of passkeys are: in the Redis of `passkey approval`.
fn aliases(options: &passkey_approval::Options, broker: &Broker) -> Result<HybridAlias> {
    let redis = broker.url_or(options.redis_broker.as_ref());
    HybridAlias::start(redis, &broker.key_prefix, options.timeouts())
        .context("passkey approval: redis_broker")
}

/// The forwarders of the last book, if they are the same, else new ones.
fn forwarding(config: &Config, metrics: &Metrics, last: Option<&Rulebook>) -> Result<Option<Forwarding>> {
    let forwarders = config.forwarder_list()?;
    if forwarders.is_empty() {
        return Ok(None);
    }
    let scope = config.forward_scope()?;
    let last = last.and_then(|last| last.forwarding.as_ref());
    if let Some(kept) = last.and_then(|last| last.taken_over(&forwarders, scope.clone())) {
        return Ok(Some(kept));
    }
    let session_lifetime = config.storage.config.peer_lifetime.0;
    Forwarding::start(forwarders, scope, session_lifetime, &Pace::default(), &metrics.forward).map(Some)
}

impl Origin {
    fn start(&self, broker: &Broker, metrics: &Metrics) -> Result<Arc<dyn Hook>> {
        match self {
            Self::Configured(rule) => start(rule, broker, metrics),
            Self::Aliases(options) => Ok(Arc::new(aliases(options, broker)?)),
        }
    }
}

fn start(rule: &HookConfig, broker: &Broker, metrics: &Metrics) -> Result<Arc<dyn Hook>> {
    Ok(match rule {
        HookConfig::ClientApproval(options) => Arc::new(ClientApproval::new(options)),
        HookConfig::IntervalVariation(options) => Arc::new(IntervalVariation::new(options.clone())),
        HookConfig::PasskeyApproval(options) => Arc::new(
            PasskeyApproval::start(options, broker, &metrics.hooks.site).context("passkey approval")?,
        ),
        HookConfig::Jwt(options) => Arc::new(Jwt::start(options, &metrics.hooks.key_set).context("jwt")?),
        HookConfig::PeerLimits(options) => {
            Arc::new(PeerLimits::new(options, metrics.hooks.peer_limits.clone()))
        }
        HookConfig::Response(options) => Arc::new(Response::new(options)),
        HookConfig::TorrentApproval(options) => {
            Arc::new(TorrentApproval::start(options, broker).context("torrent approval: redis_broker")?)
        }
        HookConfig::TrafficPush(_) => {
            unreachable!("traffic push is the recorder, which the book itself starts")
        }
    })
}

impl Intervals {
    fn of(config: &Config) -> Self {
        let seconds = |period: contract::config::Period| u32::try_from(period.as_secs()).unwrap_or(u32::MAX);
        Self {
            interval: seconds(config.announce_interval),
            min_interval: seconds(config.min_announce_interval),
        }
    }
}

fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
