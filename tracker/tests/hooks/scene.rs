//! A tracker with some rules, and clients that announce to it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::{RedisServer, eventually_async};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracker::app::App;
use tracker::config::{Config, Plan};
use wire::bencode::{Value, parse};

/// Hooks that make a private tracker, with more between them.
pub(crate) fn private(more: &str) -> String {
    format!(
        "hooks:\n  prehooks:\n  - name: passkey approval\n{more}  - name: traffic push\n    options: {{retry_count: 1, retry_interval: 20ms}}\n"
    )
}

pub(crate) fn config(redis_url: &str, hooks: &str) -> Config {
    let text = format!(
        "http: {{addr: '127.0.0.1:0', workers: 2}}\nmetrics_addr: 127.0.0.1:0\nredis_broker: {redis_url}\n{hooks}"
    );
    Config::load(Some(&text), []).unwrap()
}

pub(crate) async fn start(redis_url: &str, hooks: &str) -> App {
    App::start(Plan::of(config(redis_url, hooks)).unwrap()).await.unwrap()
}

async fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    response.split_off(end + 4)
}

pub(crate) async fn page(app: &App, path: &str) -> String {
    String::from_utf8(get(app.admin_address, path).await).unwrap()
}

pub(crate) async fn scrape(app: &App, torrent: char) -> Value {
    let hash = torrent.to_string().repeat(20);
    parse(&get(app.http_address, &format!("/scrape?info_hash={hash}")).await).unwrap()
}

/// One announce, as a test says it: the torrent and the client by a letter each.
#[derive(Clone, Copy)]
pub(crate) struct Say {
    pub(crate) torrent: char,
    pub(crate) client: &'static str,
    pub(crate) uploaded: u64,
    pub(crate) left: u64,
    pub(crate) event: &'static str,
}

impl Say {
    pub(crate) fn plain(torrent: char) -> Self {
        Self { torrent, client: "-TR4060-abcdefghijk1", uploaded: 0, left: 5, event: "" }
    }

    /// Announces as alice.
    pub(crate) async fn to(self, app: &App) -> Value {
        let Self { torrent, client, uploaded, left, event } = self;
        let hash = torrent.to_string().repeat(20);
        let path = format!(
            "/announce?passkey=alice&info_hash={hash}&peer_id={client}&port=6881&uploaded={uploaded}&downloaded=0&left={left}&event={event}&compact=1"
        );
        parse(&get(app.http_address, &path).await).unwrap()
    }
}

pub(crate) fn text(reply: &Value, key: &str) -> Option<String> {
    reply.get(key).and_then(Value::as_bytes).map(|text| String::from_utf8_lossy(text).into_owned())
}

pub(crate) fn failure(reply: &Value) -> Option<String> {
    text(reply, "failure reason")
}

pub(crate) fn number(reply: &Value, key: &str) -> Option<i64> {
    reply.get(key).and_then(Value::as_integer)
}

pub(crate) fn peers(reply: &Value) -> usize {
    reply.get("peers").and_then(Value::as_bytes).unwrap().len() / 6
}

/// A Redis in which alice is approved.
pub(crate) fn redis() -> RedisServer {
    let redis = RedisServer::start();
    run(&redis, &["SADD", "pt:passkeys", "alice"]);
    redis
}

pub(crate) fn run(redis: &RedisServer, command: &[&str]) {
    redis::cmd(command[0]).arg(&command[1..]).exec(&mut redis.connection()).unwrap();
}

/// How 40 hex digits name the torrent of one letter.
pub(crate) fn hex(torrent: char) -> String {
    format!("{:02x}", u32::from(torrent)).repeat(20)
}

/// Says it until the failure is the wanted one, which must take less than a second.
pub(crate) async fn within_a_second(app: &App, say: Say, wanted: Option<&str>, what: &str) {
    let changed = Instant::now();
    eventually_async(what, async || (failure(&say.to(app).await).as_deref() == wanted).then_some(())).await;
    assert!(changed.elapsed() < Duration::from_secs(1), "{what} took {:?}", changed.elapsed());
}
