//! The issuer's signing keys: fetched at the start, on schedule, and at once when a token names a key that
//! nobody knows yet, though at most every 10 seconds, because anybody can make up a `kid`. A set that cannot
//! be fetched leaves the last one in force.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use hyper::Uri;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, PublicKeyUse};
use parking_lot::Mutex;
use serde::Deserialize;
use thiserror::Error;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tracing::{info, warn};

use crate::fetch::{FetchError, Fetcher};
use crate::hooks::metrics::KeySetMetrics;

/// How often tokens that name unknown keys may make us fetch: anybody can make up such a token.
const REFRESH_PAUSE: Duration = Duration::from_secs(10);
/// Announces that wait for one fetch.
const MAX_WAITING: usize = 4096;
/// Keys in one set.
const MAX_KEYS: usize = 256;

/// Where the keys come from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) fetcher: Fetcher,
    pub(super) uri: Uri,
    /// Between fetches.
    pub(super) interval: Duration,
    pub(super) metrics: KeySetMetrics,
}

/// Resolves when a fetch is over, with or without success; an error when the hook went away.
pub(super) type Refreshed = oneshot::Receiver<()>;

/// Signing keys by their `kid`.
pub(super) type Keys = HashMap<String, Arc<DecodingKey>>;

/// The keys in force. The task that fetches them ends with this.
#[derive(Debug)]
pub(super) struct KeySet {
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    keys: ArcSwap<Keys>,
    round: Mutex<Round>,
    wanted: Notify,
}

