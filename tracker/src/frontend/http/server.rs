//! The HTTP server: one thread per core, each with a runtime and a listener of its own on the shared port, so that a request
//! never crosses to another core.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use contract::AddressFamily;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use super::origin::ProxyRules;
use super::query;
use super::reply::{self, ScrapeForm};
use crate::announce::{Credential, Refusal};
use crate::frontend::limits::Limits;
use crate::frontend::route::{Route, Routes};
use crate::metrics::{Action, FrontendMetrics, Verdict};
use crate::pipeline::Pipeline;

/// Connections one worker holds at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS_PER_WORKER: usize = 16_384;
/// A request's line and headers: room for the longest honest announce many times over.
const MAX_REQUEST_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
const LISTEN_BACKLOG: i32 = 4096;

/// What the frontend needs to answer.
#[derive(Debug)]
pub struct Frontend {
    /// The line that every announce travels.
    pub pipeline: Arc<Pipeline>,
    /// How requests are read. A reload swaps it.
    pub policy: ArcSwap<Policy>,
    /// Counters.
    pub metrics: FrontendMetrics,
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

/// How connections are kept.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a connection may take for its next request, waiting included.
    pub idle_timeout: Duration,
    /// Whether a connection may carry more than one request.
    pub keepalive: Keepalive,
    /// Threads.
    pub workers: usize,
    /// How long requests in hand may take at the end.
    pub grace: Duration,
}

/// Whether a connection may carry more than one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepalive {
    /// As HTTP/1.1 does.
    On,
    /// Close after each reply.
    Off,
}

/// Binds the address once per worker and starts the workers. They stop when `stop` turns true, after the requests in hand.
///
/// # Errors
/// When the address cannot be bound or a thread not started.
pub fn serve(
    frontend: &Arc<Frontend>,
    address: SocketAddr,
    settings: Settings,
    stop: &watch::Receiver<bool>,
) -> io::Result<(SocketAddr, Vec<JoinHandle<()>>)> {
    let first = listen(address)?;
    // Port 0 was chosen by the kernel: the others share what the first one got.
    let bound = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..settings.workers.max(1) {
        listeners.push(listen(bound)?);
    }
    info!(address = %bound, workers = listeners.len(), "HTTP: announce and scrape");
    let mut threads = Vec::new();
    for (number, listener) in listeners.into_iter().enumerate() {
        let (frontend, stop) = (frontend.clone(), stop.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || runtime.block_on(worker(frontend, listener, settings, stop));
        threads.push(std::thread::Builder::new().name(format!("http-{number}")).spawn(work)?);
    }
    Ok((bound, threads))
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` serves both families; IPv4 clients arrive as mapped addresses and are unmapped first thing.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

async fn worker(
    frontend: Arc<Frontend>,
    listener: StdListener,
    settings: Settings,
    mut stop: watch::Receiver<bool>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "an HTTP worker has no listener"),
    };
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS_PER_WORKER));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.idle_timeout)
        .keep_alive(settings.keepalive == Keepalive::On)
        .pipeline_flush(true)
        .max_buf_size(MAX_REQUEST_BYTES)
        .max_headers(MAX_HEADERS);
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            // The sender gone means the same as told to stop.
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: those in use come back.
                warn!(%error, "HTTP cannot accept connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // A reply is one write; waiting to fill a packet would only delay it. A socket that refuses is about to fail anyway.
        stream.set_nodelay(true).ok();
        let (answering, metrics) = (frontend.clone(), frontend.metrics.clone());
        let service = service_fn(move |request| {
            let frontend = answering.clone();
            async move { Ok::<_, Infallible>(frontend.respond(request, peer.ip()).await) }
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if connection.await.is_err() {
                metrics.broken_connections.inc();
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(settings.grace, graceful.shutdown()).await.is_err() {
        warn!("requests were still in hand when the grace period ended");
    }
}

impl Frontend {
    async fn respond(&self, request: Request<Incoming>, connection: IpAddr) -> Response<Full<Bytes>> {
        let received = Instant::now();
        let policy = self.policy.load_full();
        let Some(route) = policy.routes.find(request.uri().path()) else {
            return response(
                StatusCode::NOT_FOUND,
                b"this is a BitTorrent tracker; there is nothing here\n".to_vec(),
            );
        };
        let ip = policy.proxies.client_ip(connection, request.headers());
        let query = request.uri().query().unwrap_or_default();
        let (action, outcome) = match route {
            Route::Announce(credential) => {
                (Action::Announce, self.announce(&policy, query, ip, credential).await)
            }
            Route::Scrape(credential) => (Action::Scrape, self.scrape(&policy, query, ip, credential).await),
        };
        let (verdict, body) = match outcome {
            Ok(body) => (Verdict::Accepted, body),
            Err(refusal) => {
                (Verdict::Refused, reply::refusal(&refusal, self.pipeline.rules.load().intervals.interval))
            }
        };
        self.metrics.observe(action, AddressFamily::of(ip), verdict, received.elapsed());
        response(StatusCode::OK, body)
    }

    async fn announce(
        &self,
        policy: &Policy,
        query: &str,
        ip: IpAddr,
        credential: Option<Credential>,
    ) -> Result<Vec<u8>, Refusal> {
        let read = query::announce(query, ip, credential, &policy.limits)?;
        if read.unknown_event {
            self.metrics.unknown_events.inc();
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

fn response(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
