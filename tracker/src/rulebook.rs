//! The operator's rules in force: hooks, recorder, intervals. A reload makes a new book from the new file; announces under way
//! finish by the one they began with.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use crate::announce::{Admitted, Report};
use crate::config::{Config, HookConfig};
use crate::hooks::client_approval::ClientApproval;
use crate::hooks::interval_variation::IntervalVariation;
use crate::hooks::jwt::Jwt;
use crate::hooks::passkey_approval::PasskeyApproval;
use crate::hooks::{Hook, Site};
use crate::metrics::Metrics;
use crate::traffic::{self, Recorder};

/// What a reload of the configuration replaces.
#[derive(Debug)]
pub struct Rulebook {
    /// The hooks, in the operator's order.
    pub hooks: Vec<Box<dyn Hook>>,
    /// Where accepted announces are booked; `None` when traffic push is off.
    pub recorder: Option<Recorder>,
    /// What clients are told unless a hook changes it.
    pub intervals: Intervals,
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
    /// Makes the book. A recorder whose setup did not change is taken over from the `last` book, with what waits in it;
    /// otherwise a new one is started, whose task is returned.
    ///
    /// # Errors
    /// What the operator must change.
    pub fn build(
        config: &Config,
        metrics: &Metrics,
        last: Option<&Self>,
    ) -> Result<(Self, Option<Recording>)> {
        let site = Site { redis_broker: config.redis_broker.clone(), key_prefix: config.key_prefix.clone() };
        let mut book = Self { hooks: Vec::new(), recorder: None, intervals: Intervals::of(config) };
        let mut recording = None;
        for hook in config.hook_list()? {
            match hook {
                HookConfig::TrafficPush(options) => {
                    let setup = options.setup(&site);
                    let kept =
                        last.and_then(|last| last.recorder.clone()).filter(|kept| *kept.setup() == setup);
                    book.recorder = kept;
                    if book.recorder.is_none() {
                        let (recorder, task) = traffic::spawn(setup, metrics.recorder.clone())
                            .context("traffic push: redis_broker")?;
                        (book.recorder, recording) = (Some(recorder), Some(task));
                    }
                }
                rule => book.hooks.push(start(rule, &site)?),
            }
        }
        Ok((book, recording))
    }

    /// What stands between a new user and a recorded announce now; empty when nothing does.
    #[must_use]
    pub fn waits_for(&self) -> Vec<String> {
        let recorder = self.recorder.as_ref().filter(|recorder| !recorder.is_up());
        let recorder = recorder.map(|_| "traffic push: Redis does not answer".to_owned());
        self.hooks.iter().filter_map(|hook| hook.waits_for()).chain(recorder).collect()
    }

    /// What must be booked before the client is answered; `None` when nothing is: traffic push is off, or there is no
    /// account to book it on.
    #[must_use]
    pub fn report(&self, admitted: Admitted) -> Option<(&Recorder, Report)> {
        let recorder = self.recorder.as_ref()?;
        let account = admitted.admission.account.clone()?;
        Some((recorder, Report { admitted, account, observed_ms: unix_milliseconds() }))
    }
}

/// Starts the hook that the operator configured.
fn start(rule: HookConfig, site: &Site) -> Result<Box<dyn Hook>> {
    Ok(match rule {
        HookConfig::ClientApproval(options) => Box::new(ClientApproval::new(&options)),
        HookConfig::IntervalVariation(options) => Box::new(IntervalVariation::new(options)),
        HookConfig::PasskeyApproval(options) => {
            Box::new(PasskeyApproval::start(&options, site).context("passkey approval")?)
        }
        HookConfig::Jwt(options) => Box::new(Jwt::start(&options).context("jwt")?),
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
