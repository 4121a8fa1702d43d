//! `passkey approval` beyond the whitelist: sealed credentials, and the site's own page.

#![allow(clippy::unwrap_used)]

mod scene;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use contract::EncryptionKey;
use contract::sealed::Contents;
use futures_util::future::join_all;
use harness::{Process, RedisServer, eventually_async, free_port};
use redis::Commands;
use scene::{Web, announce, config, get, metrics, tracker};
use service::program::Plan as _;
use tracker::app::App;
use tracker::config::Plan;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const UNAPPROVED: &str = "unapproved passkey";

fn hooks(options: &str) -> String {
    format!(
        "  prehooks: [{{name: passkey approval, options: {{{options}}}}}]\n  posthooks: [{{name: traffic push}}]"
    )
}

fn callback(web: &Web, more: &str) -> String {
    hooks(&format!("http_url: 'http://{}/check?site=1', http_timeout: 500ms{more}", web.address))
}

fn approve(redis: &RedisServer, passkey: &str) {
    let _: () = redis.connection().sadd("pt:passkeys", passkey).unwrap();
}

fn sealed(key: &str, passkey: &str, age: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let contents = Contents {
        passkey: passkey.parse().unwrap(),
        issued_at: Some(now - age),
        fd: Some("film7".into()),
        pd: Some("list9".into()),
    };
    EncryptionKey::parse(key).unwrap().seal(&contents).unwrap()
}

fn last_event(redis: &RedisServer) -> HashMap<String, String> {
    let mut connection = redis.connection();
    let reply: redis::streams::StreamRangeReply = redis::cmd("XREVRANGE")
        .arg("tracker:traffic")
        .arg("+")
        .arg("-")
        .arg("COUNT")
        .arg(1)
        .query(&mut connection)
        .unwrap();
    let fields = &reply.ids[0].map;
    fields.iter().map(|(name, value)| (name.clone(), redis::from_redis_value_ref(value).unwrap())).collect()
}