/// Fetches, one after the other.
#[derive(Debug)]
struct Round {
    /// One is under way or about to begin.
    is_open: bool,
    last_ended: Option<Instant>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl KeySet {
    /// Starts fetching.
    pub(super) fn spawn(source: Source) -> Self {
        let shared = Arc::new(Shared {
            keys: ArcSwap::default(),
            // The first fetch begins at once, and early announces wait for it.
            round: Mutex::new(Round { is_open: true, last_ended: None, waiting: Vec::new() }),
            wanted: Notify::new(),
        });
        let task = tokio::spawn(keep_fresh(shared.clone(), source)).abort_handle();
        Self { shared, task }
    }

    /// The key of that name.
    pub(super) fn find(&self, kid: &str) -> Option<Arc<DecodingKey>> {
        self.shared.keys.load().get(kid).cloned()
    }

    /// Whether there is no key at all: nothing was fetched yet.
    pub(super) fn is_empty(&self) -> bool {
        self.shared.keys.load().is_empty()
    }

    /// Waits for the fetch under way, or has one made; `None` when the last one is too recent to hope for
    /// news.
    pub(super) fn refresh(&self, now: Instant) -> Option<Refreshed> {
        let mut round = self.shared.round.lock();
        let is_due =
            round.last_ended.is_none_or(|ended| now.saturating_duration_since(ended) >= REFRESH_PAUSE);
        if !(round.is_open || is_due) || round.waiting.len() >= MAX_WAITING {
            return None;
        }
        if !round.is_open {
            round.is_open = true;
            self.shared.wanted.notify_one();
        }
        let (sender, refreshed) = oneshot::channel();
        round.waiting.push(sender);
        Some(refreshed)
    }
}

impl Drop for KeySet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_fresh(shared: Arc<Shared>, source: Source) {
    let mut complained = false;
    loop {
        match fetch(&source).await {
            Ok(keys) => {
                if complained {
                    info!(keys = keys.len(), "jwt: the signing keys could be fetched again");
                }
                complained = false;
                source.metrics.fetched.inc();
                source.metrics.keys.set(i64::try_from(keys.len()).unwrap_or(i64::MAX));
                shared.keys.store(Arc::new(keys));
            }
            Err(error) => {
                if !complained {
                    warn!(%error, "jwt: the signing keys could not be fetched; the last ones stay in force");
                }
                complained = true;
                source.metrics.failed.inc();
            }
        }
        let waiting = shared.end_round();
        for waiter in waiting {
            // Whoever hung up meanwhile needs no answer.
            waiter.send(()).ok();
        }
        let pause = if complained { source.interval.min(REFRESH_PAUSE) } else { source.interval };
        // Either way the next fetch begins: on schedule, or because a token names a key that is not known.
        tokio::time::timeout(pause, shared.wanted.notified()).await.ok();
        shared.round.lock().is_open = true;
    }
}

impl Shared {
    fn end_round(&self) -> Vec<oneshot::Sender<()>> {
        let mut round = self.round.lock();
        round.is_open = false;
        round.last_ended = Some(Instant::now());
        std::mem::take(&mut round.waiting)
    }
}

/// Why there are no new keys.
#[derive(Debug, Error)]
pub(super) enum Unusable {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the issuer answered {0}")]
    Status(hyper::StatusCode),
    #[error("the answer is no JWK set")]
    NotASet,
    #[error("the JWK set has no RSA key with a `kid` for RS256 signatures")]
    NoKey,
}

async fn fetch(source: &Source) -> Result<Keys, Unusable> {
    let answer = source.fetcher.get(source.uri.clone(), &[]).await?;
    if !answer.status.is_success() {
        return Err(Unusable::Status(answer.status));
    }
    read(&answer.body)
}

/// A set whose members are read one by one: a key of a kind that we do not know must not hide the others.
#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// Reads a document with keys.
pub(super) fn read(body: &[u8]) -> Result<Keys, Unusable> {
    let document: Document = serde_json::from_slice(body).map_err(|_| Unusable::NotASet)?;
    let members = document.keys.into_iter().take(MAX_KEYS);
    let keys: Keys = members.filter_map(|member| usable(&serde_json::from_value(member).ok()?)).collect();
    if keys.is_empty() { Err(Unusable::NoKey) } else { Ok(keys) }
}

fn usable(jwk: &Jwk) -> Option<(String, Arc<DecodingKey>)> {
    let common = &jwk.common;
    let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let rs256 = matches!(common.key_algorithm, None | Some(KeyAlgorithm::RS256));
    let AlgorithmParameters::RSA(rsa) = &jwk.algorithm else { return None };
    let key = DecodingKey::from_rsa_components(&rsa.n, &rsa.e).ok()?;
    let kid = common.key_id.clone().filter(|kid| signs && rs256 && !kid.is_empty())?;
    Some((kid, Arc::new(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::metrics::HookMetrics;

    const RSA: &str = r#""kty":"RSA","n":"AQAB","e":"AQAB""#;

    fn kids(members: &str) -> Vec<String> {
        let keys = read(format!(r#"{{"keys":[{members}]}}"#).as_bytes()).unwrap_or_default();
        let mut kids: Vec<String> = keys.into_keys().collect();
        kids.sort();
        kids
    }

    #[test]
    fn only_named_rsa_keys_for_signatures_count() {
        let members = [
            format!(r#"{{"kid":"a",{RSA}}}"#),
            format!(r#"{{"kid":"b",{RSA},"use":"sig","alg":"RS256"}}"#),
            format!(r#"{{"kid":"enc",{RSA},"use":"enc"}}"#),
            format!(r#"{{"kid":"512",{RSA},"alg":"RS512"}}"#),
            format!("{{{RSA}}}"),
            r#"{"kid":"mac","kty":"oct","k":"AQAB","alg":"HS256"}"#.to_owned(),
            r#"{"kid":"new","kty":"lattice"}"#.to_owned(),
            r#""nonsense""#.to_owned(),
        ];
        assert_eq!(kids(&members.join(",")), ["a", "b"]);
    }

    #[test]
    fn a_document_without_a_usable_key_is_not_taken() {
        assert!(matches!(read(b"<html>"), Err(Unusable::NotASet)));
        assert!(matches!(read(b"{}"), Err(Unusable::NotASet)));
        assert!(matches!(read(br#"{"keys":[]}"#), Err(Unusable::NoKey)));
    }

    /// A server of one key, which counts how often it was asked.
    async fn issuer() -> (Uri, Arc<Mutex<u32>>) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let asked = Arc::new(Mutex::new(0));
        let counter = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counter.lock() += 1;
                let kid = *counter.lock();
                let body = format!(r#"{{"keys":[{{"kid":"{kid}",{RSA}}}]}}"#);
                let answer = |_| {
                    std::future::ready(Ok::<_, std::convert::Infallible>(hyper::Response::new(body.clone())))
                };
                let service = hyper::service::service_fn(answer);
                let mut server = hyper::server::conn::http1::Builder::new();
                server
                    .keep_alive(false)
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                    .await
                    .ok();
            }
        });
        (uri, asked)
    }

    #[tokio::test]
    async fn an_unknown_key_is_fetched_at_once_but_not_again_before_the_pause_is_over() {
        let (uri, asked) = issuer().await;
        let hour = Duration::from_secs(3600);
        let fetcher = Fetcher::trusting(rustls::RootCertStore::empty(), Duration::from_secs(10)).unwrap();
        let metrics = HookMetrics::new(&prometheus::Registry::new()).unwrap().key_set;
        let source = Source { fetcher, uri, interval: hour, metrics: metrics.clone() };
        let keys = KeySet::spawn(source);
        keys.refresh(Instant::now()).expect("the first fetch is under way").await.unwrap();
        assert!(keys.find("1").is_some() && keys.find("2").is_none());
        assert!(keys.refresh(Instant::now()).is_none());
        let later = Instant::now() + REFRESH_PAUSE;
        let (one, other) = (keys.refresh(later).unwrap(), keys.refresh(later).unwrap());
        one.await.unwrap();
        other.await.unwrap();
        assert!(keys.find("2").is_some() && keys.find("1").is_none());
        assert_eq!(*asked.lock(), 2, "both waited for one fetch");
        assert_eq!((metrics.fetched.get(), metrics.failed.get(), metrics.keys.get()), (2, 0, 1));
    }
}
