//! Speaking HTTP to a tracker by hand, over whatever carries bytes, so that a test decides about every one of
//! them.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)] // Each test file uses its part.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tracker::app::App;
use tracker::config::Plan;
use wire::bencode::{Value, parse};

/// Longer than any reply takes on a busy machine, shorter than a test's patience.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An open tracker on free ports; `http` and `more` are lines of YAML.
pub async fn start(http: &str, more: &str) -> App {
    let text = format!("metrics_addr: 127.0.0.1:0\nhttp:\n  workers: 2\n{http}\n{more}");
    App::start(Plan::load(Some(&text), []).unwrap()).await.unwrap()
}

/// A seeder's announce, as a path.
pub fn announce_path() -> String {
    format!(
        "/announce?info_hash={}&peer_id={}&port=6881&uploaded=0&downloaded=0&left=0&compact=1",
        "i".repeat(20),
        "p".repeat(20)
    )
}

/// One request that asks for the connection to be closed; the whole response.
pub async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, headers: &str) -> Vec<u8> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(stream).await
}

/// Everything until the tracker closes; a reset counts as closing.
pub async fn rest(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut response = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut response)).await;
    drop(read.expect("the tracker closes the connection"));
    response
}

/// The status of a response; 0 when there is none.
pub fn status(response: &[u8]) -> u16 {
    let line = response.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    line.and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// The body of a response.
pub fn body(response: &[u8]) -> &[u8] {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").expect("a response has a head");
    &response[end + 4..]
}

/// The bencoded reply of a response.
pub fn reply(response: &[u8]) -> Value {
    parse(body(response)).unwrap()
}

/// The text under a key of a reply.
pub fn text(reply: &Value, key: &str) -> Option<String> {
    reply.get(key).and_then(Value::as_bytes).map(|text| String::from_utf8_lossy(text).into_owned())
}
