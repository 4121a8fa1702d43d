//! Clients that are slow, broken or malicious: they are let go, and everybody else is answered meanwhile.

#![allow(clippy::unwrap_used)]

mod http_client;

use std::time::{Duration, Instant};

use harness::eventually_async;
use http_client::{announce_path, ask, body, reply, rest, status, text};
use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tracker::app::App;
use wire::bencode::Value;

const QUICK: &str = "  addr: 127.0.0.1:0\n  read_timeout: 1s\n  write_timeout: 1s\n  idle_timeout: 3s";
/// What an honest client is answered within while others misbehave: generous for a machine that runs other
/// tests too.
const PROMPT: Duration = Duration::from_secs(1);

async fn connect(app: &App) -> TcpStream {
    TcpStream::connect(app.http_address).await.unwrap()
}

async fn metric(app: &App, line: &str) -> u64 {
    let page = ask(TcpStream::connect(app.admin_address).await.unwrap(), "/metrics", "").await;
    let page = String::from_utf8(body(&page).to_vec()).unwrap();
    let value = page.lines().find_map(|text| text.strip_prefix(line)).expect("the metric is there");
    value.trim().parse().unwrap()
}

async fn no_connection_is_left(app: &App) {
    eventually_async("every connection is closed", async || {
        (metric(app, "seedbook_tracker_open_connections{frontend=\"http\"}").await == 0).then_some(())
    })
    .await;
}

