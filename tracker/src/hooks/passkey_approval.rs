//! `passkey approval`: who may announce, by the site's whitelist in Redis.

use contract::config::{Period, ServiceUrl};
use contract::{Keys, Passkey};
use redis::RedisResult;
use serde::{Deserialize, Serialize};

use super::{Check, Hook, LookUp, Site, Verdict, redis_timeouts};
use crate::announce::{Account, Admission, Announce, Credential, Refusal, Scrape};
use crate::membership::{self, Known, Membership};

/// Options of `passkey approval`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
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

impl Default for Options {
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

impl Check for Options {}

/// The hook.
#[derive(Debug)]
pub struct PasskeyApproval {
    passkeys: Membership<Passkey>,
    protect_scrape: bool,
}

impl PasskeyApproval {
    /// Starts the hook.
    ///
    /// # Errors
    /// When the Redis URL cannot be read. Redis need not be there yet.
    pub fn start(options: &Options, site: &Site) -> RedisResult<Self> {
        let passkeys = membership::spawn(membership::Options {
            redis: site.redis(options.redis_broker.as_ref()),
            set_key: format!("{}{}", site.key_prefix, options.set_key),
            alias_key: Keys::new(&site.key_prefix).passkey_alias(),
            timeouts: redis_timeouts(
                options.redis_connect_timeout,
                options.redis_read_timeout,
                options.redis_write_timeout,
            ),
            subject: "passkeys",
        })?;
        Ok(Self { passkeys, protect_scrape: options.protect_scrape })
    }

    fn approve(&self, credential: Option<&Credential>) -> Result<Account, Verdict> {
        let passkey = passkey_of(credential).map_err(Verdict::Refuse)?;
        match self.passkeys.look(&passkey) {
            Known::Listed(canonical) => {
                let tag = self.passkeys.tag(&canonical);
                Ok(Account { passkey: canonical, tag, fd: None, pd: None })
            }
            Known::Unlisted(_) => Err(Verdict::Refuse(Refusal::because("unapproved passkey"))),
            Known::Unknown => Err(Verdict::Wait(self.ask(passkey))),
        }
    }

    fn ask(&self, passkey: Passkey) -> LookUp {
        let answer = self.passkeys.ask(passkey);
        Box::pin(async move {
            answer.await.map_err(|_| {
                Refusal::for_now("passkeys cannot be checked right now; your client will try again")
            })
        })
    }
}

impl Hook for PasskeyApproval {
    fn announce(&self, announce: &Announce, admission: &mut Admission) -> Verdict {
        match self.approve(announce.credential.as_ref()) {
            Ok(account) => {
                admission.account = Some(account);
                Verdict::Pass
            }
            Err(verdict) => verdict,
        }
    }

    fn scrape(&self, scrape: &Scrape) -> Verdict {
        if !self.protect_scrape {
            return Verdict::Pass;
        }
        self.approve(scrape.credential.as_ref()).map_or_else(|verdict| verdict, |_| Verdict::Pass)
    }

    fn waits_for(&self) -> Option<String> {
        self.passkeys.is_away().then(|| "passkey approval: Redis does not answer".into())
    }
}

fn passkey_of(credential: Option<&Credential>) -> Result<Passkey, Refusal> {
    let text = credential.ok_or_else(|| Refusal::because("missing passkey"))?;
    Passkey::from_bytes(text.reveal()).map_err(|_| Refusal::because("invalid passkey"))
}
