//! `passkey approval`: who may announce, by a plain passkey or a sealed credential, the site's whitelist in Redis, and the
//! site's own page for those the whitelist does not hold.

use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use contract::config::{Period, Problems, Secret, ServiceUrl};
use contract::{EncryptionKey, Keys, Passkey};
use hyper::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Check, Hook, LookUp, Site, Verdict, redis_timeouts};
use crate::announce::{Account, Admission, Announce, Credential, Refusal, Scrape};
use crate::callback::{self, Callback, Extras, Lifetimes, OnError, Opinion, Whitelist};
use crate::fetch::{self, Fetcher};
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
    /// The key that the site seals credentials with, 32 bytes as 64 hex digits, base64, or 32 characters. With it, credentials are
    /// sealed ones only.
    #[serde(deserialize_with = "key_text")]
    pub encryption_key: Secret,
    /// How old a sealed credential may be; none: as old as it likes.
    pub max_age: Option<Period>,
    /// Whether plain passkeys are accepted beside sealed credentials, while a site moves to those.
    pub accept_plain: bool,
    /// The site's page for a passkey that the whitelist does not hold; none: such a passkey is refused.
    #[serde(deserialize_with = "page")]
    pub http_url: Option<ServiceUrl>,
    /// How long to wait for that page.
    pub http_timeout: Period,
    /// The header that carries the API key.
    #[serde(deserialize_with = "header_name")]
    pub http_api_key_header: String,
    /// What proves to the site that the tracker asks.
    #[serde(deserialize_with = "header_value")]
    pub http_api_key: Secret,
    /// Calls to the site at one time.
    pub http_max_concurrency: NonZeroUsize,
    /// How long the site's yes counts, in seconds; 0: only for the announces that waited for it.
    pub cache_ttl_seconds: u32,
    /// How long its no counts, in seconds.
    pub negative_ttl_seconds: u32,
    /// What counts while the site cannot be asked.
    pub on_error: OnError,
    /// Write each yes to the whitelist, and let the whole set expire `cache_ttl_seconds` after the last one (0: never). Only for sites
    /// that rely on it: it makes the site's own members expire too.
    pub compat_set_expiry: bool,
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
            encryption_key: Secret::default(),
            max_age: None,
            accept_plain: false,
            http_url: None,
            http_timeout: Period::from_secs(5),
            http_api_key_header: "X-API-Key".into(),
            http_api_key: Secret::default(),
            http_max_concurrency: const { NonZeroUsize::new(32).unwrap() },
            cache_ttl_seconds: 0,
            negative_ttl_seconds: 30,
            on_error: OnError::Deny,
            compat_set_expiry: false,
        }
    }
}

