//! One Redis, one tracker with a spool, and clients that announce to it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use harness::{RedisServer, eventually_async};
use redis::{Commands, Connection};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracker::app::App;
use tracker::config::{Config, Plan};
use wire::bencode::{Value, parse};

/// A tracker with a spool of so many bytes.
pub(crate) fn config(redis: &str, spool: &Path, max_bytes: u64, retries: u32) -> Config {
    Config::read(&text(redis, spool, max_bytes, retries), []).unwrap()
}

fn text(redis: &str, spool: &Path, max_bytes: u64, retries: u32) -> String {
    format!(
        "http: {{addr: '127.0.0.1:0', workers: 2}}\nmetrics_addr: 127.0.0.1:0\nredis_broker: {redis}\n\
         hooks:\n  prehooks:\n  - name: passkey approval\n  posthooks:\n  - name: traffic push\n    options:\n      \
         retry_count: {retries}\n      retry_interval: 20ms\n      redis_connect_timeout: 500ms\n      \
         redis_read_timeout: 500ms\n      redis_write_timeout: 500ms\n      \
         spool: {{directory: '{}', max_bytes: {max_bytes}}}\n",
        spool.display()
    )
}

pub(crate) const MIB: u64 = 1024 * 1024;

/// One Redis, one tracker, one folder.
pub(crate) struct Scene {
    pub(crate) redis: RedisServer,
    pub(crate) app: App,
    pub(crate) folder: TempDir,
}

impl Scene {
    pub(crate) async fn open() -> Self {
        Self::with(RedisServer::start()).await
    }

    pub(crate) async fn with(redis: RedisServer) -> Self {
        Self::told(redis, "first_started: baseline").await
    }

    /// With one more option of `traffic push`.
    pub(crate) async fn told(redis: RedisServer, option: &str) -> Self {
        let folder = TempDir::new().unwrap();
        approve(&redis);
        let text = text(&redis.url(), &folder.path().join("spool"), 16 * MIB, 1);
        let config = Config::read(&format!("{text}      {option}\n"), []).unwrap();
        let app = App::start(Plan::of(config).unwrap()).await.unwrap();
        let scene = Self { redis, app, folder };
        scene.becomes("direct").await;
        scene
    }

    pub(crate) async fn becomes(&self, state: &str) {
        becomes(&self.app, state).await;
    }

    /// Announces are answered while `break_it` lasts, and everything is in the stream after `mend`.
    pub(crate) async fn survives(
        &self,
        break_it: impl FnOnce(&mut Connection),
        mend: impl FnOnce(&mut Connection),
    ) {
        let mut look = self.redis.connection();
        for user in 0..3 {
            accepted(&self.app, user, 100).await;
        }
        break_it(&mut look);
        for uploaded in [250, 400] {
            for user in 0..3 {
                accepted(&self.app, user, uploaded).await;
            }
        }
        assert_eq!(metric(&self.app, "recorder_state{state=\"spooling\"}").await, 1);
        assert!(metric(&self.app, "spool_records").await > 0);
        mend(&mut look);
        self.becomes("direct").await;
        assert_eq!(metric(&self.app, "spool_records").await, 0);
        for user in 0..3 {
            accepted(&self.app, user, 450).await;
        }
        assert_eq!(totals(&self.redis), [350, 350, 350]);
    }
}

pub(crate) fn approve(redis: &RedisServer) {
    let users: Vec<String> = (0..10).map(|user| format!("user{user}")).collect();
    let _: () = redis.connection().sadd("pt:passkeys", users).unwrap();
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    response.split_off(end + 4)
}

pub(crate) async fn announce(app: &App, user: u8, uploaded: u64, event: &str) -> Value {
    let peer = char::from(b'a' + user).to_string().repeat(20);
    let path = format!(
        "/user{user}/announce?info_hash=iiiiiiiiiiiiiiiiiiii&peer_id={peer}&port=6881&uploaded={uploaded}&downloaded=0&left=0&event={event}"
    );
    parse(&get(app.http_address, &path).await).unwrap()
}

pub(crate) fn failure(reply: &Value) -> Option<String> {
    let text = reply.get("failure reason").and_then(Value::as_bytes)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

pub(crate) async fn accepted(app: &App, user: u8, uploaded: u64) {
    assert_eq!(failure(&announce(app, user, uploaded, "").await), None);
}

/// Announces are refused from some point on: the reply, and how many were accepted before.
pub(crate) async fn until_refused(app: &App, first: u64) -> (Value, u64) {
    for uploaded in first.. {
        let reply = announce(app, 0, uploaded, "completed").await;
        if failure(&reply).is_some() {
            return (reply, uploaded);
        }
    }
    unreachable!()
}

/// A number on the metrics page; 0 when it is not there.
pub(crate) async fn metric(app: &App, name: &str) -> u64 {
    let page = String::from_utf8(get(app.admin_address, "/metrics").await).unwrap();
    let name = format!("seedbook_tracker_{name} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("0");
    value.parse().unwrap()
}

pub(crate) async fn becomes(app: &App, state: &str) {
    let name = format!("recorder_state{{state=\"{state}\"}}");
    eventually_async(&name, async || (metric(app, &name).await == 1).then_some(())).await;
}

/// Bytes per user in the stream, of those who moved any.
pub(crate) fn totals(redis: &RedisServer) -> Vec<u64> {
    let entries: redis::streams::StreamRangeReply = redis.connection().xrange_all("tracker:traffic").unwrap();
    let mut sums: HashMap<String, u64> = HashMap::new();
    for entry in &entries.ids {
        *sums.entry(entry.get("passkey").unwrap()).or_default() += entry.get::<u64>("du").unwrap();
    }
    let mut sums: Vec<(String, u64)> = sums.into_iter().filter(|(_, sum)| *sum > 0).collect();
    sums.sort();
    sums.into_iter().map(|(_, sum)| sum).collect()
}

pub(crate) fn run(connection: &mut Connection, command: &str) {
    let mut words = command.split(' ');
    let mut call = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        call.arg(if word == "''" { "" } else { word });
    });
    call.exec(connection).unwrap();
}
