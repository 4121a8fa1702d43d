//! A request becomes a reply: route, client's address, query, pipeline, bencode.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use contract::AddressFamily;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use super::origin::{Origin, ProxyRules};
use super::query::{self, HttpAnnounce};
use super::reply::{self, ScrapeForm};
use crate::announce::{Refusal, Scrape};
use crate::frontend::limits::Limits;
use crate::frontend::route::{Route, Routes};
use crate::metrics::{Action, HttpMetrics, Verdict};
use crate::pipeline::Pipeline;

/// The longest query of an announce: the longest token that the `jwt` hook reads (8 KiB), and half as much for everything else. A
/// scrape of many torrents may fill the whole request.
const MAX_ANNOUNCE_QUERY_BYTES: usize = 12 * 1024;
/// No client sends a third as many.
const MAX_HEADERS: usize = 64;

/// A reply. Its body is one buffer that nobody else holds.
pub(super) type Reply = Response<Full<Cursor<Vec<u8>>>>;

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

/// A request, read.
struct Question {
    action: Action,
    family: AddressFamily,
    asked: Result<Asked, Refusal>,
}

enum Asked {
    Announce(HttpAnnounce),
    Scrape(Scrape, ScrapeForm),
}

impl Frontend {
    pub(super) fn metrics(&self, scheme: Scheme) -> &HttpMetrics {
        match scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        }
    }

    /// Answers one request. Its body is not read: no request that we answer has one.
    pub async fn respond<B>(&self, request: Request<B>, origin: Origin, scheme: Scheme) -> Reply {
        let received = Instant::now();
        let (mut request, _) = request.into_parts();
        // hyper reads the next request's headers into the map that held the last reply's: with this one it never makes another.
        let mut headers = std::mem::take(&mut request.headers);
        let question = self.read(&request, &headers, origin, scheme);
        drop(request);
        headers.clear();
        match question {
            Ok(question) => response(StatusCode::OK, self.answer(question, scheme, received).await, headers),
            Err((status, text)) => plain(status, text, headers),
        }
    }

    /// What is asked; the status and words for what is no question to a tracker.
    fn read(
        &self,
        request: &Parts,
        headers: &HeaderMap,
        origin: Origin,
        scheme: Scheme,
    ) -> Result<Question, (StatusCode, &'static str)> {
        if request.method != Method::GET && request.method != Method::HEAD {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "only GET here\n"));
        }
        if headers.len() > MAX_HEADERS {
            return Err((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers\n"));
        }
        let policy = self.policy.load();
        let nothing = (StatusCode::NOT_FOUND, "this is a BitTorrent tracker; there is nothing here\n");
        let route = policy.routes.find(request.uri.path()).ok_or(nothing)?;
        let client = policy.proxies.client_ip(origin, headers);
        let family = client.as_ref().map_or(AddressFamily::V4, |ip| AddressFamily::of(*ip));
        let query = request.uri.query().unwrap_or_default();
        let (action, asked) = match route {
            Route::Announce(_) if query.len() > MAX_ANNOUNCE_QUERY_BYTES => {
                (Action::Announce, Err(Refusal::because("request too long")))
            }
            Route::Announce(credential) => {
                let read = client.and_then(|ip| query::announce(query, ip, credential, &policy.limits));
                (Action::Announce, read.map(Asked::Announce))
            }
            Route::Scrape(credential) => {
                let read = client.and_then(|ip| query::scrape(query, ip, credential, &policy.limits));
                (Action::Scrape, read.map(|scrape| Asked::Scrape(scrape, policy.scrape_form)))
            }
        };
        if matches!(&asked, Ok(Asked::Announce(announce)) if announce.unknown_event) {
            self.metrics(scheme).unknown_events.inc();
        }
        Ok(Question { action, family, asked })
    }

    /// The reply's body: bencode, whatever is said.
    async fn answer(&self, question: Question, scheme: Scheme, received: Instant) -> Vec<u8> {
        let Question { action, family, asked } = question;
        let outcome = match asked {
            Ok(Asked::Announce(read)) => {
                let answer = self.pipeline.announce(read.announce).await;
                answer.map(|answer| reply::announce(&answer, read.form))
            }
            Ok(Asked::Scrape(scrape, form)) => {
                let counts = self.pipeline.scrape(&scrape).await;
                counts.map(|counts| reply::scrape(scrape.info_hashes.into_iter().zip(counts).collect(), form))
            }
            Err(refusal) => Err(refusal),
        };
        let verdict = if outcome.is_ok() { Verdict::Accepted } else { Verdict::Refused };
        let body = outcome.unwrap_or_else(|refusal| {
            reply::refusal(&refusal, self.pipeline.rules.load().intervals.interval)
        });
        self.metrics(scheme).latency.observe(action, family, verdict, received.elapsed());
        body
    }
}

/// What is no tracker's answer.
fn plain(status: StatusCode, text: &str, headers: HeaderMap) -> Reply {
    let mut response = response(status, text.as_bytes().to_vec(), headers);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if status != StatusCode::NOT_FOUND {
        // More may follow, which nobody will read.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// `headers`: an empty map to put the reply's into.
fn response(status: StatusCode, body: Vec<u8>, mut headers: HeaderMap) -> Reply {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let mut response = Response::new(Full::new(Cursor::new(body)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