impl Check for Options {
    fn problems(&self, path: &str) -> Problems {
        let mut problems = Problems::default();
        let mut needs = |is_set: bool, key: &str, other: &str, is_there: bool| {
            if is_set && !is_there {
                problems.push(format!("`{path}.{key}`: has no effect without `{other}`"));
            }
        };
        let (sealed, asks) = (!self.encryption_key.is_empty(), self.http_url.is_some());
        needs(self.max_age.is_some(), "max_age", "encryption_key", sealed);
        needs(self.accept_plain, "accept_plain", "encryption_key", sealed);
        needs(self.compat_set_expiry, "compat_set_expiry", "http_url", asks);
        problems
    }
}

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
    pub fn start(options: &Options, site: &Site) -> Result<Self> {
        let redis = site.redis(options.redis_broker.as_ref());
        let set_key = format!("{}{}", site.key_prefix, options.set_key);
        let timeouts = redis_timeouts(
            options.redis_connect_timeout,
            options.redis_read_timeout,
            options.redis_write_timeout,
        );
        let passkeys = membership::spawn(membership::Options {
            redis: redis.clone(),
            set_key: set_key.clone(),
            alias_key: Keys::new(&site.key_prefix).passkey_alias(),
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
        let callback = options.http_url.as_ref().map(|url| options.callback(url, whitelist)).transpose()?;
        Ok(Self { reader: options.reader()?, passkeys, callback, protect_scrape: options.protect_scrape })
    }

    fn approve(&self, credential: Option<&Credential>) -> Result<Account, Verdict> {
        let shown = self.reader.read(credential).map_err(Verdict::Refuse)?;
        match self.passkeys.look(&shown.passkey) {
            Known::Listed(canonical) => Ok(self.account(canonical, shown.extras)),
            Known::Unlisted(canonical) => self.ask_site(shown, canonical),
            Known::Unknown => Err(Verdict::Wait(self.ask_redis(shown.passkey))),
        }
    }

    fn ask_redis(&self, passkey: Passkey) -> LookUp {
        let answer = self.passkeys.ask(passkey);
        Box::pin(async move { answer.await.map_err(|_| not_now()) })
    }

    fn ask_site(&self, shown: Shown, canonical: Passkey) -> Result<Account, Verdict> {
        let unapproved = || Verdict::Refuse(Refusal::because("unapproved passkey"));
        let callback = self.callback.as_ref().ok_or_else(unapproved)?;
        match callback.look(&shown.passkey) {
            Some(Opinion::Approved(extras)) => Ok(self.account(canonical, shown.extras.or(extras))),
            Some(Opinion::Refused) => Err(unapproved()),
            None => {
                let answer = callback.ask(shown.passkey);
                Err(Verdict::Wait(Box::pin(async move { answer.await.map_err(|_| not_now()) })))
            }
        }
    }

    fn account(&self, canonical: Passkey, Extras { fd, pd }: Extras) -> Account {
        Account { passkey: canonical, tag: self.passkeys.tag(&canonical), fd, pd }
    }
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
        let text = credential.ok_or_else(|| Refusal::because("missing passkey"))?.reveal();
        let shown = match self {
            Self::Plain => plain(text),
            Self::Sealed { key, max_age } => opened(key, *max_age, text),
            Self::Either { key, max_age } => opened(key, *max_age, text).or_else(|| plain(text)),
        };
        shown.ok_or_else(|| Refusal::because("invalid passkey"))
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

impl Options {
    fn reader(&self) -> Result<Reader> {
        if self.encryption_key.is_empty() {
            return Ok(Reader::Plain);
        }
        let key = EncryptionKey::parse(self.encryption_key.reveal()).context("encryption_key")?;
        let max_age = self.max_age.map(|age| age.0);
        Ok(if self.accept_plain { Reader::Either { key, max_age } } else { Reader::Sealed { key, max_age } })
    }

    fn callback(&self, url: &ServiceUrl, whitelist: Option<Whitelist>) -> Result<Callback> {
        let seconds = |count: u32| Duration::from_secs(count.into());
        // In the compatibility mode the set in Redis is what remembers.
        let remembered = if whitelist.is_some() { 0 } else { self.cache_ttl_seconds };
        let options = callback::Options {
            site: callback::Site {
                fetcher: Fetcher::new(self.http_timeout.0).context("http_url: TLS")?,
                uri: fetch::uri(url.reveal()).map_err(|problem| anyhow!("http_url: {problem}"))?,
                credentials: self.credentials()?,
            },
            max_calls: self.http_max_concurrency,
            lifetimes: Lifetimes {
                approved: seconds(remembered),
                refused: seconds(self.negative_ttl_seconds),
            },
            on_error: self.on_error,
            whitelist,
        };
        callback::spawn(options).context("redis_broker")
    }

    fn credentials(&self) -> Result<Option<callback::Credentials>> {
        if self.http_api_key.is_empty() {
            return Ok(None);
        }
        let name: HeaderName = self.http_api_key_header.parse().context("http_api_key_header")?;
        let mut value = HeaderValue::from_str(self.http_api_key.reveal()).context("http_api_key")?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

fn key_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    let secret = Secret::deserialize(deserializer)?;
    if !secret.is_empty() {
        EncryptionKey::parse(secret.reveal()).map_err(de::Error::custom)?;
    }
    Ok(secret)
}

/// Many files write "no page" as an empty text.
fn page<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ServiceUrl>, D::Error> {
    let url = Option::<ServiceUrl>::deserialize(deserializer)?.filter(|url| !url.reveal().is_empty());
    if let Some(url) = &url {
        fetch::uri(url.reveal()).map_err(de::Error::custom)?;
    }
    Ok(url)
}

fn header_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    match HeaderName::try_from(&name) {
        Ok(_) => Ok(name),
        Err(_) => Err(de::Error::custom("expected the name of an HTTP header")),
    }
}

fn header_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    let secret = Secret::deserialize(deserializer)?;
    match HeaderValue::from_str(secret.reveal()) {
        Ok(_) => Ok(secret),
        Err(_) => Err(de::Error::custom("an HTTP header cannot carry this")),
    }
}
