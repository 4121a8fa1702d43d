//! A request becomes a reply: route, client's address, query, pipeline, bencode.

use std::future::{Ready, ready};
use std::io::Cursor;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use contract::AddressFamily;
use futures_util::future::Either;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use super::origin::{Origin, ProxyRules};
use super::query::{self, HttpAnnounce, PeerForm};
use super::reply::{self, ScrapeForm};
use crate::announce::{Refusal, Scrape};
use crate::frontend::limits::Limits;
use crate::frontend::route::{Route, Routes};
use crate::metrics::{Action, HttpMetrics, Verdict};
use crate::pipeline::{Applicant, Pipeline, Step};
use crate::rulebook::Rulebook;

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

/// A request that has come as far as it comes without waiting.
#[allow(clippy::large_enum_variant)] // Handed on at once; nobody keeps many.
enum Begun {
    Done(Outcome),
    Announce(Step, Arc<Rulebook>, PeerForm),
    Scrape(Scrape, ScrapeForm),
}

type Outcome = Result<Vec<u8>, Refusal>;

/// What a request is counted as.
struct Kind {
    action: Action,
    family: AddressFamily,
    scheme: Scheme,
    received: Instant,
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
    pub(super) fn respond<B>(&self, request: Request<B>, origin: Origin, scheme: Scheme) -> Answer<'_> {
        let received = Instant::now();
        let (mut request, _) = request.into_parts();
        // hyper reads the next request's headers into the map that held the last reply's: with this one it
        // never makes another.
        let mut headers = std::mem::take(&mut request.headers);
        let question = self.read(&request, &headers, origin, scheme);
        headers.clear();
        let (kind, asked) = match question {
            Ok(Question { action, family, asked }) => (Kind { action, family, scheme, received }, asked),
            Err((status, text)) => return Either::Left(ready(plain(status, text, headers))),
        };
        match asked.map(|asked| self.begin(asked, received)) {
            Ok(Begun::Done(outcome)) => Either::Left(ready(self.reply(outcome, &kind, headers))),
            Ok(begun) => Either::Right(Box::pin(async move {
                let outcome = self.finish(begun).await;
                self.reply(outcome, &kind, headers)
            })),
            Err(refusal) => Either::Left(ready(self.reply(Err(refusal), &kind, headers))),
        }
    }

    fn begin(&self, asked: Asked, now: Instant) -> Begun {
        let HttpAnnounce { announce, form, .. } = match asked {
            Asked::Announce(announce) => announce,
            Asked::Scrape(scrape, form) => return Begun::Scrape(scrape, form),
        };
        let rules = self.pipeline.rules.load();
        match Applicant::new(announce, &rules).admit(&rules) {
            Step::Admitted(admitted) if rules.recorder.is_none() => {
                let answer = self.pipeline.enter_swarm(&admitted, &rules, now, &mut rand::rng());
                Begun::Done(Ok(reply::announce(&answer, form)))
            }
            Step::Refused(refusal) => Begun::Done(Err(refusal)),
            step => Begun::Announce(step, Guard::into_inner(rules), form),
        }
    }

    async fn finish(&self, begun: Begun) -> Outcome {
        match begun {
            Begun::Done(outcome) => outcome,
            Begun::Announce(step, rules, form) => {
                let answer = self.pipeline.finish(step, &rules).await?;
                Ok(reply::announce(&answer, form))
            }
            Begun::Scrape(scrape, form) => {
                let counts = self.pipeline.scrape(&scrape).await?;
                Ok(reply::scrape(scrape.info_hashes.into_iter().zip(counts).collect(), form))
            }
        }
    }

    /// The reply: bencode, whatever is said.
    fn reply(&self, outcome: Outcome, kind: &Kind, headers: HeaderMap) -> Reply {
        let verdict = if outcome.is_ok() { Verdict::Accepted } else { Verdict::Refused };
        let body = outcome.unwrap_or_else(|refusal| {
            reply::refusal(&refusal, self.pipeline.rules.load().intervals.interval)
        });
        let Kind { action, family, scheme, received } = *kind;
        self.metrics(scheme).latency.observe(action, family, verdict, received.elapsed());
        response(StatusCode::OK, body, headers)
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
