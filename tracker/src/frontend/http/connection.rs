//! One connection from its first byte to its last: TLS if it is HTTPS, then requests one after another, within the deadlines.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::deadline::{Phase, Progress, Watched};
use super::listener::Stream;
use super::origin::Origin;
use super::respond::{Frontend, Scheme};
use crate::metrics::HttpMetrics;

/// A request's line and headers: room for the longest honest announce many times over. Longer ones get status 431.
const MAX_REQUEST_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Whether a connection may carry more than one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepalive {
    /// As HTTP/1.1 does.
    On,
    /// Close after each reply.
    Off,
}

/// One connection.
pub(super) struct Guest {
    pub(super) frontend: Arc<Frontend>,
    pub(super) progress: Progress,
    pub(super) keepalive: Keepalive,
    pub(super) origin: Origin,
    pub(super) scheme: Scheme,
}

impl Guest {
    /// Serves the client until it, or its time, is over.
    pub(super) async fn talk(&self, stream: Stream, acceptor: Option<TlsAcceptor>, watcher: Watcher) {
        self.metrics().open_connections.inc();
        match (stream, acceptor) {
            (Stream::Inet(stream), None) => self.serve(stream, watcher).await,
            (Stream::Unix(stream), _) => self.serve(stream, watcher).await,
            (Stream::Inet(stream), Some(acceptor)) => {
                // A slow handshake is as bad as a slow request.
                match self.progress.supervise(acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => self.serve(stream, watcher).await,
                    Ok(Err(_)) => self.broke(),
                    Err(phase) => self.was_slow(phase),
                }
            }
        }
        self.metrics().open_connections.dec();
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, watcher: Watcher) {
        let stream = TokioIo::new(Watched::new(stream, self.progress.clone()));
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            .keep_alive(self.keepalive == Keepalive::On)
            .max_buf_size(MAX_REQUEST_BYTES)
            .max_headers(MAX_HEADERS)
            .serve_connection(stream, service_fn(|request| self.answer(request)));
        match self.progress.supervise(watcher.watch(connection)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => self.broke(),
            Err(phase) => self.was_slow(phase),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        self.progress.enter(Phase::Answering);
        let response = self.frontend.respond(&request, self.origin, self.scheme).await;
        self.progress.enter(Phase::Reply);
        Ok(response)
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
            Phase::Reply => self.metrics().slow_readers.inc(),
            Phase::Idle => self.metrics().idle_connections.inc(),
        }
    }
}
