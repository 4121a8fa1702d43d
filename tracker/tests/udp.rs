//! The UDP frontend in this process, over real sockets and, where traffic is recorded, against a real Redis.

#![allow(clippy::unwrap_used)]

mod udp_client;

use std::io::{Read, Write};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use harness::{Network, RedisServer, eventually, eventually_async};
use redis::Commands;
use tracker::announce::Counts;
use tracker::app::App;
use tracker::config::{Config, Plan};
use tracker::frontend::udp::ConnectionIds;
use udp_client::{Answer, Client};
use wire::udp::AnnounceForm;

const NO_REDIS: &str = "redis://127.0.0.1:1/0";
const PRIVATE: &str = "
hooks:
  prehooks:
  - name: passkey approval
  posthooks:
  - name: traffic push
    options: {retry_count: 1, retry_interval: 20ms, redis_connect_timeout: 10s, redis_read_timeout: 10s, redis_write_timeout: 10s}
";

fn config(redis_url: &str, udp: &str, more: &str) -> Config {
    let text = format!(
        "http: {{addr: '127.0.0.1:0', workers: 1}}\nudp: {{addr: '[::]:0', workers: 2{udp}}}\nmetrics_addr: 127.0.0.1:0\nredis_broker: {redis_url}\n{more}"
    );
    Config::load(Some(&text), []).unwrap()
}

async fn start(redis_url: &str, udp: &str, more: &str) -> App {
    App::start(Plan::of(config(redis_url, udp, more)).unwrap()).await.unwrap()
}

/// A client on `ip` that has a connection id.
fn client(app: &App, ip: &str) -> Client {
    let mut client = Client::new(ip, app.udp_address.unwrap().port());
    client.connect();
    client
}

fn approve(redis: &RedisServer, passkey: &str) {
    let _: () = redis.connection().sadd("pt:passkeys", passkey).unwrap();
}

