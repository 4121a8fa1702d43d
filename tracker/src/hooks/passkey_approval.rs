//! `passkey approval`: who may announce, by a plain passkey or a sealed credential, the site's whitelist in
//! Redis, and the site's own page for those the whitelist does not hold.
//!
//! With `encryption_key` a plain passkey is invalid, unless `accept_plain` says otherwise while a site moves:
//! else whoever saw a passkey would not need to seal it. Clients are not told why a credential does not open;
//! `trackerctl passkey open` tells the operator.

mod options;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use contract::{EncryptionKey, Keys, Passkey};
use service::redis::Broker;

use super::{Hook, LookUp, Verdict};
use crate::announce::{Account, Admission, Announce, Credential, Refusal, RefusalKind, Scrape, UserTag};
use crate::hooks::callback::{Callback, Extras, Opinion, Whitelist};
use crate::hooks::membership::{self, Known, Membership};
use crate::hooks::metrics::SiteMetrics;
pub use options::Options;

/// The hook.
#[derive(Debug)]
pub struct PasskeyApproval {
    reader: Reader,
    passkeys: Membership<Passkey>,
    callback: Option<Callback>,
    protect_scrape: bool,
}

impl PasskeyApproval {
    /// Starts the hook. Neither Redis nor the site need be there yet.
    ///
    /// # Errors
    /// What the operator must change.
    pub fn start(options: &Options, broker: &Broker, metrics: &SiteMetrics) -> Result<Self> {
        let redis = broker.url_or(options.redis_broker.as_ref());
        let set_key = format!("{}{}", broker.key_prefix, options.set_key);
        let timeouts = options.timeouts();
        let passkeys = membership::spawn(membership::Options {
            redis: redis.clone(),
            set_key: set_key.clone(),
            alias_key: Keys::new(&broker.key_prefix).passkey_alias(),
            timeouts,
            subject: "passkeys",
        })
        .context("redis_broker")?;
        let whitelist = options.compat_set_expiry.then(|| Whitelist {
            redis,
            timeouts,
            set_key,
            expire_secs: options.cache_ttl_seconds.into(),
        });
        let callback = options.callback(whitelist, metrics)?;
        Ok(Self { reader: options.reader()?, passkeys, callback, protect_scrape: options.protect_scrape })
    }

    fn approve(&self, credential: Option<&Credential>) -> Result<Account, Verdict> {
        let shown = self.reader.read(credential).map_err(Verdict::Refuse)?;
        let (known, tag) = self.passkeys.look_with_note(&shown.passkey);
        match known {
            Known::Listed(canonical) => Ok(account(canonical, tag, shown.extras)),
            Known::Unlisted(canonical) => self.ask_site(shown, canonical, tag),
            Known::Unknown => Err(Verdict::Wait(self.ask_redis(shown.passkey))),
        }
    }

    fn ask_redis(&self, passkey: Passkey) -> LookUp {
        let answer = self.passkeys.ask(passkey);
        Box::pin(async move { answer.await.map_err(|_| not_now()) })
    }

    fn ask_site(&self, shown: Shown, canonical: Passkey, tag: Option<UserTag>) -> Result<Account, Verdict> {
        let unapproved = || Verdict::Refuse(Refusal::because("unapproved passkey"));
        let callback = self.callback.as_ref().ok_or_else(unapproved)?;
        match callback.look(&shown.passkey) {
            Some(Opinion::Approved(extras)) => Ok(account(canonical, tag, shown.extras.or(extras))),
            Some(Opinion::Refused) => Err(unapproved()),
            None => {
                let answer = callback.ask(shown.passkey);
                Err(Verdict::Wait(Box::pin(async move { answer.await.map_err(|_| not_now()) })))
            }
        }
    }
}

fn account(canonical: Passkey, tag: Option<UserTag>, Extras { fd, pd }: Extras) -> Account {
    Account { passkey: canonical, tag: tag.unwrap_or_else(|| UserTag::of(&canonical)), fd, pd }
}

fn not_now() -> Refusal {
    Refusal::for_now("passkeys cannot be checked right now; your client will try again")
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
        self.passkeys.knows_nothing().then(|| "passkey approval: Redis does not answer".into())
    }
}

/// How a credential is read.
#[derive(Debug)]
enum Reader {
    Plain,
    Sealed { key: EncryptionKey, max_age: Option<Duration> },
    Either { key: EncryptionKey, max_age: Option<Duration> },
}

/// What a credential says.
struct Shown {
    passkey: Passkey,
    extras: Extras,
}

impl Reader {
    fn read(&self, credential: Option<&Credential>) -> Result<Shown, Refusal> {
        let missing = || Refusal::because("missing passkey").of_kind(RefusalKind::MissingCredential);
        let text = credential.ok_or_else(missing)?.reveal();
        let shown = match self {
            Self::Plain => plain(text),
            Self::Sealed { key, max_age } => opened(key, *max_age, text),
            Self::Either { key, max_age } => opened(key, *max_age, text).or_else(|| plain(text)),
        };
        shown.ok_or_else(|| Refusal::because("invalid passkey").of_kind(RefusalKind::InvalidCredential))
    }
}

fn plain(text: &[u8]) -> Option<Shown> {
    let passkey = Passkey::from_bytes(text).ok()?;
    Some(Shown { passkey, extras: Extras::default() })
}

/// Why a credential does not open is not told: it would help only those who try to make one.
fn opened(key: &EncryptionKey, max_age: Option<Duration>, text: &[u8]) -> Option<Shown> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let contents = key.open(text, now, max_age).ok()?;
    Some(Shown { passkey: contents.passkey, extras: Extras { fd: contents.fd, pd: contents.pd } })
}
