//! One connection from its first byte to its last: TLS if it is HTTPS, then requests one after another,
//! within the deadlines.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::FutureExt;
use hyper::body::{Body, Incoming};
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::deadline::{Deadlines, Phase, Watched};
use super::origin::Origin;
use super::pulse::LastArrival;
use super::respond::{Frontend, Reply, Scheme};
use super::stream::Stream;
use crate::frontend::metrics::HttpMetrics;

/// A request's line and headers: room for the longest honest announce many times over. Longer ones get status
/// 431.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// Whether a connection may carry more than one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepalive {
    /// As HTTP/1.1 does.
    On,
    /// Close after each reply.
    Off,
}

/// Tells a worker's connections to end.
#[derive(Debug, Default)]
pub(super) struct Shutdown {
    has_begun: AtomicBool,
    begins: Notify,
}

impl Shutdown {
    /// Tells them.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
        self.begins.notify_waiters();
    }

    /// Runs a connection to its end. Once the shutdown has begun that is the end of the request in hand. To
    /// be awaited by one task from beginning to end.
    async fn watch<C: GracefulConnection>(&self, mut connection: Pin<&mut C>) -> C::Output {
        let mut begins = pin!(self.begins.notified());
        let (mut listens, mut is_ending) = (false, false);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = connection.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            if !listens {
                // Once is enough: the notice wakes this task, and `has_begun` tells why.
                listens = begins.as_mut().poll(cx).is_pending();
            }
            if is_ending || !self.has_begun.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            is_ending = true;
            connection.as_mut().graceful_shutdown();
            connection.as_mut().poll(cx)
        })
        .await
    }
}

/// One connection, from its first byte to its last.
pub(super) struct Connection {
    pub(super) frontend: Arc<Frontend>,
    pub(super) shutdown: Arc<Shutdown>,
    pub(super) deadlines: Deadlines,
    pub(super) keepalive: Keepalive,
    pub(super) origin: Origin,
    pub(super) scheme: Scheme,
    pub(super) arrival: Arc<LastArrival>,
}

impl Connection {
    /// Serves the client until it, or its time, is over.
    pub(super) async fn run(&self, stream: Stream, acceptor: Option<TlsAcceptor>) {
        self.metrics().open_connections.inc();
        let acceptor = acceptor.filter(|_| !matches!(stream, Stream::Unix(_)));
        let stream = Watched::new(stream, self.deadlines.clone(), self.arrival.clone());
        match acceptor {
            None => self.serve(stream).await,
            // Apart, or each plain connection would reserve the room that TLS takes.
            Some(acceptor) => Box::pin(self.serve_tls(stream, &acceptor)).await,
        }
        self.metrics().open_connections.dec();
    }

    async fn serve_tls(&self, stream: Watched<Stream>, acceptor: &TlsAcceptor) {
        // A slow handshake is as bad as a slow request.
        let handshake = pin!(acceptor.accept(stream));
        match self.deadlines.supervise(handshake).await {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(_)) => self.broke(),
            Err(phase) => self.was_slow(phase),
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S) {
        let mut builder = http1::Builder::new();
        builder
            .header_read_timeout(None)
            .keep_alive(self.keepalive == Keepalive::On)
            .max_buf_size(MAX_REQUEST_BYTES)
            // A reply is a few hundred bytes: copied behind its head it leaves as one piece.
            .writev(false)
            // Whoever has asked may close its side and is answered all the same. Without this, hyper looks
            // for the end of the connection before each reply, with a new buffer.
            .half_close(true);
        // Pinned here and lent: wherever it moved to, it would be copied and have room reserved.
        let connection =
            pin!(builder.serve_connection(TokioIo::new(stream), service_fn(|request| self.answer(request))));
        let watched = pin!(self.shutdown.watch(connection));
        match self.deadlines.supervise(watched).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => self.broke(),
            Err(phase) => self.was_slow(phase),
        }
    }

    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Result<Reply, Infallible>> {
        self.deadlines.enter(Phase::Answering);
        let reply_phase = if self.ends_with(&request) { Phase::LastReply } else { Phase::Reply };
        let answer = self.frontend.respond(request, self.origin, self.scheme, self.arrival.get());
        answer.map(move |reply| {
            self.deadlines.enter(reply_phase);
            Ok(reply)
        })
    }

    /// Whether hyper will close the connection behind the reply. Where there is a body it closes as well, but
    /// the kernel would throw away what is still to be sent when it finds something unread.
    fn ends_with(&self, request: &Request<Incoming>) -> bool {
        let closes = match request.headers().get(CONNECTION) {
            _ if self.keepalive == Keepalive::Off => true,
            Some(wish) => wish.as_bytes().eq_ignore_ascii_case(b"close"),
            None => request.version() == Version::HTTP_10,
        };
        closes && request.body().is_end_stream()
    }

    fn metrics(&self) -> &HttpMetrics {
        self.frontend.metrics(self.scheme)
    }

    fn broke(&self) {
        self.metrics().broken_connections.inc();
    }

    fn was_slow(&self, phase: Phase) {
        match phase {
            Phase::Head | Phase::Answering => self.metrics().slow_requests.inc(),
            Phase::Reply | Phase::LastReply => self.metrics().slow_readers.inc(),
            Phase::Idle => self.metrics().idle_connections.inc(),
        }
    }
}
