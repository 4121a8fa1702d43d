//! A request becomes a reply: route, client's address, query, pipeline, bencode.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use contract::AddressFamily;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::origin::{Origin, ProxyRules};
use super::query;
use super::reply::{self, ScrapeForm};
use crate::announce::{Credential, Refusal};
use crate::frontend::limits::Limits;
use crate::frontend::route::{Route, Routes};
use crate::metrics::{Action, HttpMetrics, Verdict};
use crate::pipeline::Pipeline;

/// The longest query of an announce: the longest token that the `jwt` hook reads (8 KiB), and half as much for everything else. A
/// scrape of many torrents may fill the whole request.
const MAX_ANNOUNCE_QUERY_BYTES: usize = 12 * 1024;

/// What the frontend needs to answer.
#[derive(Debug)]
pub struct Frontend {
    /// The line that every announce travels.
    pub pipeline: Arc<Pipeline>,
    /// How requests are read. A reload swaps it.
    pub policy: ArcSwap<Policy>,
    /// What plain HTTP counts.
    pub http: HttpMetrics,
    /// What HTTPS counts.
    pub https: HttpMetrics,
}

/// How requests are read and answered: what a reload of the configuration replaces.
#[derive(Debug)]
pub struct Policy {
    /// Paths.
    pub routes: Routes,
    /// Whose address counts.
    pub proxies: ProxyRules,
    /// numwant and its relatives.
    pub limits: Limits,
    /// What a scrape shows.
    pub scrape_form: ScrapeForm,
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Frontend {
    pub(super) fn metrics(&self, scheme: Scheme) -> &HttpMetrics {
        match scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        }
    }

    /// Answers one request. Its body is not read: no request that we answer has one.
    pub async fn respond<B>(
        &self,
        request: &Request<B>,
        origin: Origin,
        scheme: Scheme,
    ) -> Response<Full<Bytes>> {
        let received = Instant::now();
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return not_allowed();
        }
        let policy = self.policy.load_full();
        let Some(route) = policy.routes.find(request.uri().path()) else {
            return response(
                StatusCode::NOT_FOUND,
                b"this is a BitTorrent tracker; there is nothing here\n".to_vec(),
            );
        };
        let client = policy.proxies.client_ip(origin, request.headers());
        let query = request.uri().query().unwrap_or_default();
        let (action, outcome) = match (route, &client) {
            (Route::Announce(credential), Ok(ip)) => {
                (Action::Announce, self.announce(&policy, query, *ip, credential, scheme).await)
            }
            (Route::Scrape(credential), Ok(ip)) => {
                (Action::Scrape, self.scrape(&policy, query, *ip, credential).await)
            }
            (Route::Announce(_), Err(refusal)) => (Action::Announce, Err(refusal.clone())),
            (Route::Scrape(_), Err(refusal)) => (Action::Scrape, Err(refusal.clone())),
        };
        let (verdict, body) = match outcome {
            Ok(body) => (Verdict::Accepted, body),
            Err(refusal) => {
                (Verdict::Refused, reply::refusal(&refusal, self.pipeline.rules.load().intervals.interval))
            }
        };
        let family = client.as_ref().map_or(AddressFamily::V4, |ip| AddressFamily::of(*ip));
        self.metrics(scheme).latency.observe(action, family, verdict, received.elapsed());
        response(StatusCode::OK, body)
    }

    async fn announce(
        &self,
        policy: &Policy,
        query: &str,
        ip: IpAddr,
        credential: Option<Credential>,
        scheme: Scheme,
    ) -> Result<Vec<u8>, Refusal> {
        if query.len() > MAX_ANNOUNCE_QUERY_BYTES {
            return Err(Refusal::because("request too long"));
        }
        let read = query::announce(query, ip, credential, &policy.limits)?;
        if read.unknown_event {
            self.metrics(scheme).unknown_events.inc();
        }
        let reply = self.pipeline.announce(read.announce).await?;
        Ok(reply::announce(&reply, read.form))
    }

    async fn scrape(
        &self,
        policy: &Policy,
        query: &str,
        ip: IpAddr,
        credential: Option<Credential>,
    ) -> Result<Vec<u8>, Refusal> {
        let scrape = query::scrape(query, ip, credential, &policy.limits)?;
        let counts = self.pipeline.scrape(&scrape).await?;
        Ok(reply::scrape(scrape.info_hashes.into_iter().zip(counts).collect(), policy.scrape_form))
    }
}

fn not_allowed() -> Response<Full<Bytes>> {
    let mut response = response(StatusCode::METHOD_NOT_ALLOWED, b"only GET here\n".to_vec());
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    // A body may follow, which nobody will read.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn response(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
