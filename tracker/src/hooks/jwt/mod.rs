//! `jwt`: an announce carries a token that the site signed for one torrent (RS256, query parameter `jwt`).
//!
//! Only RS256 is believed whatever a token's header says: a token "signed" with `none`, or with the public
//! key as an HMAC secret, is invalid. The key is looked up by the token's `kid` in the set that the issuer
//! publishes, and never taken from the token: whoever made up a token could bring a key that fits. A scrape
//! needs no token.

mod key_set;

use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use contract::InfoHash;
use contract::config::{Check, Period, Problems, ServiceUrl};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::{Deserialize, Deserializer, Serialize, de};

use self::key_set::{KeySet, Source};
use super::{Hook, LookUp, Verdict};
use crate::announce::{Admission, Announce, Credential, Refusal, RefusalKind};
use crate::fetch::{self, Fetcher};
use crate::hooks::metrics::KeySetMetrics;

/// Nothing that a site signs for one torrent is that long.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Options of `jwt`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// The `iss` that tokens must carry.
    pub issuer: String,
    /// The `aud` that tokens must carry, alone or among others.
    pub audience: String,
    /// Where the signing keys are published (RFC 7517).
    #[serde(deserialize_with = "page")]
    pub jwk_set_url: ServiceUrl,
    /// How often to fetch them.
    pub jwk_set_update_interval: Period,
    /// How long to wait for them.
    pub http_timeout: Period,
    /// How far the issuer's clock may be off where `exp` and `nbf` are checked.
    pub leeway: Period,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: String::new(),
            jwk_set_url: "".into(),
            jwk_set_update_interval: Period::from_secs(5 * 60),
            http_timeout: Period::from_secs(5),
            leeway: Period::from_secs(30),
        }
    }
}

/// Empty is the default, which stands for "not given"; what is given must be usable.
fn page<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ServiceUrl, D::Error> {
    let url = ServiceUrl::deserialize(deserializer)?;
    if !url.reveal().is_empty() {
        fetch::uri(url.reveal()).map_err(de::Error::custom)?;
    }
    Ok(url)
}

/// The hook.
#[derive(Debug)]
pub struct Jwt {
    keys: KeySet,
    validation: Validation,
}

/// What we read of a token beyond the registered claims.
#[derive(Deserialize)]
struct Claims {
    infohash: String,
}

impl Check for Options {
    fn problems(&self, path: &str) -> Problems {
        let mut problems = Problems::default();
        for (key, value, what) in [
            ("issuer", self.issuer.as_str(), "the `iss` of your tokens"),
            ("audience", self.audience.as_str(), "the `aud` of your tokens"),
            ("jwk_set_url", self.jwk_set_url.reveal(), "where the signing keys are published"),
        ] {
            if value.is_empty() {
                problems.push(format!("`{path}.{key}`: must be given: {what}"));
            }
        }
        if self.jwk_set_update_interval.as_secs() == 0 {
            problems.push(format!("`{path}.jwk_set_update_interval`: must be at least 1s"));
        }
        problems
    }
}

impl Jwt {
    /// Starts the hook and the task that fetches its keys. The issuer need not be there yet.
    ///
    /// # Errors
    /// What the operator must change.
    pub fn start(options: &Options, metrics: &KeySetMetrics) -> Result<Self> {
        let source = Source {
            fetcher: Fetcher::new(options.http_timeout.0).context("TLS")?,
            uri: fetch::uri(options.jwk_set_url.reveal())
                .map_err(|problem| anyhow!("jwk_set_url: {problem}"))?,
            interval: options.jwk_set_update_interval.0,
            metrics: metrics.clone(),
        };
        Ok(Self { keys: KeySet::spawn(source), validation: validation(options) })
    }

    fn judge(&self, announce: &Announce) -> Verdict {
        let Some(token) = announce.jwt.as_ref() else {
            return refused("unapproved request: missing jwt", RefusalKind::MissingCredential);
        };
        let Some(kid) = key_id(token) else { return invalid() };
        match self.keys.find(&kid) {
            Some(key) if is_for(token, &key, &self.validation, announce.info_hash) => Verdict::Pass,
            Some(_) => invalid(),
            // A key that we do not know may be a new one.
            None => match self.keys.refresh(Instant::now()) {
                Some(refreshed) => Verdict::Wait(wait_for(refreshed)),
                None if self.keys.is_empty() => Verdict::Refuse(not_now()),
                None => invalid(),
            },
        }
    }
}

impl Hook for Jwt {
    fn announce(&self, announce: &Announce, _admission: &mut Admission) -> Verdict {
        self.judge(announce)
    }

    fn waits_for(&self) -> Option<String> {
        self.keys.is_empty().then(|| "jwt: the signing keys could not be fetched yet".into())
    }
}

/// Whether a token opens a torrent, by the text of the issuer's key set: what the hook decides once it has
/// fetched that.
#[must_use]
pub fn opens(token: &Credential, info_hash: InfoHash, key_set: &[u8], options: &Options) -> bool {
    let key = key_id(token).and_then(|kid| key_set::read(key_set).ok()?.remove(&kid));
    key.is_some_and(|key| is_for(token, &key, &validation(options), info_hash))
}

fn is_for(token: &Credential, key: &DecodingKey, validation: &Validation, info_hash: InfoHash) -> bool {
    let claims = decode::<Claims>(token.reveal(), key, validation);
    claims.is_ok_and(|token| token.claims.infohash == info_hash.hex().as_str())
}

fn validation(options: &Options) -> Validation {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[&options.issuer]);
    validation.set_audience(&[&options.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    validation.leeway = options.leeway.as_secs();
    validation
}

/// The `kid` of a token that could be one of ours.
fn key_id(token: &Credential) -> Option<String> {
    let text = token.reveal();
    let header = (text.len() <= MAX_TOKEN_BYTES).then(|| decode_header(text).ok()).flatten()?;
    header.kid.filter(|_| header.alg == Algorithm::RS256)
}

fn wait_for(refreshed: key_set::Refreshed) -> LookUp {
    Box::pin(async move { refreshed.await.map_err(|_| not_now()) })
}

fn invalid() -> Verdict {
    refused("unapproved request: invalid jwt", RefusalKind::InvalidCredential)
}

fn refused(reason: &'static str, kind: RefusalKind) -> Verdict {
    Verdict::Refuse(Refusal::because(reason).of_kind(kind))
}

fn not_now() -> Refusal {
    Refusal::for_now("tokens cannot be checked right now; your client will try again")
}