/// An announce on a connection of its own, in time.
async fn an_honest_client_is_answered(app: &App) {
    let begun = Instant::now();
    let answer = reply(&ask(connect(app).await, &announce_path(), "").await);
    assert_eq!(answer.get("complete").and_then(Value::as_integer), Some(1));
    assert!(begun.elapsed() < PROMPT, "took {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_half_open_and_dripping_connections_keep_nobody_waiting() {
    let app = http_client::start(QUICK, "").await;
    let mut attackers = JoinSet::new();
    for number in 0..400 {
        let mut stream = connect(&app).await;
        attackers.spawn(async move {
            let begun = Instant::now();
            // A quarter says nothing; the others feed a request byte by byte, which must not win them time.
            while number % 4 != 0 && stream.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            rest(stream).await;
            begun.elapsed()
        });
    }
    for _ in 0..20 {
        an_honest_client_is_answered(&app).await;
    }
    while let Some(lasted) = attackers.join_next().await {
        let lasted = lasted.unwrap();
        assert!(lasted < Duration::from_secs(8), "a slow client was kept for {lasted:?}");
    }
    no_connection_is_left(&app).await;
    let slow = "seedbook_tracker_connections_closed_total{cause=\"slow_request\",frontend=\"http\"}";
    assert!(metric(&app, slow).await >= 100);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_idle_for_longer_than_a_request_may_take() {
    let app = http_client::start(QUICK, "").await;
    let mut stream = connect(&app).await;
    let request = format!("GET {} HTTP/1.1\r\nHost: t\r\n\r\n", announce_path());
    let mut buffer = [0; 4096];
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(stream.read(&mut buffer).await.unwrap() > 0);
    // Not luck: the wait itself is what is tested. It is longer than a request may take, shorter than idling
    // may.
    tokio::time::sleep(Duration::from_millis(1800)).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(stream.read(&mut buffer).await.unwrap() > 0, "the connection still stands");
    let begun = Instant::now();
    assert!(rest(stream).await.is_empty());
    assert!(begun.elapsed() > Duration::from_secs(2), "idle for {:?}", begun.elapsed());
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_and_never_reads_is_let_go() {
    let app = http_client::start(QUICK, "").await;
    // Small buffers on both ends would do it too; many large pipelined replies do it with any.
    let mut stream = connect(&app).await;
    let request = format!("GET {} HTTP/1.1\r\nHost: t\r\n\r\n", announce_path()).repeat(1000);
    let flood = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(http_client::PATIENCE, flood).await.expect("the tracker closes the connection");
    an_honest_client_is_answered(&app).await;
    no_connection_is_left(&app).await;
    let closed = "seedbook_tracker_connections_closed_total{cause=\"slow_reader\",frontend=\"http\"}";
    assert_eq!(metric(&app, closed).await, 1);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_is_refused_and_costs_nobody_else_anything() {
    let app = http_client::start(QUICK, "").await;
    let path = announce_path();
    let long = format!("{path}&x={}", "x".repeat(13 * 1024));
    let refused = reply(&ask(connect(&app).await, &long, "").await);
    assert_eq!(text(&refused, "failure reason").as_deref(), Some("request too long"));

    let scrape = format!("/scrape?x={}&info_hash={}", "x".repeat(13 * 1024), "i".repeat(20));
    assert!(reply(&ask(connect(&app).await, &scrape, "").await).get("files").is_some());

    for flood in [
        format!("GET {path}&x={}", "x".repeat(1 << 20)),
        format!("GET {path} HTTP/1.1\r\n{}", "A: b\r\n".repeat(100_000)),
    ] {
        let mut stream = connect(&app).await;
        // The tracker may hang up in the middle.
        drop(stream.write_all(flood.as_bytes()).await);
        let response = rest(stream).await;
        assert!([0, 431].contains(&status(&response)), "{}", String::from_utf8_lossy(&response));
        an_honest_client_is_answered(&app).await;
    }
    let many = ask(connect(&app).await, &path, &"A: b\r\n".repeat(80)).await;
    assert_eq!(status(&many), 431);
    no_connection_is_left(&app).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_make_no_sense_get_a_sentence() {
    let app = http_client::start(QUICK, "").await;
    let path = announce_path();
    let failure =
        async |path: &str| text(&reply(&ask(connect(&app).await, path, "").await), "failure reason");
    let hash = "j".repeat(20);
    let twice = failure(&format!("{path}&info_hash={hash}")).await;
    assert_eq!(twice.as_deref(), Some("multiple info_hash parameters supplied"));
    assert_eq!(failure(&format!("{path}&port=7&port=8&left=1&left=0")).await, None, "the last one counts");
    assert_eq!(
        failure(&format!("{path}&uploaded=%ff%fe")).await.as_deref(),
        Some("failed to parse parameter: uploaded")
    );
    assert_eq!(
        failure(&format!("{path}&key=%zz&%ff=%00&=&&&")).await,
        None,
        "what nobody reads harms nobody"
    );
    let huge = failure(&format!("{path}&left=99999999999999999999999999")).await;
    assert_eq!(huge.as_deref(), Some("failed to parse parameter: left"));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_but_get_is_refused_without_reading_its_body() {
    let app = http_client::start(QUICK, "").await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let mut stream = connect(&app).await;
        let head =
            format!("{method} {} HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000000\r\n\r\n", announce_path());
        stream.write_all(head.as_bytes()).await.unwrap();
        let response = rest(stream).await;
        assert_eq!(status(&response), 405, "{method}");
        let head = String::from_utf8_lossy(&response).to_lowercase();
        assert!(head.contains("connection: close") && head.contains("allow: get, head"), "{head}");
    }
    let mut stream = connect(&app).await;
    let head = format!("HEAD {} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", announce_path());
    stream.write_all(head.as_bytes()).await.unwrap();
    let response = rest(stream).await;
    assert_eq!((status(&response), body(&response)), (200, &b""[..]));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_alone_or_behind_a_good_request_ends_only_its_own_connection() {
    let app = http_client::start(QUICK, "").await;
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
    for round in 0..100 {
        let mut stream = connect(&app).await;
        let length = rng.random_range(1..2000);
        let garbage: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        let good = format!("GET {} HTTP/1.1\r\nHost: t\r\n\r\n", announce_path());
        let bytes = if round % 2 == 0 { garbage.clone() } else { [good.as_bytes(), &garbage].concat() };
        drop(stream.write_all(&bytes).await);
        drop(stream.shutdown().await);
        let response = rest(stream).await;
        assert!(round % 2 == 0 || [0, 200].contains(&status(&response)));
    }
    an_honest_client_is_answered(&app).await;
    no_connection_is_left(&app).await;
    app.stop().await.unwrap();
}
