//! A request becomes a reply: route, client's address, query, pipeline, bencode.

use std::future::{Ready, ready};
use std::io::Cursor;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use contract::AddressFamily;
use futures_util::future::Either;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use wire::http::reply::{self, ScrapeForm};

use super::origin::{Origin, ProxyRules};
use super::query::{self, HttpAnnounce};
use super::reply::refusal;
use crate::announce::{Credential, Refusal, Scrape, ScrapeReply};
use crate::arrival::{Arrival, Transport, Way};
use crate::frontend::limits::{self, Limits};
use crate::frontend::metrics::{Action, HttpMetrics, RequestOutcome};
use crate::frontend::route::{Route, Routes};
use crate::pipeline::{Pipeline, Progress};

/// The longest query of an announce: the longest token that the `jwt` hook reads (8 KiB), and half as much
/// for everything else. A scrape of many torrents may fill the whole request.
const MAX_ANNOUNCE_QUERY_BYTES: usize = 12 * 1024;
/// No client sends a third as many.
const MAX_HEADERS: usize = 64;

/// A reply. Its body is one buffer that nobody else holds.
pub(super) type Reply = Response<Full<Cursor<Vec<u8>>>>;

/// A reply that is there, as most are, or will be. Only the latter takes room for everything that an announce
/// may have to wait for.
pub(super) type Answer<'a> = Either<Ready<Reply>, Pin<Box<dyn Future<Output = Reply> + Send + 'a>>>;

/// What the frontend needs to answer.
#[derive(Debug)]
pub struct Frontend {
    /// The line that every announce travels.
    pub pipeline: Arc<Pipeline>,
    /// How requests are read. A reload swaps it.
    pub policy: ArcSwap<Policy>,
    pub(crate) http: HttpMetrics,
    pub(crate) https: HttpMetrics,
}

/// How requests are read and answered: what a reload of the configuration replaces.
#[derive(Debug)]
pub struct Policy {
    pub(crate) routes: Routes,
    pub(crate) proxies: ProxyRules,
    pub(crate) limits: Limits,
    pub(crate) scrape_form: ScrapeForm,
}

/// Whether a request came over TLS, which metrics tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

/// A request on its way to its reply.
struct Unanswered {
    action: Action,
    family: AddressFamily,
    scheme: Scheme,
    received: Instant,
    /// An empty map to put the reply's headers into.
    headers: HeaderMap,
}

