//! Asking a web server something small: the site whether a passkey is approved, an issuer for its keys.
//!
//! Every request has one deadline and every body a limit, and a redirect is an answer like any other: it is
//! not followed, because its target was not configured. Errors never repeat the URL, which may carry a
//! passkey.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tracing::warn;

/// Answers we ask for are a few hundred bytes; a set of keys is a few thousand.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Connections kept for the next request to one server.
const MAX_IDLE: usize = 8;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// An HTTP and HTTPS client. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    timeout: Duration,
}

/// A web server's answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, whatever it is.
    pub status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why a web server gave no answer that can be used.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The deadline passed.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// No connection, or one that broke.
    #[error("{0}")]
    Broken(String),
    /// The body is larger than anything we ask for.
    #[error("the answer is larger than {MAX_BODY_BYTES} bytes, or was cut off")]
    Body,
}

impl Fetcher {
    /// A client that trusts the system's certificate authorities, or Mozilla's where the system has none.
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn new(timeout: Duration) -> Result<Self, rustls::Error> {
        Self::trusting(system_roots(), timeout)
    }

    /// A client that trusts these certificate authorities only.
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn trusting(roots: RootCertStore, timeout: Duration) -> Result<Self, rustls::Error> {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls(roots)?).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector);
        Ok(Self { client, timeout })
    }

    /// Gets a page, with more headers.
    ///
    /// # Errors
    /// When no whole answer came in time.
    pub async fn get(&self, uri: Uri, headers: &[(HeaderName, HeaderValue)]) -> Result<Answer, FetchError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("seedbook-tracker"));
        request.headers_mut().extend(headers.iter().cloned());
        let answer = tokio::time::timeout(self.timeout, self.exchange(request));
        answer.await.map_err(|_| FetchError::Timeout(self.timeout))?
    }

    async fn exchange(&self, request: Request<Empty<Bytes>>) -> Result<Answer, FetchError> {
        let response =
            self.client.request(request).await.map_err(|error| FetchError::Broken(cause(&error)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        Ok(Answer { status, body: body.map_err(|_| FetchError::Body)?.to_bytes() })
    }
}

/// Reads a URL that can be fetched.
///
/// # Errors
/// A sentence for the operator, which does not repeat the URL.
pub fn uri(text: &str) -> Result<Uri, &'static str> {
    const WANTED: &str = "expected a URL such as https://site.example/path";
    let uri: Uri = text.parse().map_err(|_| WANTED)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(WANTED);
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a user and password in the URL are not sent");
    }
    Ok(uri)
}

/// TLS of a client that trusts these certificate authorities.
pub(crate) fn tls(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The last cause says what happened (`Connection refused`); the layers above it only say where.
fn cause(error: &hyper_util::client::legacy::Error) -> String {
    let mut last = error.source();
    while let Some(deeper) = last.and_then(std::error::Error::source) {
        last = Some(deeper);
    }
    last.map_or_else(|| error.to_string(), ToString::to_string)
}

/// The system's certificate authorities, or Mozilla's where the system has none.
pub(crate) fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _unusable) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        warn!("the system has no certificate authorities: Mozilla's are used");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_fetched_is_a_url() {
        assert!(uri("https://site.example/check?key=1").is_ok());
        assert!(uri("http://127.0.0.1:8080").is_ok());
        for bad in
            ["", "site.example", "/path", "ftp://site.example/", "https://", "https:///x", "http://a b/"]
        {
            assert!(uri(bad).is_err(), "{bad}");
        }
        assert!(uri("https://me:secret@site.example/").unwrap_err().contains("not sent"));
    }

    /// A server that answers one page over TLS, and the authority that signed its certificate.
    pub(crate) async fn https(body: &'static str) -> (Uri, RootCertStore) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(serve(listener, tokio_rustls::TlsAcceptor::from(Arc::new(config)), body));
        (uri(&format!("https://localhost:{port}/page")).unwrap(), roots)
    }

    async fn serve(
        listener: tokio::net::TcpListener,
        acceptor: tokio_rustls::TlsAcceptor,
        body: &'static str,
    ) {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us hangs up here.
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let answer =
                |_| async { Ok::<_, std::convert::Infallible>(hyper::Response::new(body.to_owned())) };
            let service = hyper::service::service_fn(answer);
            let connection = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service);
            connection.await.ok();
        }
    }

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn https_works_with_a_trusted_server_and_only_with_one() {
        let (uri, roots) = https("hello").await;
        let trusting = Fetcher::trusting(roots, TIMEOUT).unwrap();
        let answer = trusting.get(uri.clone(), &[]).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"hello"[..]));
        let error = Fetcher::new(TIMEOUT).unwrap().get(uri, &[]).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }

    #[tokio::test]
    async fn what_went_wrong_is_said_without_the_address() {
        let fetcher = Fetcher::trusting(RootCertStore::empty(), Duration::from_millis(100)).unwrap();
        let closed = uri("http://127.0.0.1:1/?passkey=secret").unwrap();
        let error = fetcher.get(closed, &[]).await.unwrap_err().to_string();
        assert!(error.contains("refused") && !error.contains("secret"), "{error}");
        let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let page = uri(&format!("http://{}/?passkey=secret", silent.local_addr().unwrap())).unwrap();
        assert_eq!(fetcher.get(page, &[]).await.unwrap_err().to_string(), "no answer within 100ms");
    }
}
