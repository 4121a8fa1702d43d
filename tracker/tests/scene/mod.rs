//! What tests of the hooks share: a tracker over a real socket, and a web server that says what the test
//! wants.

#![allow(dead_code, clippy::unwrap_used)] // Each test file uses its part of this.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tracker::app::App;
use tracker::config::{Config, Plan};
use wire::bencode::{Value, parse};

/// A tracker on a free port with these hooks, written as YAML lists under `hooks:`.
pub(crate) async fn tracker(redis_url: &str, hooks: &str) -> App {
    App::start(Plan::of(config(redis_url, hooks).unwrap()).unwrap()).await.unwrap()
}

/// The configuration of [`tracker`], or all that is wrong with it.
pub(crate) fn config(redis_url: &str, hooks: &str) -> Result<Config, String> {
    let text = format!(
        "http: {{addr: '127.0.0.1:0', workers: 2}}\nmetrics_addr: 127.0.0.1:0\nredis_broker: {redis_url}\nhooks:\n{hooks}\n"
    );
    Config::load(Some(&text), []).map_err(|problems| problems.to_string())
}

/// Announces with these parameters beside the usual ones; the failure reason, if there is one.
pub(crate) async fn announce(app: &App, parameters: &str) -> Option<String> {
    let query = "info_hash=iiiiiiiiiiiiiiiiiiii&peer_id=-TR4060-abcdefghijkl&port=6881&uploaded=0&downloaded=0&left=0";
    get(app.http_address, &format!("/announce?{query}&compact=1&{parameters}")).await
}

/// The failure reason of any request.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let reply = parse(&body(address, path).await).unwrap();
    let reason = reply.get("failure reason").and_then(Value::as_bytes);
    reason.map(|text| String::from_utf8_lossy(text).into_owned())
}

/// The metrics page.
#[allow(dead_code)] // Each test file uses its part.
pub(crate) async fn metrics(app: &App) -> String {
    String::from_utf8(body(app.admin_address, "/metrics").await).unwrap()
}

async fn body(address: SocketAddr, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    response.split_off(end + 4)
}

/// A web server on loopback that gives one answer to everything until it is told another, and remembers what
/// it was asked.
#[derive(Debug)]
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    answer: (u16, String),
    delay: Duration,
    seen: VecDeque<Seen>,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) headers: hyper::HeaderMap,
}

impl Web {
    /// Starts with this answer.
    pub(crate) async fn start(status: u16, body: &str) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), status, body).await
    }

    /// As [`Web::start`], at an address that is known already.
    pub(crate) async fn start_at(address: SocketAddr, status: u16, body: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { answer: (status, body.into()), ..State::default() }));
        let task = tokio::spawn(serve(listener, state.clone()));
        Self { address, state, task }
    }

    /// Answers this from now on.
    pub(crate) fn answer(&self, status: u16, body: &str) {
        self.state.lock().answer = (status, body.into());
    }

    /// Takes this long for each answer from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state.lock().delay = delay;
    }

    /// What it was asked so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().seen.iter().cloned().collect()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Each connection carries one request, so that a server that is dropped answers nothing more.
async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(state.clone(), request));
            http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let ((status, body), delay) = {
        let mut state = state.lock();
        let (target, headers) = (request.uri().to_string(), request.headers().clone());
        state.seen.push_back(Seen { target, headers });
        (state.answer.clone(), state.delay)
    };
    tokio::time::sleep(delay).await;
    let response = Response::builder().status(status).header("location", "/elsewhere");
    Ok(response.body(Full::new(body.into())).unwrap())
}
