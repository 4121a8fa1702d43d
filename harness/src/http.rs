//! The little HTTP that tests speak: a page's status and text, and JSON by POST.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

/// Longer than any answer on one machine takes; a client that hangs fails the test instead of stopping it.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn agent() -> Agent {
    Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build().into()
}

/// The status and text of a page, or `None` when nothing answers there.
pub(crate) fn get(url: &str) -> Option<(u16, String)> {
    let mut response = agent().get(url).call().ok()?;
    Some((response.status().as_u16(), response.body_mut().read_to_string().ok()?))
}

/// The text of a page, such as a service's metrics; `None` when nothing answers there, or not with 200.
#[must_use]
pub fn page(url: &str) -> Option<String> {
    get(url).filter(|(status, _)| *status == 200).map(|(_, text)| text)
}

/// Posts a JSON document with more headers; the answer, or `None` when nothing answers there.
pub(crate) fn post(
    url: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Option<ureq::http::Response<String>> {
    let mut request = agent().post(url).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, mut body) = request.send(body.to_string()).ok()?.into_parts();
    Some(ureq::http::Response::from_parts(parts, body.read_to_string().ok()?))
}

/// Posts a body of any kind; the text of the answer, or `None` when nothing answers there.
pub(crate) fn post_bytes(url: &str, content_type: &str, body: &[u8]) -> Option<String> {
    let mut response = agent().post(url).header("content-type", content_type).send(body).ok()?;
    response.body_mut().read_to_string().ok()
}