impl Frontend {
    pub(super) fn metrics(&self, scheme: Scheme) -> &HttpMetrics {
        match scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        }
    }

    /// Answers one request, at once where nothing has to be waited for. Its body is not read: no request that
    /// we answer has one.
    pub(super) fn respond<B>(
        &self,
        request: Request<B>,
        origin: Origin,
        scheme: Scheme,
        arrived: Instant,
    ) -> Answer<'_> {
        let received = Instant::now();
        let (mut request, _) = request.into_parts();
        // hyper reads the next request's headers into the map that held the last reply's: with this one it
        // never makes another.
        let mut headers = std::mem::take(&mut request.headers);
        let policy = self.policy.load();
        let route = match route(&request, &headers, &policy.routes) {
            Ok(route) => route,
            Err((status, text)) => {
                headers.clear();
                return Either::Left(ready(plain(status, text, headers)));
            }
        };
        let client = policy.proxies.client_ip(origin, &headers);
        let family = client.as_ref().map_or(AddressFamily::V4, |ip| AddressFamily::of(*ip));
        let path = request.uri.path().as_bytes();
        let way = |ip| policy.proxies.named(way(ip, scheme).by(path), origin, &headers);
        let arrival = client.map(|ip| Arrival { at: arrived, ip, way: way(ip) });
        let agent = policy.limits.event_fields.agent.then(|| agent(&headers)).flatten();
        headers.clear();
        let unanswered = |action| Unanswered { action, family, scheme, received, headers };
        let query = request.uri.query().unwrap_or_default();
        match route {
            Route::Announce(credential) => {
                let read = announce(query, arrival, credential, &policy.limits).map(|read| read.by(agent));
                self.announce(unanswered(Action::Announce), read)
            }
            Route::Scrape(credential) => {
                let read =
                    arrival.and_then(|client| query::scrape(query, client.ip, credential, &policy.limits));
                self.scrape(unanswered(Action::Scrape), read, policy.scrape_form)
            }
        }
    }

    fn announce(&self, request: Unanswered, read: Result<HttpAnnounce, Refusal>) -> Answer<'_> {
        let HttpAnnounce { announce, form, unknown_event } = match read {
            Ok(announce) => announce,
            Err(refusal) => return Either::Left(ready(self.reply(request, Err(refusal)))),
        };
        if unknown_event {
            self.metrics(request.scheme).unknown_events.inc();
        }
        let body = move |reply| reply::announce(&reply, form);
        let rules = self.pipeline.rules.load();
        match self.pipeline.start(announce, &rules, request.received, &mut rand::rng()) {
            Progress::Done(outcome) => Either::Left(ready(self.reply(request, outcome.map(body)))),
            Progress::Pending(pending) => {
                let rules = Guard::into_inner(rules);
                Either::Right(Box::pin(async move {
                    let outcome = self.pipeline.finish(pending, &rules).await;
                    self.reply(request, outcome.map(body))
                }))
            }
        }
    }

    fn scrape(&self, request: Unanswered, read: Result<Scrape, Refusal>, form: ScrapeForm) -> Answer<'_> {
        let scrape = match read {
            Ok(scrape) => scrape,
            Err(refusal) => return Either::Left(ready(self.reply(request, Err(refusal)))),
        };
        let body = move |ScrapeReply { info_hashes, counts }| {
            reply::scrape(info_hashes.into_iter().zip(counts).collect(), form)
        };
        let rules = self.pipeline.rules.load();
        match self.pipeline.start_scrape(scrape, &rules) {
            Progress::Done(outcome) => Either::Left(ready(self.reply(request, outcome.map(body)))),
            Progress::Pending(undecided) => {
                let rules = Guard::into_inner(rules);
                Either::Right(Box::pin(async move {
                    let outcome = self.pipeline.finish_scrape(undecided, &rules).await;
                    self.reply(request, outcome.map(body))
                }))
            }
        }
    }

    /// The reply: bencode, whatever is said.
    fn reply(&self, request: Unanswered, outcome: Result<Vec<u8>, Refusal>) -> Reply {
        let verdict = if outcome.is_ok() { RequestOutcome::Accepted } else { RequestOutcome::Refused };
        let body = outcome
            .unwrap_or_else(|refused| refusal(&refused, self.pipeline.rules.load().intervals.interval));
        let Unanswered { action, family, scheme, received, headers } = request;
        self.metrics(scheme).latency.observe(action, family, verdict, received.elapsed());
        response(StatusCode::OK, body, headers)
    }
}

/// What is asked for; the status and words for what is no question to a tracker.
fn route(request: &Parts, headers: &HeaderMap, routes: &Routes) -> Result<Route, (StatusCode, &'static str)> {
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "only GET here\n"));
    }
    if headers.len() > MAX_HEADERS {
        return Err((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers\n"));
    }
    let nothing = (StatusCode::NOT_FOUND, "this is a BitTorrent tracker; there is nothing here\n");
    routes.find(request.uri.path()).ok_or(nothing)
}

fn way(ip: IpAddr, scheme: Scheme) -> Way {
    let transport = match scheme {
        Scheme::Http => Transport::Http,
        Scheme::Https => Transport::Https,
    };
    Way::over(transport, ip)
}

fn agent(headers: &HeaderMap) -> Option<String> {
    limits::text(headers.get(USER_AGENT)?.as_bytes())
}

fn announce(
    query: &str,
    arrival: Result<Arrival, Refusal>,
    credential: Option<Credential>,
    limits: &Limits,
) -> Result<HttpAnnounce, Refusal> {
    if query.len() > MAX_ANNOUNCE_QUERY_BYTES {
        return Err(Refusal::because("request too long"));
    }
    query::announce(query, arrival?, credential, limits)
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
