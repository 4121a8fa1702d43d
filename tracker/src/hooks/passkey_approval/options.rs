//! The options of `passkey approval`: reading them, checking them, and building the hook's parts from them.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use contract::EncryptionKey;
use contract::config::{Check, Period, Problems, Secret, ServiceUrl};
use hyper::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, Serialize, de};
use service::redis::{Timeouts, url_problem};

use super::Reader;
use crate::fetch::{self, Fetcher};
use crate::hooks::callback::{self, Callback, Lifetimes, OnError, Whitelist};
use crate::hooks::metrics::SiteMetrics;

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
    /// The key that the site seals credentials with, 32 bytes as 64 hex digits, base64, or 32 characters.
    /// With it, credentials are sealed ones only.
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
    /// Write each yes to the whitelist, and let the whole set expire `cache_ttl_seconds` after the last one
    /// (0: never). Only for sites that rely on it: it makes the site's own members expire too.
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
        problems.0.extend(url_problem(&format!("{path}.redis_broker"), self.redis_broker.as_ref()));
        problems
    }
}

impl Options {
    /// How long to wait for Redis.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        Timeouts::of_periods(self.redis_connect_timeout, self.redis_read_timeout, self.redis_write_timeout)
    }

    pub(super) fn reader(&self) -> Result<Reader> {
        if self.encryption_key.is_empty() {
            return Ok(Reader::Plain);
        }
        let key = EncryptionKey::parse(self.encryption_key.reveal()).context("encryption_key")?;
        let max_age = self.max_age.map(|age| age.0);
        Ok(if self.accept_plain { Reader::Either { key, max_age } } else { Reader::Sealed { key, max_age } })
    }

    /// The way to the site's page, if it has one.
    pub(super) fn callback(
        &self,
        whitelist: Option<Whitelist>,
        metrics: &SiteMetrics,
    ) -> Result<Option<Callback>> {
        let Some(url) = &self.http_url else { return Ok(None) };
        let seconds = |count: u32| Duration::from_secs(count.into());
        // In the compatibility mode the set in Redis is what remembers.
        let remembered = if whitelist.is_some() { 0 } else { self.cache_ttl_seconds };
        let options = callback::Options {
            page: callback::ApprovalPage {
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
            metrics: metrics.clone(),
            whitelist,
        };
        callback::spawn(options).context("redis_broker").map(Some)
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
