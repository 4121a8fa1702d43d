//! The HTTP server: one thread per core, each with a runtime and listeners of its own on the shared ports, so
//! that a request never crosses to another core.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{info, warn};

use super::connection::{Connection, Keepalive, Shutdown};
use super::deadline::{Deadlines, Timeouts};
use super::listener::{BoundSocket, Listener, SocketFile, bind};
use super::origin::Origin;
use super::pulse::{LastArrival, Pulse};
use super::respond::{Frontend, Scheme};
use super::stream::Stream;
use super::tls::CertificateSource;
use contract::config::ListenAddr;

/// Connections one worker holds at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS_PER_WORKER: u32 = 16_384;
/// When the process is out of file descriptors: those in use come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Threads and waits of the HTTP server.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The longest waits for a client.
    pub timeouts: Timeouts,
    /// Whether a connection may carry more than one request.
    pub keepalive: Keepalive,
    pub(crate) workers: usize,
    /// How long requests in hand may take at the end.
    pub grace: Duration,
}

/// Where to listen for what.
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) address: ListenAddr,
    pub(crate) certificate: Option<Arc<CertificateSource>>,
}

/// The running server.
#[derive(Debug)]
pub struct Server {
    /// Where the endpoints are, in their order: a port 0 is the chosen one here.
    pub addresses: Vec<ListenAddr>,
    workers: Vec<JoinHandle<()>>,
    _socket_files: Vec<SocketFile>,
}

/// A worker's listener and what it speaks. `L`: a bound socket, or a listener within the worker's runtime.
struct EndpointListener<L> {
    listener: L,
    certificate: Option<Arc<CertificateSource>>,
}

impl Server {
    /// Binds every endpoint once per worker and starts the workers. They stop when `stop` turns true, after
    /// the requests in hand.
    ///
    /// # Errors
    /// The address that cannot be bound, or a thread that cannot be started.
    pub fn start(
        frontend: &Arc<Frontend>,
        endpoints: Vec<Endpoint>,
        settings: Settings,
        stop: &watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let mut by_worker: Vec<Vec<_>> = (0..settings.workers.max(1)).map(|_| Vec::new()).collect();
        let (mut addresses, mut socket_files) = (Vec::new(), Vec::new());
        for Endpoint { address, certificate } in endpoints {
            let scheme = scheme(certificate.as_ref());
            let (bound, listeners) = bind(&address, by_worker.len())
                .map_err(|error| anyhow::anyhow!("{scheme:?}: cannot listen on {address}: {error}"))?;
            if !bound.is_off() {
                info!(address = %bound, workers = by_worker.len(), ?scheme, "announce and scrape");
            }
            socket_files.extend(SocketFile::of(&bound));
            addresses.push(bound);
            for (listeners_of_one, listener) in by_worker.iter_mut().zip(listeners) {
                listeners_of_one.push(EndpointListener { listener, certificate: certificate.clone() });
            }
        }
        let workers = start_workers(frontend, by_worker, settings, stop)?;
        Ok(Self { addresses, workers, _socket_files: socket_files })
    }

    /// Waits until every worker has ended, and says whether none panicked. Blocks.
    #[must_use]
    pub fn join(self) -> bool {
        // All of them, also after one that panicked.
        let outcomes: Vec<_> = self.workers.into_iter().map(JoinHandle::join).collect();
        outcomes.iter().all(Result::is_ok)
    }
}

fn start_workers(
    frontend: &Arc<Frontend>,
    by_worker: Vec<Vec<EndpointListener<BoundSocket>>>,
    settings: Settings,
    stop: &watch::Receiver<bool>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    for (number, listeners) in by_worker.into_iter().enumerate() {
        let worker = Worker {
            frontend: frontend.clone(),
            settings,
            permits: Arc::new(Semaphore::new(MAX_CONNECTIONS_PER_WORKER as usize)),
            shutdown: Arc::default(),
            stop: stop.clone(),
            pulse: Arc::new(Pulse::begin(Instant::now())),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || runtime.block_on(worker.run(listeners));
        threads.push(std::thread::Builder::new().name(format!("http-{number}")).spawn(work)?);
    }
    Ok(threads)
}

fn scheme(certificate: Option<&Arc<CertificateSource>>) -> Scheme {
    if certificate.is_some() { Scheme::Https } else { Scheme::Http }
}

struct Worker {
    frontend: Arc<Frontend>,
    settings: Settings,
    /// One for each connection that it may still take.
    permits: Arc<Semaphore>,
    shutdown: Arc<Shutdown>,
    stop: watch::Receiver<bool>,
    pulse: Arc<Pulse>,
}

impl Worker {
    async fn run(self, listeners: Vec<EndpointListener<BoundSocket>>) {
        let mut open = Vec::new();
        for EndpointListener { listener, certificate } in listeners {
            match listener.into_listener() {
                Ok(listener) => open.push(EndpointListener { listener, certificate }),
                Err(error) => warn!(%error, "an HTTP worker lost a listener"),
            }
        }
        join_all(open.into_iter().map(|endpoint| self.accept(endpoint))).await;
        self.shutdown.begin();
        // All permits are back once the last connection is gone.
        let last_one_gone = self.permits.acquire_many(MAX_CONNECTIONS_PER_WORKER);
        if tokio::time::timeout(self.settings.grace, last_one_gone).await.is_err() {
            warn!("requests were still in hand when the grace period ended");
        }
    }

    /// Accepts until told to stop.
    async fn accept(&self, endpoint: EndpointListener<Listener>) {
        let mut stop = self.stop.clone();
        // The sender gone means the same as told to stop.
        let mut stopped = pin!(stop.wait_for(|stop| *stop));
        // Under many connections `stopped` may not come to a poll for long.
        while !self.stop.has_changed().unwrap_or(true) {
            let next = async {
                let permit = self.permit().await?;
                let (stream, origin) = endpoint.listener.accept().await?;
                Ok::<_, io::Error>((stream, origin, permit))
            };
            let accepted = tokio::select! {
                biased;
                accepted = next => accepted,
                _ = &mut stopped => return,
            };
            match accepted {
                Ok((stream, origin, permit)) => self.open(stream, origin, &endpoint, permit),
                Err(error) => {
                    warn!(%error, "HTTP cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    self.pulse.skips(Instant::now());
                }
            }
        }
    }

    /// A place for one more connection. Those that come meanwhile wait in the kernel, with their requests.
    async fn permit(&self) -> io::Result<OwnedSemaphorePermit> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let permit = self.permits.clone().acquire_owned().await.map_err(io::Error::other)?;
        self.pulse.skips(Instant::now());
        Ok(permit)
    }

    fn open(
        &self,
        stream: Stream,
        origin: Origin,
        endpoint: &EndpointListener<Listener>,
        permit: OwnedSemaphorePermit,
    ) {
        let scheme = scheme(endpoint.certificate.as_ref());
        let connection = Connection {
            frontend: self.frontend.clone(),
            shutdown: self.shutdown.clone(),
            deadlines: Deadlines::new(self.settings.timeouts),
            keepalive: self.settings.keepalive,
            origin,
            scheme,
            arrival: Arc::new(LastArrival::new(self.pulse.clone())),
        };
        let acceptor = endpoint.certificate.as_ref().map(|certificate| certificate.acceptor());
        tokio::spawn(async move {
            connection.run(stream, acceptor).await;
            drop(permit);
        });
    }
}