async fn announce_as(app: &App, passkey: &str) -> Option<String> {
    announce(app, &format!("passkey={passkey}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_credential_is_booked_on_its_passkey_with_film_and_playlist() {
    let redis = RedisServer::start();
    approve(&redis, "alice");
    let app = tracker(&redis.url(), &hooks(&format!("encryption_key: {KEY}, max_age: 1h"))).await;
    assert_eq!(announce(&app, &format!("credential={}", sealed(KEY, "alice", 60))).await, None);
    let event = last_event(&redis);
    assert_eq!(
        (event["passkey"].as_str(), event["fd"].as_str(), event["pd"].as_str()),
        ("alice", "film7", "list9")
    );
    let query =
        "info_hash=iiiiiiiiiiiiiiiiiiii&peer_id=-TR4060-abcdefghijkl&port=1&uploaded=0&downloaded=0&left=0";
    let in_path = format!("/announce/{}?{query}", sealed(KEY, "alice", 60));
    assert_eq!(get(app.http_address, &in_path).await, None, "the path carries it as well");
    let refused = async |credential: &str| announce(&app, &format!("passkey={credential}")).await.unwrap();
    assert_eq!(refused(&sealed(KEY, "mallory", 60)).await, UNAPPROVED);
    assert_eq!(refused(&sealed(KEY, "alice", 3700)).await, "invalid passkey", "stale");
    assert_eq!(refused(&sealed(&"x".repeat(32), "alice", 60)).await, "invalid passkey", "another key");
    assert_eq!(refused(&sealed(KEY, "alice", 60)[..60]).await, "invalid passkey", "cut off");
    assert_eq!(refused("alice").await, "invalid passkey", "a plain passkey is none");
    assert_eq!(announce(&app, "").await.unwrap(), "missing passkey");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_site_moves_to_sealed_credentials_plain_ones_can_be_let_in() {
    let redis = RedisServer::start();
    approve(&redis, "alice");
    let app = tracker(&redis.url(), &hooks(&format!("encryption_key: {KEY}, accept_plain: true"))).await;
    assert_eq!(announce_as(&app, "alice").await, None);
    assert_eq!(announce_as(&app, &sealed(KEY, "alice", 60)).await, None);
    assert_eq!(announce_as(&app, &sealed(&"x".repeat(32), "alice", 60)).await.unwrap(), "invalid passkey");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_site_is_asked_about_strangers_with_the_api_key_and_only_about_them() {
    let redis = RedisServer::start();
    approve(&redis, "alice");
    let web = Web::start(200, r#"{"data": {"valid": true, "fd": 17}}"#).await;
    let app = tracker(&redis.url(), &callback(&web, ", http_api_key: s3cret, cache_ttl_seconds: 60")).await;
    assert_eq!(announce_as(&app, "alice").await, None);
    assert!(web.seen().is_empty());
    for _ in 0..3 {
        assert_eq!(announce_as(&app, "bob").await, None);
    }
    let seen = web.seen();
    assert_eq!(seen.len(), 1, "the answer is remembered");
    assert_eq!(seen[0].target, "/check?site=1&passkey=bob");
    assert_eq!(seen[0].headers["x-api-key"], "s3cret");
    let event = last_event(&redis);
    assert_eq!((event["passkey"].as_str(), event["fd"].as_str()), ("bob", "17"));
    let members: Vec<String> = redis.connection().smembers("pt:passkeys").unwrap();
    assert_eq!(members, ["alice"], "the whitelist is the site's own");
    assert_eq!(redis.connection().ttl::<_, i64>("pt:passkeys").unwrap(), -1);
    web.answer(404, "");
    assert_eq!(announce_as(&app, "carol").await.as_deref(), Some(UNAPPROVED));
    web.answer(200, r#"{"valid": true}"#);
    assert_eq!(announce_as(&app, "carol").await.as_deref(), Some(UNAPPROVED), "a no is remembered too");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_announces_of_one_stranger_make_one_call() {
    let redis = RedisServer::start();
    let web = Web::start(200, r#"{"valid": true}"#).await;
    web.delay(Duration::from_millis(200));
    let app = tracker(&redis.url(), &callback(&web, "")).await;
    let failures = join_all((0..20).map(|_| announce_as(&app, "bob"))).await;
    assert!(failures.iter().all(Option::is_none), "{failures:?}");
    assert_eq!(web.seen().len(), 1);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_lifetime_an_approval_ends_within_a_second() {
    let redis = RedisServer::start();
    let web = Web::start(200, r#"{"valid": true}"#).await;
    let app = tracker(&redis.url(), &callback(&web, "")).await;
    assert_eq!(announce_as(&app, "bob").await, None);
    web.answer(200, r#"{"valid": false}"#);
    let asked = tokio::time::Instant::now();
    eventually_async("the site's change of mind is seen", async || announce_as(&app, "bob").await).await;
    assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_fails_approves_nobody_and_says_come_back() {
    let redis = RedisServer::start();
    let web = Web::start(500, r#"{"valid": true}"#).await;
    let app = tracker(&redis.url(), &callback(&web, "")).await;
    let large = "x".repeat(100_000);
    for (status, body) in [(500, "{}"), (302, ""), (401, ""), (200, "<html>"), (200, large.as_str())] {
        web.answer(status, body);
        let failure = announce_as(&app, "bob").await.unwrap();
        assert!(failure.contains("try again") && !failure.contains("bob"), "{status}: {failure}");
    }
    web.answer(200, r#"{"valid": true}"#);
    web.delay(Duration::from_secs(30));
    assert!(announce_as(&app, "bob").await.unwrap().contains("try again"), "too slow");
    web.delay(Duration::ZERO);
    assert_eq!(announce_as(&app, "bob").await, None, "a failure is not held against the user");
    let page = metrics(&app).await;
    for counted in
        ["calls_total{answer=\"failed\"} 6", "calls_total{answer=\"approved\"} 1", "call_seconds_count 7"]
    {
        assert!(page.contains(&format!("seedbook_tracker_site_{counted}\n")), "{counted}: {page}");
    }
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn known_users_can_be_allowed_while_the_site_is_away() {
    let redis = RedisServer::start();
    let web = Web::start(200, r#"{"valid": true, "pd": "p"}"#).await;
    let app = tracker(&redis.url(), &callback(&web, ", on_error: allow_known")).await;
    assert_eq!(announce_as(&app, "bob").await, None);
    web.answer(500, "");
    eventually_async("the approval ran out, and the site was asked in vain", async || {
        assert_eq!(announce_as(&app, "bob").await, None);
        (web.seen().len() > 1).then_some(())
    })
    .await;
    assert_eq!(last_event(&redis)["pd"], "p");
    assert!(announce_as(&app, "carol").await.unwrap().contains("try again"));
    let address = web.address;
    drop(web);
    assert!(announce_as(&app, "carol").await.unwrap().contains("try again"), "nobody listens any more");
    let web = Web::start_at(address, 200, r#"{"valid": true}"#).await;
    assert_eq!(announce_as(&app, "carol").await, None);
    drop(web);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compatibility_mode_writes_to_the_whitelist_and_lets_all_of_it_expire() {
    let redis = RedisServer::start();
    approve(&redis, "alice");
    let web = Web::start(200, r#"{"valid": true}"#).await;
    let app =
        tracker(&redis.url(), &callback(&web, ", compat_set_expiry: true, cache_ttl_seconds: 60")).await;
    assert_eq!(announce_as(&app, "bob").await, None);
    assert!(redis.connection().sismember::<_, _, bool>("pt:passkeys", "bob").unwrap());
    let ttl: i64 = redis.connection().ttl("pt:passkeys").unwrap();
    assert!((1..=60).contains(&ttl), "{ttl}");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_passkey_that_only_the_site_knows_is_booked_on_its_new_one() {
    let redis = RedisServer::start();
    let _: () = redis.connection().hset("pt:passkeys:alias", "old", "new").unwrap();
    let web = Web::start(200, r#"{"valid": true}"#).await;
    let app = tracker(&redis.url(), &callback(&web, "")).await;
    assert_eq!(announce_as(&app, "old").await, None);
    assert_eq!(last_event(&redis)["passkey"], "new");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_brings_another_key_into_force() {
    let redis = RedisServer::start();
    approve(&redis, "alice");
    let next = "y".repeat(32);
    let with = |key: &str| hooks(&format!("encryption_key: {key}"));
    let mut app = tracker(&redis.url(), &with(KEY)).await;
    assert_eq!(announce_as(&app, &sealed(KEY, "alice", 0)).await, None);
    app.reload(Plan::of(config(&redis.url(), &with(&next)).unwrap()).unwrap()).unwrap();
    assert_eq!(announce_as(&app, &sealed(&next, "alice", 0)).await, None);
    assert_eq!(announce_as(&app, &sealed(KEY, "alice", 0)).await.unwrap(), "invalid passkey");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chattiest_log_shows_no_passkey_credential_token_or_key() {
    let redis = RedisServer::start();
    let web = Web::start(200, r#"{"valid": true}"#).await;
    let folder = tempfile::tempdir().unwrap();
    let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let url = format!("http://{}/check?token=tokeninurl", web.address);
    let options =
        format!("encryption_key: {KEY}, accept_plain: true, http_url: '{url}', http_api_key: apikeyvalue");
    let text = format!(
        "log: {{level: trace}}\nhttp: {{addr: '{address}'}}\nmetrics_addr: 127.0.0.1:0\nredis_broker: {}\nhooks:\n{}\n",
        redis.url(),
        hooks(&options)
    );
    let file = folder.path().join("tracker.yaml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
    command.arg("--config").arg(&file);
    let mut process = Process::start("tracker", command, folder.path());
    process.wait_until("the tracker listens", || std::net::TcpStream::connect(address).ok());
    let query =
        "info_hash=iiiiiiiiiiiiiiiiiiii&peer_id=-TR4060-abcdefghijkl&port=1&uploaded=0&downloaded=0&left=0";
    let credential = sealed(KEY, "sealeduser", 60);
    for shown in ["plainuser", credential.as_str()] {
        let path = format!("/announce/{shown}?{query}&jwt=tokeninquery");
        assert_eq!(get(address, &path).await, None);
    }
    web.answer(500, "");
    assert!(get(address, &format!("/announce?passkey=otheruser&{query}")).await.is_some());
    assert_eq!(web.seen().len(), 3);
    process.terminate();
    let log = process.log();
    assert!(log.contains("TRACE") && log.contains("approval page cannot be asked"), "{log}");
    let secrets = [
        "plainuser",
        "sealeduser",
        "otheruser",
        &credential[..20],
        KEY,
        "apikeyvalue",
        "tokeninurl",
        "tokeninquery",
    ];
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

#[test]
fn wrong_options_are_named_and_secrets_are_not_shown() {
    let problem = |options: &str| config("redis://127.0.0.1:1/0", &hooks(options)).unwrap_err();
    for (options, key) in [
        ("encryption_key: tooshort", "encryption_key"),
        ("http_url: 'site.example/check'", "http_url"),
        ("http_url: 'https://me:hunter2@site.example/'", "http_url"),
        ("http_api_key_header: 'X API'", "http_api_key_header"),
        ("http_max_concurrency: 0", "http_max_concurrency"),
        ("on_error: perhaps", "on_error"),
        ("max_age: 1h", "max_age"),
        ("accept_plain: true", "accept_plain"),
        ("compat_set_expiry: true", "compat_set_expiry"),
    ] {
        let text = problem(options);
        assert!(text.contains(key), "{options}: {text}");
        assert!(!text.contains("tooshort") && !text.contains("hunter2"), "{text}");
    }
    let good =
        format!("encryption_key: {KEY}, http_url: 'https://s.example/?token=hunter2', http_api_key: hunter2");
    let plan = Plan::of(config("redis://127.0.0.1:1/0", &hooks(&good)).unwrap()).unwrap();
    let shown = plan.effective().unwrap().to_string();
    assert!(
        shown.contains("https://s.example") && !shown.contains("hunter2") && !shown.contains(KEY),
        "{shown}"
    );
}
