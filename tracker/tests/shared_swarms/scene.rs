//! Two trackers of one site, and clients that announce to either.

use std::net::{IpAddr, SocketAddr};

use harness::{RedisServer, eventually_async};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracker::app::App;
use tracker::config::Plan;
use wire::bencode::{Value, parse};

use crate::udp_client;

pub(crate) const STREAM: &str = "tracker:swarm";
pub(crate) const PRIVATE: &str = "hooks: {prehooks: [{name: passkey approval}]}";

/// A configuration whose swarms are shared; `store` are more settings of the store, `more` more lines.
pub(crate) fn text(redis: &RedisServer, store: &str, more: &str) -> String {
    format!(
        "http: {{addr: '[::]:0', workers: 1, allow_ip_spoofing: true, scrape_downloaded: true}}\nudp: {{addr: '[::]:0', workers: 1}}\n\
         metrics_addr: 127.0.0.1:0\nredis_broker: {}\n\
         storage: {{name: redis, config: {{redis_read_timeout: 2s, redis_write_timeout: 2s, redis_connect_timeout: 2s{store}}}}}\n{more}",
        redis.url()
    )
}

pub(crate) async fn start(redis: &RedisServer, store: &str, more: &str) -> App {
    App::start(Plan::load(Some(&text(redis, store, more)), []).unwrap()).await.unwrap()
}

/// One client; its name is one letter, of which its peer id and port are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) name: char,
    pub(crate) ip: &'static str,
    pub(crate) left: u64,
    pub(crate) event: &'static str,
    pub(crate) passkey: &'static str,
}

impl Peer {
    pub(crate) fn seeder(name: char) -> Self {
        Self { name, ip: "192.0.2.1", left: 0, event: "", passkey: "" }
    }

    pub(crate) fn leecher(name: char) -> Self {
        Self { left: 9, ..Self::seeder(name) }
    }

    pub(crate) fn port(self) -> u16 {
        u16::try_from(u32::from(self.name)).unwrap() + 7000
    }

    pub(crate) fn endpoint(self) -> SocketAddr {
        SocketAddr::new(self.ip.parse().unwrap(), self.port())
    }

    /// What the tracker at this HTTP address offers it.
    pub(crate) async fn announces_at(self, port: u16) -> Vec<SocketAddr> {
        let id = self.name.to_string().repeat(20);
        let query = format!(
            "info_hash={}&peer_id={id}&port={}&uploaded=0&downloaded=0&left={}&compact=1&ip={}&event={}&passkey={}",
            "i".repeat(20),
            self.port(),
            self.left,
            self.ip,
            self.event,
            self.passkey,
        );
        let reply = parse(&get(port, &format!("/announce?{query}")).await).unwrap();
        assert_eq!(reply.get("failure reason"), None, "{self:?}: {reply:?}");
        peers(&reply)
    }

    pub(crate) async fn announces_to(self, app: &App) -> Vec<SocketAddr> {
        self.announces_at(app.http_address.port()).await
    }
}

fn peers(reply: &Value) -> Vec<SocketAddr> {
    let bytes = |key| reply.get(key).and_then(Value::as_bytes).unwrap_or_default();
    let port = |bytes: &[u8]| u16::from_be_bytes(bytes.try_into().unwrap());
    let v4 = bytes("peers").chunks(6).map(|peer| {
        let ip = <[u8; 4]>::try_from(&peer[..4]).unwrap();
        SocketAddr::new(IpAddr::from(ip), port(&peer[4..]))
    });
    let v6 = bytes("peers6").chunks(18).map(|peer| {
        let ip = <[u8; 16]>::try_from(&peer[..16]).unwrap();
        SocketAddr::new(IpAddr::from(ip), port(&peer[16..]))
    });
    v4.chain(v6).collect()
}

pub(crate) async fn get(port: u16, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    response.split_off(end + 4)
}

/// Seeders, leechers and completed downloads, as a scrape tells them.
pub(crate) async fn scrape_at(port: u16) -> (i64, i64, i64) {
    let hash = "i".repeat(20);
    let reply = parse(&get(port, &format!("/scrape?info_hash={hash}")).await).unwrap();
    let Some(Value::Dictionary(files)) = reply.get("files") else { panic!("{reply:?}") };
    let Some(file) = files.get(hash.as_bytes()) else { return (0, 0, 0) };
    let number = |key| file.get(key).and_then(Value::as_integer).unwrap();
    (number("complete"), number("incomplete"), number("downloaded"))
}

pub(crate) async fn scrape(app: &App) -> (i64, i64, i64) {
    scrape_at(app.http_address.port()).await
}

/// Waits until a tracker counts so many seeders, leechers and completed downloads.
pub(crate) async fn until_counted(app: &App, counts: (i64, i64, i64)) {
    until_counted_at(app.http_address.port(), counts).await;
}

pub(crate) async fn until_counted_at(port: u16, counts: (i64, i64, i64)) {
    let what = format!("the tracker on port {port} counts {counts:?}");
    eventually_async(&what, async || (scrape_at(port).await == counts).then_some(())).await;
}

/// A figure of `/metrics`.
pub(crate) async fn metric(app: &App, name: &str) -> f64 {
    let page = String::from_utf8(get(app.admin_address.port(), "/metrics").await).unwrap();
    let name = format!("seedbook_tracker_{name} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

pub(crate) fn udp(app: &App, ip: &str) -> udp_client::Client {
    let mut client = udp_client::Client::new(ip, app.udp_address.unwrap().port());
    client.connect();
    client
}
