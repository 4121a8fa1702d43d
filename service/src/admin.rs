//! The admin listener: `/metrics`, `/healthz`, `/readyz`, `/stats`, `/debug/pprof/profile` and
//! `/debug/pprof/heap`. Never on the address that clients use.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::profile::{self, ProfileError};

/// Whether the service can do its work now: `Err` says what it waits for.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What an operator should know although the service works.
pub type Remarks = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// The document that `/stats` shows.
pub type Stats = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

type Page = Response<Full<Bytes>>;

/// The pages of the admin listener.
#[derive(Clone)]
pub struct Pages {
    registry: Registry,
    readiness: Readiness,
    remarks: Option<Remarks>,
    stats: Option<Stats>,
}

impl Pages {
    /// Metrics, health, readiness, profiles.
    #[must_use]
    pub fn new(registry: Registry, readiness: Readiness) -> Self {
        Self { registry, readiness, remarks: None, stats: None }
    }

    /// The same with remarks behind the yes of `/readyz`.
    #[must_use]
    pub fn with_remarks(self, remarks: Remarks) -> Self {
        Self { remarks: Some(remarks), ..self }
    }

    /// The same with `/stats`.
    #[must_use]
    pub fn with_stats(self, stats: Stats) -> Self {
        Self { stats: Some(stats), ..self }
    }
}

/// An operator and a few scrapers: more connections than this wait.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, pages: Pages) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "the admin listener cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let pages = pages.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| async { Ok::<_, Infallible>(pages.respond(request).await) });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), answer)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "admin connection ended early");
            }
            drop(permit);
        });
    }
}

/// Binds the admin listener and says where it is.
///
/// # Errors
/// When the address is taken or may not be used.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| anyhow::anyhow!("metrics_addr: cannot listen on {address}: {error}"))?;
    info!(address = %listener.local_addr()?, "metrics, health and readiness");
    Ok(listener)
}

impl Pages {
    fn yes(&self) -> String {
        let remarks = self.remarks.as_ref().map(|remarks| remarks()).unwrap_or_default();
        remarks.iter().fold("ready\n".to_owned(), |text, remark| text + "but: " + remark + "\n")
    }

    async fn respond(&self, request: Request<Incoming>) -> Page {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET here\n");
        }
        match (request.uri().path(), &self.stats) {
            ("/metrics", _) => self.metrics(),
            ("/healthz", _) => text(StatusCode::OK, "ok\n"),
            ("/readyz", _) => match (self.readiness)() {
                Ok(()) => text(StatusCode::OK, self.yes()),
                Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
            },
            ("/stats", Some(stats)) => typed(format!("{:#}\n", stats()), "application/json"),
            ("/debug/pprof/profile", _) => match seconds(&request) {
                Some(length) => profiled(profile::cpu(length).await),
                None => bad_seconds(),
            },
            ("/debug/pprof/heap", _) => match seconds(&request) {
                Some(length) => profiled(profile::heap(length).await),
                None => bad_seconds(),
            },
            _ => text(StatusCode::NOT_FOUND, self.contents()),
        }
    }

    fn metrics(&self) -> Page {
        let mut page = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut page) {
            Ok(()) => typed(page, prometheus::TEXT_FORMAT),
            Err(error) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics cannot be written: {error}\n"))
            }
        }
    }

    fn contents(&self) -> String {
        let stats = if self.stats.is_some() { " /stats" } else { "" };
        format!("here: /metrics /healthz /readyz{stats} /debug/pprof/profile?seconds=10 /debug/pprof/heap\n")
    }
}

/// How long a profile shall take; `None` for a length that is none or out of bounds.
fn seconds(request: &Request<Incoming>) -> Option<Duration> {
    let query = request.uri().query().unwrap_or_default();
    let given = query.split('&').find_map(|pair| pair.strip_prefix("seconds="));
    let seconds = given.map_or(Some(profile::DEFAULT_SECONDS), |given| given.parse().ok())?;
    profile::SECONDS.contains(&seconds).then(|| Duration::from_secs(seconds))
}

fn bad_seconds() -> Page {
    text(StatusCode::BAD_REQUEST, "seconds: expected a whole number from 1 to 60\n")
}

fn profiled(outcome: Result<Vec<u8>, ProfileError>) -> Page {
    let error = match outcome {
        Ok(profile) => return typed(profile, "application/octet-stream"),
        Err(error) => error,
    };
    let status = match error {
        ProfileError::Busy => StatusCode::CONFLICT,
        ProfileError::Unavailable(_) => StatusCode::NOT_IMPLEMENTED,
        ProfileError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    text(status, format!("{error}\n"))
}

fn typed(body: impl Into<Bytes>, media_type: &'static str) -> Page {
    let mut response = text(StatusCode::OK, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Page {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
