//! Forwarding as clients and other trackers see it: whole trackers and forwarders of every manner, over real
//! sockets.

#![allow(clippy::unwrap_used)]

mod forwarders;

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use contract::{Event, InfoHash, PeerId};
use forwarders::{Forwarder, Manner};
use harness::{RedisServer, eventually_async, free_port};
use redis::Commands;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tracker::announce::{Admission, Admitted, Announce, Families, Offers, PeerIds};
use tracker::app::App;
use tracker::arrival::Way;
use tracker::config::{Config, Plan};
use tracker::forward::{self, ForwardMetrics, Forwarding, Pace, Scheme, Scope, Target};
use wire::bencode::{Value, parse};

const HASH: &str = "iiiiiiiiiiiiiiiiiiii";
const HASH_HEX: &str = "6969696969696969696969696969696969696969";

async fn start(more: &str) -> App {
    App::start(Plan::of(config(more)).unwrap()).await.unwrap()
}

fn config(more: &str) -> Config {
    let text = format!("http: {{addr: '127.0.0.1:0', workers: 1}}\nmetrics_addr: 127.0.0.1:0\n{more}");
    Config::load(Some(&text), []).unwrap()
}

/// A configuration line that names a forwarders file of this content, and the folder it is in.
fn file(entries: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forwarders.yml");
    std::fs::write(&path, entries).unwrap();
    let line = format!("forwarders: {}\n", path.display());
    (folder, line)
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

/// A leecher's announce; `more` may carry an event or ask for another form.
async fn announce(app: &App, port: u16, more: &str) -> Value {
    let path = format!(
        "/announce?info_hash={HASH}&peer_id=-TR4060-{port:012}&port={port}&uploaded=7777&downloaded=5555&left=3333{more}"
    );
    parse(&get(app.http_address, &path).await).unwrap()
}

/// The ports of the peers in a compact reply, in order.
fn ports(reply: &Value) -> Vec<u16> {
    let bytes = reply.get("peers").and_then(Value::as_bytes).unwrap();
    let mut ports: Vec<_> = bytes.chunks(6).map(|peer| u16::from_be_bytes([peer[4], peer[5]])).collect();
    ports.sort_unstable();
    ports
}

async fn swarm_size(app: &App) -> Option<i64> {
    let scrape = parse(&get(app.http_address, &format!("/scrape?info_hash={HASH}")).await).unwrap();
    let Some(Value::Dictionary(files)) = scrape.get("files") else { panic!("files") };
    files.values().next().and_then(|file| file.get("incomplete")).and_then(Value::as_integer)
}

async fn metric(app: &App, line: &str) -> Option<f64> {
    let page = String::from_utf8(get(app.admin_address, "/metrics").await).unwrap();
    page.lines().find_map(|text| text.strip_prefix(line)).and_then(|value| value.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_trackers_peers_come_with_the_next_announce() {
    let second = start("").await;
    let entry = format!("- uri: http://{}/announce\n", second.http_address);
    exchanges_peers(second, &entry).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_come_over_udp_too() {
    let second = start("udp: {addr: '127.0.0.1:0', workers: 1, allow_ip_spoofing: true}\n").await;
    let entry = format!("- uri: udp://{}/announce\n", second.udp_address.unwrap());
    exchanges_peers(second, &entry).await;
}

/// A tracker that forwards to `second`, which `entry` names, and clients on both.
async fn exchanges_peers(second: App, entry: &str) {
    announce(&second, 2001, "&compact=1").await;
    let (_folder, line) = file(entry);
    let first = start(&line).await;
    assert!(ports(&announce(&first, 1001, "&compact=1&event=started").await).is_empty());
    let both = async || Some(ports(&announce(&first, 1001, "&compact=1").await)).filter(|p| !p.is_empty());
    assert_eq!(eventually_async("the other tracker's peer is offered", both).await, [2001]);
    assert_eq!(
        ports(&announce(&first, 1002, "&compact=1").await),
        [1001, 2001],
        "local and external, once each"
    );
    assert_eq!(ports(&announce(&second, 2001, "&compact=1").await)[0], 1001, "and our client is known there");
    eventually_async("both of ours are", async || (swarm_size(&second).await == Some(3)).then_some(())).await;
    assert_eq!(
        ports(&announce(&first, 1001, "&compact=1").await),
        [1002, 2001],
        "ours do not come back as strangers"
    );

    let listed = announce(&first, 1002, "&numwant=9").await;
    let Some(Value::List(peers)) = listed.get("peers") else { panic!("a list") };
    let ids = peers.iter().filter(|peer| peer.get("peer id").is_some()).count();
    assert_eq!((peers.len(), ids), (2, 1), "the external peer has no id");

    announce(&first, 1001, "&compact=1&event=stopped").await;
    eventually_async("a goodbye is passed on", async || (swarm_size(&second).await == Some(2)).then_some(()))
        .await;
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_learns_neither_passkey_nor_counters_and_only_of_listed_torrents() {
    let redis = RedisServer::start();
    let _: () = redis.connection().sadd("pt:passkeys", "topsecret").unwrap();
    let forwarder = Forwarder::start(Manner::Answers(b"d8:intervali60e5:peers6:\x7f\0\0\x01\x1a\xe1e")).await;
    let (_folder, line) = file(&forwarder.entry("outside"));
    let app = start(&format!(
        "{line}forward_torrents: ['{HASH_HEX}']\nredis_broker: {}\nhooks:\n  prehooks:\n  - name: passkey approval\n  posthooks:\n  - name: traffic push\n",
        redis.url()
    ))
    .await;
    let unlisted = "/topsecret/announce?info_hash=jjjjjjjjjjjjjjjjjjjj&peer_id=-TR4060-000000000001&port=1&uploaded=1&downloaded=2&left=3";
    assert!(parse(&get(app.http_address, unlisted).await).unwrap().get("failure reason").is_none());
    let asked = async |more: &str| announce(&app, 1001, &format!("&passkey=topsecret&compact=1{more}")).await;
    asked("&event=started&key=k1&trackerid=t1").await;
    eventually_async("peers came", async || (ports(&asked("").await) == [6881]).then_some(())).await;
    asked("&event=completed").await;
    asked("&event=stopped").await;
    eventually_async("all was passed on", async || (forwarder.heard().len() == 3).then_some(())).await;
    let heard = forwarder.heard();
    for (request, event) in heard.iter().zip(["started", "completed", "stopped"]) {
        assert!(request.starts_with("GET /announce?info_hash=iiiiiiiiiiiiiiiiiiii&"), "{request}");
        assert!(request.contains("&uploaded=0&downloaded=0&left=1&"), "{request}");
        assert!(request.contains(&format!("&event={event}&ip=127.0.0.1 ")), "{request}");
        for secret in ["topsecret", "7777", "5555", "3333", "k1", "t1", "jjjj"] {
            assert!(!request.contains(secret), "{secret} in {request}");
        }
    }
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_announce_waits_for_forwarders_of_any_manner() {
    let manners = [
        ("hangs", Manner::Hangs),
        ("rambles", Manner::Rambles),
        ("floods", Manner::Floods),
        ("dawdles", Manner::Dawdles(b"d8:intervali60e5:peers6:\x7f\0\0\x01\x1a\xe1e")),
    ];
    let mut entries = format!("- {{uri: 'http://127.0.0.1:{}/announce', name: refuses}}\n", free_port());
    for (name, manner) in manners {
        write!(entries, "{}", Forwarder::start(manner).await.entry(name)).unwrap();
    }
    let (_folder, line) = file(&entries);
    let app = start(&line).await;
    let mut slowest = Duration::ZERO;
    for port in 1..=200 {
        let asked = Instant::now();
        announce(&app, port, "&compact=1&event=started").await;
        slowest = slowest.max(asked.elapsed());
    }
    // Far below the fifteen seconds that a forwarder is given, and above what a busy machine adds.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    for name in ["refuses", "rambles", "floods"] {
        let failed =
            format!("seedbook_tracker_forward_requests_total{{forwarder=\"{name}\",result=\"failed\"}}");
        eventually_async(name, async || metric(&app, &failed).await.filter(|count| *count > 0.0)).await;
    }
    let answered = "seedbook_tracker_forward_requests_total{forwarder=\"dawdles\",result=\"answered\"}";
    eventually_async("dawdles", async || metric(&app, answered).await.filter(|count| *count > 0.0)).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_is_forwarded_and_forgets_nothing() {
    let forwarder = Forwarder::start(Manner::Answers(b"d8:intervali60e5:peers6:\x7f\0\0\x01\x1a\xe1e")).await;
    let (_folder, line) = file(&forwarder.entry("outside"));
    let mut app = start(&line).await;
    let offered = async |app: &App| ports(&announce(app, 1, "&compact=1").await);
    eventually_async("peers came", async || (offered(&app).await == [6881]).then_some(())).await;
    app.reload(Plan::of(config(&format!("{line}forward_torrents: ['{}']\n", "00".repeat(20)))).unwrap())
        .unwrap();
    assert!(offered(&app).await.is_empty());
    app.reload(Plan::of(config(&line)).unwrap()).unwrap();
    assert_eq!(offered(&app).await, [6881], "known from before");
    assert_eq!(forwarder.heard().len(), 1, "and not asked again before its time");
    app.reload(Plan::of(config("")).unwrap()).unwrap();
    assert!(offered(&app).await.is_empty());
    app.stop().await.unwrap();
}

/// Forwarding alone, in a hurry.
struct Scene {
    forwarding: Forwarding,
    registry: prometheus::Registry,
}

impl Scene {
    fn start(uri_scheme: Scheme, address: SocketAddr) -> Self {
        let target = Target {
            scheme: uri_scheme,
            host: address.ip().to_string(),
            port: address.port(),
            path: "/a?k=v".into(),
        };
        let forwarder =
            forward::Forwarder { name: "f".into(), target, ip: None, host: Some("tracker.local".into()) };
        let pace = Pace {
            timeout: Duration::from_secs(5),
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_millis(200),
            datagram_wait: Duration::from_millis(200),
            sweep_interval: Duration::from_millis(50),
            ..Pace::default()
        };
        let registry = prometheus::Registry::new();
        let metrics = ForwardMetrics::new(&registry).unwrap();
        let lifetime = Duration::from_secs(1860);
        let forwarding =
            Forwarding::start(vec![forwarder], Scope::Everything, lifetime, &pace, &metrics).unwrap();
        Self { forwarding, registry }
    }

    /// The ports of the external peers that a client gets.
    fn announce(&self, event: Event) -> Vec<u16> {
        let announce = Announce {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId(*b"-TR4060-abcdefghijkl"),
            ip: [127, 0, 0, 1].into(),
            port: 6881,
            uploaded: 7,
            downloaded: 7,
            left: 7,
            event,
            num_want: 50,
            families: Families::Both,
            peer_ids: PeerIds::Spared,
            credential: None,
            jwt: None,
            arrived: Instant::now(),
            way: Way::default(),
            extras: None,
        };
        let mut offers = Offers::default();
        let admitted = Admitted { announce, admission: Admission::new(1800, 900) };
        self.forwarding.consult(&admitted, &mut offers);
        offers.iter().map(|offer| offer.address.port()).collect()
    }

    fn gauge(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric()[0].get_gauge().get_value()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_that_was_away_is_found_again_without_another_announce() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let scene = Scene::start(Scheme::Http, address);
    scene.announce(Event::Started);
    let suspended = async || (scene.gauge("seedbook_tracker_forward_suspended") > 0.0).then_some(());
    eventually_async("it is suspended", suspended).await;
    let body = b"d8:intervali1800e5:peers6:\x7f\0\0\x01\x1a\xe2e";
    let forwarder = Forwarder::on(TcpListener::bind(address).await.unwrap(), Manner::Answers(body));
    eventually_async("it is probed", async || (!forwarder.heard().is_empty()).then_some(())).await;
    assert!(forwarder.heard()[0].contains("GET /a?k=v&info_hash="), "{:?}", forwarder.heard());
    assert!(forwarder.heard()[0].to_lowercase().contains("host: tracker.local\r\n"));
    eventually_async("its peers are offered", async || (scene.announce(Event::None) == [6882]).then_some(()))
        .await;
    eventually_async("and counted", async || {
        (scene.gauge("seedbook_tracker_forward_peers") == 1.0).then_some(())
    })
    .await;
    assert_eq!(scene.gauge("seedbook_tracker_forward_suspended"), 0.0);
    assert_eq!(forwarder.heard().len(), 1, "its interval is obeyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_obeyed_and_is_no_failure() {
    let forwarder = Forwarder::start(Manner::Answers(b"d14:failure reason2:no8:retry in5:nevere")).await;
    let scene = Scene::start(Scheme::Http, forwarder.address);
    scene.announce(Event::Started);
    eventually_async("it is asked", async || (forwarder.heard().len() == 1).then_some(())).await;
    let refused = || {
        let families = scene.registry.gather();
        let family = families.iter().find(|f| f.name() == "seedbook_tracker_forward_requests_total").unwrap();
        let refused = |m: &&prometheus::proto::Metric| m.get_label().iter().any(|l| l.value() == "refused");
        family.get_metric().iter().find(refused).unwrap().get_counter().get_value()
    };
    eventually_async("it refuses", async || (refused() == 1.0).then_some(())).await;
    for _ in 0..5 {
        scene.announce(Event::Completed);
    }
    assert_eq!(scene.gauge("seedbook_tracker_forward_suspended"), 0.0);
    assert_eq!(scene.gauge("seedbook_tracker_forward_waiting"), 0.0, "nothing was left for it");
    assert_eq!(forwarder.heard().len(), 1);
}

/// Answers connects and announces, after ignoring the first datagram and rambling before the first answer.
async fn udp_forwarder(socket: UdpSocket, heard: tokio::sync::mpsc::UnboundedSender<Vec<u8>>) {
    let mut buffer = [0; 2048];
    for number in 0.. {
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let packet = &buffer[..length];
        heard.send(packet.to_vec()).ok();
        if number == 0 {
            continue;
        }
        let (action, transaction) = (&packet[8..12], &packet[12..16]);
        let reply = if action == [0, 0, 0, 0] {
            [action, transaction, &[9; 8]].concat()
        } else {
            let peers = [127, 0, 0, 1, 0x1a, 0xe3];
            [action, transaction, &1800u32.to_be_bytes(), &[0; 8], &peers].concat()
        };
        socket.send_to(b"not for you, at all", client).await.unwrap();
        socket.send_to(&reply, client).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_udp_forwarder_is_asked_again_when_a_datagram_is_lost() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let scene = Scene::start(Scheme::Udp, socket.local_addr().unwrap());
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(udp_forwarder(socket, sender));
    scene.announce(Event::Started);
    eventually_async("its peers are offered", async || (scene.announce(Event::None) == [6883]).then_some(()))
        .await;
    let packets: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
    let lengths: Vec<_> = packets.iter().map(Vec::len).collect();
    assert_eq!(lengths, [16, 16, 98 + 2 + "/a?k=v".len()], "the lost connect, the next, the announce");
    assert_eq!((&packets[2][..8], &packets[2][56..64]), (&[9; 8][..], &[0; 8][..]), "the id; no counter");
    assert!(packets[2].ends_with(b"/a?k=v"));
}
