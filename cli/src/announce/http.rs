//! One HTTP GET of a tracker, bounded in time and size.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::USER_AGENT;
use hyper::{Request, Response, Uri, body::Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use wire::bencode::{Value, parse};

use crate::failure::Failure;

const TIMEOUT: Duration = Duration::from_secs(10);
/// A reply with a thousand peers is some 50 kB; more than this is no tracker.
const MAX_REPLY_BYTES: usize = 1 << 20;
const AGENT: &str = concat!("trackerctl/", env!("CARGO_PKG_VERSION"));

/// What the tracker answers.
pub(super) async fn get(url: &Uri) -> Result<Value, Failure> {
    // The path and query may hold a passkey: only the address is ever shown.
    let asked =
        format!("the tracker at http://{}", url.authority().map_or("?", hyper::http::uri::Authority::as_str));
    let body = match tokio::time::timeout(TIMEOUT, fetch(url)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return Err(unreachable(asked, error)),
        Err(_) => return Err(unreachable(asked, format!("no answer within {} seconds", TIMEOUT.as_secs()))),
    };
    parse(&body).map_err(|error| Failure::Service {
        tried: asked,
        cause: format!("the answer cannot be read: {error}"),
        hint: "is this the announce URL of a tracker?".into(),
    })
}

fn unreachable(tried: String, cause: String) -> Failure {
    Failure::Service { tried, cause, hint: "is the tracker running, and is this its address?".into() }
}

async fn fetch(url: &Uri) -> Result<Bytes, String> {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = url.clone();
    request.headers_mut().insert(USER_AGENT, hyper::header::HeaderValue::from_static(AGENT));
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.map_err(|error| innermost(&error))?;
    body_of(response).await
}

async fn body_of(response: Response<Incoming>) -> Result<Bytes, String> {
    let status = response.status();
    if !status.is_success() {
        return Err(format!("it answers {status}"));
    }
    let body = Limited::new(response.into_body(), MAX_REPLY_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
}

/// The cause behind wrappers such as `client error (Connect)`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
