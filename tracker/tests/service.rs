//! The whole tracker in this process, against a real Redis, over real sockets.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::{RedisServer, eventually_async};
use redis::Commands;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracker::app::App;
use tracker::config::{Config, Plan};
use wire::bencode::{Value, parse};

const PRIVATE: &str = "
hooks:
  prehooks:
  - name: passkey approval
  posthooks:
  - name: traffic push
    options: {retry_count: 1, retry_interval: 20ms, redis_connect_timeout: 10s, redis_read_timeout: 10s, redis_write_timeout: 10s}
";

async fn start(redis_url: &str, more: &str) -> App {
    let text = format!(
        "http: {{addr: '127.0.0.1:0', workers: 2}}\nmetrics_addr: 127.0.0.1:0\nredis_broker: {redis_url}\n{more}"
    );
    App::start(Plan::load(Some(&text), []).unwrap()).await.unwrap()
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

fn query(peer: u8, uploaded: u64, left: u64) -> String {
    let peer = char::from(b'a' + peer).to_string().repeat(20);
    format!(
        "info_hash=iiiiiiiiiiiiiiiiiiii&peer_id={peer}&port={}&uploaded={uploaded}&downloaded=0&left={left}&compact=1",
        6881 + u16::from(peer.as_bytes()[0])
    )
}

async fn announce(app: &App, path: &str) -> Value {
    parse(&get(app.http_address, path).await).unwrap()
}

fn failure(reply: &Value) -> Option<String> {
    reply
        .get("failure reason")
        .and_then(Value::as_bytes)
        .map(|text| String::from_utf8_lossy(text).into_owned())
}

fn number(reply: &Value, key: &str) -> Option<i64> {
    reply.get(key).and_then(Value::as_integer)
}

fn approve(redis: &RedisServer, passkey: &str) {
    let _: () = redis.connection().sadd("pt:passkeys", passkey).unwrap();
}

fn recorded(redis: &RedisServer) -> usize {
    redis.connection().xlen("tracker:traffic").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_tracker_needs_no_redis_and_introduces_peers() {
    let app = start("redis://127.0.0.1:1/0", "").await;
    let first = announce(&app, &format!("/announce?{}", query(0, 0, 0))).await;
    assert_eq!((number(&first, "complete"), number(&first, "incomplete")), (Some(1), Some(0)));
    let second = announce(&app, &format!("/announce?{}", query(1, 0, 5))).await;
    assert_eq!(second.get("peers").and_then(Value::as_bytes).map(<[u8]>::len), Some(6));
    let scrape = announce(&app, "/scrape?info_hash=iiiiiiiiiiiiiiiiiiii").await;
    let Some(Value::Dictionary(files)) = scrape.get("files") else { panic!("files") };
    assert_eq!(number(&files[&b"iiiiiiiiiiiiiiiiiiii".to_vec()], "incomplete"), Some(1));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_checked_wherever_it_stands() {
    let redis = RedisServer::start();
    approve(&redis, "alice");
    let app = start(&redis.url(), PRIVATE).await;
    let query = query(0, 0, 0);
    for path in
        ["/announce?passkey=alice&", "/announce/alice?", "/alice/announce?", "/announce?auth_key=alice&"]
    {
        let reply = announce(&app, &format!("{path}{query}")).await;
        assert_eq!(failure(&reply), None, "{path}");
    }
    let refused = async |path: &str| failure(&announce(&app, &format!("{path}{query}")).await).unwrap();
    assert_eq!(refused("/announce?").await, "missing passkey");
    assert_eq!(refused("/announce?passkey=a%20b&").await, "invalid passkey");
    assert_eq!(refused("/announce?passkey=mallory&").await, "unapproved passkey");
    assert_eq!(refused("/Alice/announce?").await, "unapproved passkey");
    assert_eq!(recorded(&redis), 4, "only accepted announces are events");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_and_a_swap_of_the_set_are_obeyed_within_a_second() {
    let redis = RedisServer::start();
    let app = start(&redis.url(), PRIVATE).await;
    let path = format!("/announce?passkey=alice&{}", query(0, 0, 0));
    let mut look = redis.connection();
    let within_a_second = async |refused: bool, what: &str| {
        let changed = Instant::now();
        eventually_async(what, async || {
            (failure(&announce(&app, &path).await).is_some() == refused).then_some(())
        })
        .await;
        assert!(changed.elapsed() < Duration::from_secs(1), "{what} took {:?}", changed.elapsed());
    };
    assert_eq!(failure(&announce(&app, &path).await).as_deref(), Some("unapproved passkey"));
    for _ in 0..3 {
        let _: () = look.sadd("pt:passkeys", "alice").unwrap();
        within_a_second(false, "a new user is accepted").await;
        let _: () = look.srem("pt:passkeys", "alice").unwrap();
        within_a_second(true, "a revocation is obeyed").await;
    }
    let _: () = look.sadd("next", "alice").unwrap();
    let _: () = look.rename("next", "pt:passkeys").unwrap();
    within_a_second(false, "a swapped set is obeyed").await;
    redis::cmd("FLUSHALL").exec(&mut look).unwrap();
    within_a_second(true, "a flushed set is obeyed").await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_steady_state_an_announce_asks_redis_nothing_about_its_passkey() {
    let redis = RedisServer::start();
    approve(&redis, "alice");
    let app = start(&redis.url(), PRIVATE).await;
    let path = format!("/announce?passkey=alice&{}", query(0, 0, 0));
    announce(&app, &path).await;
    let questions = || -> String {
        let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut redis.connection()).unwrap();
        stats.lines().find(|line| line.starts_with("cmdstat_smismember")).unwrap().to_owned()
    };
    let before = questions();
    for _ in 0..50 {
        announce(&app, &path).await;
    }
    assert_eq!(questions(), before);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn answered_means_recorded() {
    let redis = RedisServer::start();
    approve(&redis, "alice");
    let app = start(&redis.url(), PRIVATE).await;
    for n in 1..=50 {
        let reply = announce(&app, &format!("/announce?passkey=alice&{}", query(0, n, 0))).await;
        assert_eq!(failure(&reply), None);
        assert_eq!(recorded(&redis), usize::try_from(n).unwrap());
    }
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_not_there_at_start_is_waited_for() {
    let mut redis = RedisServer::start();
    approve(&redis, "alice");
    redis.kill();
    let app = start(&redis.url(), PRIVATE).await;
    let path = format!("/announce?passkey=alice&{}", query(0, 0, 0));
    let reply = announce(&app, &path).await;
    assert!(failure(&reply).unwrap().contains("cannot be checked"), "{reply:?}");
    assert_eq!(number(&reply, "retry in"), Some(1));
    assert!(String::from_utf8(get(app.admin_address, "/readyz").await).unwrap().contains("Redis"));
    redis.restart();
    eventually_async("ready", async || (get(app.admin_address, "/readyz").await == b"ready\n").then_some(()))
        .await;
    assert_eq!(failure(&announce(&app, &path).await), None);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_nothing_is_promised_and_afterwards_nothing_is_missing() {
    let mut redis = RedisServer::start();
    approve(&redis, "alice");
    let app = start(&redis.url(), PRIVATE).await;
    let path = |uploaded| format!("/announce?passkey=alice&{}", query(0, uploaded, 0));
    assert_eq!(failure(&announce(&app, &path(100)).await), None);
    redis.kill();
    let reply = announce(&app, &path(250)).await;
    assert!(failure(&reply).unwrap().contains("could not be recorded"), "{reply:?}");
    assert_eq!(number(&reply, "retry in"), Some(1));
    redis.restart();
    eventually_async("accepted again", async || {
        failure(&announce(&app, &path(400)).await).is_none().then_some(())
    })
    .await;
    let entries: redis::streams::StreamRangeReply = redis.connection().xrange_all("tracker:traffic").unwrap();
    let total: u64 = entries.ids.iter().map(|entry| entry.get::<u64>("du").unwrap()).sum();
    assert_eq!(total, 300);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_and_records_what_is_in_hand() {
    let redis = RedisServer::start();
    for n in 0..20 {
        approve(&redis, &format!("user{n}"));
    }
    let app = start(&redis.url(), PRIVATE).await;
    let address = app.http_address;
    let clients: Vec<_> = (0..20u8)
        .map(|n| {
            tokio::spawn(async move {
                let mut answered = 0usize;
                for round in 0..200u64 {
                    let path = format!("/user{n}/announce?{}", query(n, round, 0));
                    let Ok(mut stream) = TcpStream::connect(address).await else { break };
                    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
                    let mut response = Vec::new();
                    if stream.write_all(request.as_bytes()).await.is_err()
                        || stream.read_to_end(&mut response).await.is_err()
                    {
                        break;
                    }
                    answered += usize::from(String::from_utf8_lossy(&response).contains("8:interval"));
                }
                answered
            })
        })
        .collect();
    eventually_async("traffic flows", async || (recorded(&redis) > 100).then_some(())).await;
    app.stop().await.unwrap();
    let mut answered = 0;
    for client in clients {
        answered += client.await.unwrap();
    }
    assert!(answered > 100);
    assert!(recorded(&redis) >= answered, "{} recorded, {answered} answered", recorded(&redis));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_carries_many_requests_and_nonsense_ends_only_itself() {
    let app = start("redis://127.0.0.1:1/0", "").await;
    let mut stream = TcpStream::connect(app.http_address).await.unwrap();
    let request = format!("GET /announce?{} HTTP/1.1\r\nHost: t\r\n\r\n", query(0, 0, 0));
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(String::from_utf8_lossy(&buffer[..read]).contains("8:interval"));
    }
    let mut nonsense = TcpStream::connect(app.http_address).await.unwrap();
    nonsense.write_all(&[0xff; 4096]).await.unwrap();
    let mut rest = Vec::new();
    nonsense.read_to_end(&mut rest).await.ok();
    assert!(get(app.http_address, "/nothing").await.starts_with(b"this is a BitTorrent tracker"));
    let long = format!("/announce?{}&x={}", query(0, 0, 0), "y".repeat(1 << 20));
    let mut huge = TcpStream::connect(app.http_address).await.unwrap();
    huge.write_all(format!("GET {long} HTTP/1.1\r\n\r\n").as_bytes()).await.ok();
    huge.read_to_end(&mut rest).await.ok();
    assert_eq!(failure(&announce(&app, &format!("/announce?{}", query(0, 0, 0))).await), None);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_no_user_and_count_what_happened() {
    let redis = RedisServer::start();
    approve(&redis, "alicesecret");
    let app = start(&redis.url(), PRIVATE).await;
    announce(&app, &format!("/alicesecret/announce?{}", query(0, 0, 0))).await;
    announce(&app, &format!("/announce?passkey=othersecret&{}", query(0, 0, 0))).await;
    let page = String::from_utf8(get(app.admin_address, "/metrics").await).unwrap();
    assert!(!page.contains("secret"));
    assert!(page.contains("seedbook_tracker_recorded_total{outcome=\"booked\"} 1"));
    let count = |result: &str| {
        let name =
            "seedbook_tracker_request_seconds_count{action=\"announce\",family=\"4\",frontend=\"http\"";
        page.contains(&format!("{name},result=\"{result}\"}} 1"))
    };
    assert!(count("accepted") && count("refused"));
    assert_eq!(get(app.admin_address, "/healthz").await, b"ok\n");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_rules_and_drops_no_peer() {
    let redis = RedisServer::start();
    approve(&redis, "alice");
    let text = |interval: &str, routes: &str| {
        let base = format!("redis_broker: {}\nmetrics_addr: 127.0.0.1:0\n{PRIVATE}", redis.url());
        format!(
            "announce_interval: {interval}\n{base}http: {{addr: '127.0.0.1:0', announce_routes: [{routes}]}}\n"
        )
    };
    let config = |text: &str| Config::load(Some(text), []).unwrap();
    let mut app = App::start(Plan::of(config(&text("20m", "/announce"))).unwrap()).await.unwrap();
    let query = format!("passkey=alice&{}", query(0, 0, 0));
    let first = announce(&app, &format!("/announce?{query}")).await;
    assert_eq!(number(&first, "interval"), Some(1200));

    app.reload(Plan::of(config(&text("25m", "/new"))).unwrap()).unwrap();
    let second = announce(&app, &format!("/new?{query}")).await;
    assert_eq!((number(&second, "interval"), number(&second, "complete")), (Some(1500), Some(1)));
    assert!(get(app.http_address, &format!("/announce?{query}")).await.starts_with(b"this is"));
    assert_eq!(recorded(&redis), 2);

    app.reload(Plan::of(config("metrics_addr: 127.0.0.1:0\nhttp: {addr: '127.0.0.1:0'}\n")).unwrap())
        .unwrap();
    let leecher = self::query(1, 0, 5);
    let third = announce(&app, &format!("/announce?{leecher}")).await;
    assert_eq!((failure(&third), number(&third, "complete")), (None, Some(1)), "nobody needs a passkey now");
    assert_eq!(recorded(&redis), 2);
    app.stop().await.unwrap();
}