fn recorded(redis: &RedisServer) -> usize {
    redis.connection().xlen("tracker:traffic").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_both_families_find_their_own_kind_and_are_counted_together() {
    let app = start(NO_REDIS, "", "").await;
    let counts = |answer: Answer| match answer {
        Answer::Announced { seeders, leechers, peers, .. } => (seeders, leechers, peers),
        other => panic!("{other:?}"),
    };
    let (mut seeder4, mut leecher4) = (client(&app, "127.0.0.1"), client(&app, "127.0.0.2"));
    let (mut seeder6, mut leecher6) = (client(&app, "::1"), client(&app, "::1"));
    assert_eq!(counts(seeder4.announce(|a| (a.left, a.port) = (0, 1001))), (1, 0, vec![]));
    assert_eq!(counts(seeder6.announce(|a| (a.left, a.port) = (0, 1002))), (2, 0, vec![]));
    let (seeders, leechers, peers) = counts(leecher4.announce(|a| (a.left, a.port) = (9, 1003)));
    assert_eq!((seeders, leechers, peers), (2, 1, vec!["127.0.0.1:1001".parse().unwrap()]));
    let (seeders, leechers, peers) = counts(leecher6.announce(|a| (a.left, a.port) = (9, 1004)));
    assert_eq!((seeders, leechers, peers), (2, 2, vec!["[::1]:1002".parse().unwrap()]));
    assert_eq!(counts(leecher6.announce(|a| (a.left, a.event, a.port) = (0, 1, 1004))).0, 3);
    assert_eq!(counts(seeder4.announce(|a| (a.left, a.event) = (0, 3))), (2, 1, vec![]));
    let swarm = Counts { complete: 2, incomplete: 1, downloaded: 1 };
    assert_eq!(leecher4.scrape(&[[b'i'; 20], [b'x'; 20]]), Answer::Scraped(vec![swarm, Counts::default()]));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests_get_what_they_ask_for_within_the_limits() {
    let app = start(NO_REDIS, ", max_scrape_infohashes: 2, allow_ip_spoofing: true", "").await;
    let mut old = client(&app, "::1");
    old.form = AnnounceForm::LegacyV6;
    let answer = old.announce(|a| a.claimed_ip = "2001:db8::7".parse().unwrap());
    assert!(matches!(answer, Answer::Announced { form: AnnounceForm::LegacyV6, .. }), "{answer:?}");
    let mut new = client(&app, "::1");
    let Answer::Announced { peers, .. } = new.announce(|_| ()) else { panic!() };
    assert_eq!(peers, vec!["[2001:db8::7]:6881".parse().unwrap()]);
    assert!(matches!(new.announce(|a| a.event = 77), Answer::Announced { .. }));
    assert!(matches!(new.scrape(&[[1; 20]; 5]), Answer::Scraped(swarms) if swarms.len() == 2));
    assert_eq!(
        new.announce(|a| a.uploaded = u64::MAX),
        Answer::Refused("failed to parse parameter: uploaded".into())
    );
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_connection_id_nobody_gets_more_than_it_sent() {
    let app = start(NO_REDIS, ", private_key: shared", "").await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let ids = ConnectionIds::new("shared", Duration::from_secs(120), Duration::from_secs(10));
    let here: IpAddr = "127.0.0.1".parse().unwrap();
    let mut client = client(&app, "127.0.0.1");
    let good = client.connection;
    for (id, what) in [
        (ids.issue(here, now - 130), "stale"),
        (ids.issue(here, now + 30), "from the future"),
        (ids.issue("127.0.0.2".parse().unwrap(), now), "of somebody else"),
        (good ^ 1, "forged"),
        (0, "made up"),
    ] {
        client.connection = id;
        assert_eq!(client.announce(|_| ()), Answer::Refused("bad connection ID".into()), "{what}");
        assert_eq!(client.scrape(&[[1; 20]]), Answer::Refused("bad connection ID".into()), "{what}");
        assert!(client.last_answer_bytes <= 36);
    }
    client.connection = ids.issue(here, now - 60);
    assert!(
        matches!(client.announce(|_| ()), Answer::Announced { .. }),
        "made by another tracker of the site"
    );
    app.stop().await.unwrap();
}

/// Whether a client that hears only what comes from `tracker` gets all replies, those too that leave once an
/// announce is recorded.
fn is_answered_from(tracker: IpAddr, app: &App) {
    let loopback = if tracker.is_ipv4() { "127.0.0.1" } else { "::1" };
    let mut client = Client::of(loopback.parse().unwrap(), (tracker, app.udp_address.unwrap().port()).into());
    client.url = Some("/alice/announce".into());
    client.patience = Duration::from_secs(5);
    client.connect();
    let answer = client.announce(|_| ());
    assert!(matches!(answer, Answer::Announced { .. }), "{tracker}: {answer:?}");
    assert!(matches!(client.scrape(&[[1; 20]]), Answer::Scraped(_)), "{tracker}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_comes_from_the_address_that_was_asked() {
    let redis = RedisServer::start();
    approve(&redis, "alice");
    for listen in ["[::]:0", "0.0.0.0:0", "127.0.0.3:0"] {
        let mut config = config(&redis.url(), "", PRIVATE);
        config.udp.addr = listen.parse().unwrap();
        let app = App::start(Plan::of(config.clone()).unwrap()).await.unwrap();
        let own = app.udp_address.unwrap().ip();
        let asked = if own.is_unspecified() {
            ["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse().unwrap())
        } else {
            [own; 2]
        };
        asked.into_iter().for_each(|tracker| is_answered_from(tracker, &app));
        app.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_several_addresses_answers_from_each_in_both_families() {
    let network = Network::start();
    let redis = RedisServer::start();
    approve(&redis, "alice");
    let app = start(&redis.url(), "", PRIVATE).await;
    for tracker in
        ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap(), network.ipv4().into(), network.ipv6().into()]
    {
        is_answered_from(tracker, &app);
    }
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_comes_as_url_data_in_one_option_or_several() {
    let redis = RedisServer::start();
    approve(&redis, "alice");
    let app = start(&redis.url(), "", PRIVATE).await;
    let mut client = client(&app, "127.0.0.1");
    let long = format!("/announce?x={}&passkey=alice", "y".repeat(400));
    for url in ["/announce/alice", "/alice/announce", "/announce?passkey=alice", "?auth_key=alice", &long] {
        client.url = Some(url.into());
        assert!(matches!(client.announce(|_| ()), Answer::Announced { .. }), "{url}");
    }
    assert_eq!(recorded(&redis), 5);
    let mut refused = |url: Option<&str>| {
        client.url = url.map(Into::into);
        match client.announce(|_| ()) {
            Answer::Refused(text) => text,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(Some("/announce/mallory")), "unapproved passkey");
    assert_eq!(refused(Some("/announce?passkey=a%20b")), "invalid passkey");
    assert_eq!(refused(Some("/announce?passkey=%4")), "invalid query escape");
    assert_eq!(refused(Some("/announce")), "missing passkey");
    let cut = format!("/announce?x={}", "y".repeat(243));
    assert_eq!(
        refused(Some(&cut)),
        "missing passkey: this client cuts long URLs over udp, use the http announce URL"
    );
    let advice = refused(None);
    assert!(advice.starts_with("missing passkey: use the http announce URL") && advice.contains("BEP 41"));
    assert_eq!(recorded(&redis), 5, "only accepted announces are events");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_scrape_says_that_udp_cannot_carry_a_passkey() {
    let redis = RedisServer::start();
    let hooks = "hooks:\n  prehooks:\n  - name: passkey approval\n    options: {protect_scrape: true}\n";
    let app = start(&redis.url(), "", hooks).await;
    let answer = client(&app, "127.0.0.1").scrape(&[[1; 20]]);
    assert!(matches!(&answer, Answer::Refused(text) if text.contains("use http")), "{answer:?}");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn answered_means_recorded() {
    let mut redis = RedisServer::start();
    approve(&redis, "alice");
    let app = start(&redis.url(), "", PRIVATE).await;
    let mut client = client(&app, "127.0.0.1");
    client.url = Some("/announce/alice".into());
    for n in 1..=50 {
        assert!(matches!(client.announce(|a| a.uploaded = n), Answer::Announced { .. }));
        assert_eq!(recorded(&redis), usize::try_from(n).unwrap());
    }
    redis.kill();
    let answer = client.announce(|a| a.uploaded = 70);
    let advice = "the announce could not be recorded; your client will try again";
    assert_eq!(answer, Answer::Refused(advice.into()));
    redis.restart();
    eventually("accepted again", || {
        matches!(client.announce(|a| a.uploaded = 100), Answer::Announced { .. }).then_some(())
    });
    let entries: redis::streams::StreamRangeReply = redis.connection().xrange_all("tracker:traffic").unwrap();
    let total: u64 = entries.ids.iter().map(|entry| entry.get::<u64>("du").unwrap()).sum();
    assert_eq!(total, 99, "nothing is lost and nothing counts twice");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_and_records_what_is_in_hand() {
    let redis = RedisServer::start();
    let app = start(&redis.url(), "", PRIVATE).await;
    let clients: Vec<_> = (0..16)
        .map(|n| {
            approve(&redis, &format!("user{n}"));
            let mut client = client(&app, "127.0.0.1");
            client.url = Some(format!("/announce/user{n}").into());
            client.patience = Duration::from_millis(500);
            std::thread::spawn(move || {
                let accepted =
                    |n: &u64| matches!(client.announce(|a| a.uploaded = *n), Answer::Announced { .. });
                (0..100_000).take_while(accepted).count()
            })
        })
        .collect();
    eventually_async("traffic flows", async || (recorded(&redis) > 200).then_some(())).await;
    app.stop().await.unwrap();
    let answered: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    let recorded = recorded(&redis);
    assert!(answered > 100 && recorded >= answered, "{recorded} recorded, {answered} answered");
    assert!(recorded - answered <= 16, "{recorded} recorded, {answered} answered: somebody was not told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_how_requests_are_read() {
    let redis = RedisServer::start();
    approve(&redis, "alice");
    let mut app = start(&redis.url(), "", PRIVATE).await;
    let mut client = client(&app, "127.0.0.1");
    client.url = Some("/t/alice".into());
    assert_eq!(client.announce(|_| ()), Answer::Refused("missing passkey".into()));
    let mut changed = config(&redis.url(), "", PRIVATE);
    changed.http.announce_routes = vec!["/t/:passkey".into()];
    app.reload(Plan::of(changed.clone()).unwrap()).unwrap();
    assert!(matches!(client.announce(|_| ()), Answer::Announced { .. }), "the connection id is still good");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn random_packets_disturb_nobody() {
    let app = start(NO_REDIS, "", "").await;
    let port = app.udp_address.unwrap().port();
    let before = resident_bytes();
    let flood = std::thread::spawn(move || {
        let stranger = Client::new("127.0.0.3", port);
        let mut insider = Client::new("127.0.0.4", port);
        insider.connect();
        for round in 0..50_000 {
            stranger.send_noise(rand::random_range(0..2100));
            insider.send_mutant(round);
        }
    });
    let mut honest = client(&app, "127.0.0.1");
    while !flood.is_finished() {
        assert!(matches!(honest.announce(|_| ()), Answer::Announced { .. }));
    }
    flood.join().unwrap();
    assert!(matches!(honest.announce(|_| ()), Answer::Announced { .. }));
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more than before");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_and_what_is_dropped_is_counted() {
    let redis = RedisServer::start();
    approve(&redis, "alicesecret");
    let app = start(&redis.url(), "", PRIVATE).await;
    let mut client = client(&app, "::1");
    client.url = Some("/announce/alicesecret".into());
    client.announce(|a| a.event = 9);
    client.url = None;
    client.announce(|_| ());
    client.scrape(&[[1; 20]]);
    client.send_noise(15);
    client.send_noise(2049);
    client.connection ^= 1;
    client.announce(|_| ());
    let metric = |name: &str| format!("seedbook_tracker_{name}");
    let wanted = [
        metric(
            "request_seconds_count{action=\"announce\",family=\"6\",frontend=\"udp\",result=\"accepted\"} 1",
        ),
        metric(
            "request_seconds_count{action=\"announce\",family=\"6\",frontend=\"udp\",result=\"refused\"} 1",
        ),
        metric(
            "request_seconds_count{action=\"scrape\",family=\"6\",frontend=\"udp\",result=\"accepted\"} 1",
        ),
        metric("udp_connects_total 1"),
        metric("unknown_events_total{frontend=\"udp\"} 1"),
        metric("udp_dropped_packets_total{reason=\"malformed\"} 1"),
        metric("udp_dropped_packets_total{reason=\"oversized\"} 1"),
        metric("udp_dropped_packets_total{reason=\"bad_connection_id\"} 1"),
    ];
    eventually("everything is counted", || {
        let page = metrics(app.admin_address);
        assert!(!page.contains("secret"));
        wanted.iter().all(|line| page.contains(line.as_str())).then_some(())
    });
    app.stop().await.unwrap();
}

fn metrics(address: std::net::SocketAddr) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
