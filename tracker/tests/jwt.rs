//! `jwt`: tokens made by hand, keys published by a web server, and what must not be believed.

#![allow(clippy::unwrap_used)]

mod scene;

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair};
use aws_lc_rs::{hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::eventually_async;
use scene::{Web, announce, config, tracker};
use serde_json::{Value, json};
use tracker::app::App;
use tracker::config::Plan;

const INVALID: &str = "unapproved request: invalid jwt";
const NO_REDIS: &str = "redis://127.0.0.1:1/0";

/// Drawing an RSA key takes a while: the tests share two.
static FIRST: LazyLock<RsaKeyPair> = LazyLock::new(|| rsa::KeyPair::generate(KeySize::Rsa2048).unwrap());
static SECOND: LazyLock<RsaKeyPair> = LazyLock::new(|| rsa::KeyPair::generate(KeySize::Rsa2048).unwrap());

fn hooks(web: &Web, more: &str) -> String {
    let url = format!("http://{}/keys.json", web.address);
    format!(
        "  prehooks: [{{name: jwt, options: {{issuer: site, audience: tracker, jwk_set_url: '{url}', http_timeout: 500ms{more}}}}}]"
    )
}

fn jwk_set(keys: &[(&str, &RsaKeyPair)]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let member = |(kid, key): &(&str, &RsaKeyPair)| {
        let public = key.public_key();
        let (n, e) = (public.modulus(), public.exponent());
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
            "n": part(n.big_endian_without_leading_zero()), "e": part(e.big_endian_without_leading_zero())})
    };
    json!({"keys": keys.iter().map(member).collect::<Vec<_>>()}).to_string()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({"iss": "site", "aud": "tracker", "exp": now() + 600, "nbf": now() - 5, "infohash": "69".repeat(20)})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn signing_input(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn signed(header: &Value, claims: &Value, key: &RsaKeyPair, encoding: &'static dyn RsaEncoding) -> String {
    let input = signing_input(header, claims);
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn token(kid: &str, key: &RsaKeyPair, claims: &Value) -> String {
    signed(&json!({"alg": "RS256", "typ": "JWT", "kid": kid}), claims, key, &RSA_PKCS1_SHA256)
}

async fn announce_with(app: &App, token: &str) -> Option<String> {
    announce(app, &format!("jwt={token}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_this_torrent_lets_in_and_one_for_another_does_not() {
    let web = Web::start(200, &jwk_set(&[("k1", &FIRST)])).await;
    let app = tracker(NO_REDIS, &hooks(&web, "")).await;
    assert_eq!(announce_with(&app, &token("k1", &FIRST, &claims())).await, None);
    assert_eq!(announce_with(&app, &token("k1", &FIRST, &with("aud", json!(["x", "tracker"])))).await, None);
    assert_eq!(announce(&app, "").await.unwrap(), "unapproved request: missing jwt");
    for wrong in [
        with("infohash", "00".repeat(20).into()),
        with("infohash", "iiiiiiiiiiiiiiiiiiii".into()),
        without("infohash"),
        with("iss", "mallory".into()),
        without("iss"),
        with("aud", "other".into()),
        without("aud"),
        with("exp", (now() - 60).into()),
        with("exp", "never".into()),
        without("exp"),
        with("nbf", (now() + 600).into()),
        with("nbf", "soon".into()),
    ] {
        assert_eq!(
            announce_with(&app, &token("k1", &FIRST, &wrong)).await.as_deref(),
            Some(INVALID),
            "{wrong}"
        );
    }
    assert_eq!(
        announce_with(&app, &token("k1", &FIRST, &with("exp", (now() - 5).into()))).await,
        None,
        "leeway"
    );
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_rs256_by_a_published_key_is_a_signature() {
    let web = Web::start(200, &jwk_set(&[("k1", &FIRST)])).await;
    let app = tracker(NO_REDIS, &hooks(&web, "")).await;
    let good = token("k1", &FIRST, &claims());
    let header = |alg: &str| json!({"alg": alg, "kid": "k1"});
    let unsigned = format!("{}.", signing_input(&header("none"), &claims()));
    let hmac_input = signing_input(&header("HS256"), &claims());
    let public_key = hmac::Key::new(hmac::HMAC_SHA256, FIRST.public_key().as_ref());
    let by_public_key = URL_SAFE_NO_PAD.encode(hmac::sign(&public_key, hmac_input.as_bytes()));
    let (body, signature) = good.rsplit_once('.').unwrap();
    for (what, token) in [
        ("none", unsigned),
        ("HS256 with the public key", format!("{hmac_input}.{by_public_key}")),
        ("RS512", signed(&header("RS512"), &claims(), &FIRST, &RSA_PKCS1_SHA512)),
        ("another key under this name", token("k1", &SECOND, &claims())),
        ("no kid", signed(&json!({"alg": "RS256"}), &claims(), &FIRST, &RSA_PKCS1_SHA256)),
        ("other claims under this signature", {
            let other =
                signing_input(&json!({"alg": "RS256", "kid": "k1"}), &with("exp", (now() + 9999).into()));
            format!("{other}.{signature}")
        }),
        ("no signature", format!("{body}.")),
        ("cut off", good[..good.len() - 4].to_owned()),
        ("too long", "a".repeat(9000)),
        ("no token", "x".to_owned()),
    ] {
        assert_eq!(announce_with(&app, &token).await.as_deref(), Some(INVALID), "{what}");
    }
    assert_eq!(announce_with(&app, &good).await, None);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_are_looked_for_at_a_limited_rate() {
    let web = Web::start(200, &jwk_set(&[("k1", &FIRST)])).await;
    let app = tracker(NO_REDIS, &hooks(&web, "")).await;
    assert_eq!(announce_with(&app, &token("k1", &FIRST, &claims())).await, None);
    for n in 0..50 {
        let made_up = token(&format!("made-up-{n}"), &SECOND, &claims());
        assert_eq!(announce_with(&app, &made_up).await.as_deref(), Some(INVALID));
    }
    assert_eq!(web.seen().len(), 1, "fetched a moment ago: made-up names do not make it fetch");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_followed_and_the_old_key_ends() {
    let web = Web::start(200, &jwk_set(&[("k1", &FIRST)])).await;
    let app = tracker(NO_REDIS, &hooks(&web, ", jwk_set_update_interval: 1s")).await;
    assert_eq!(announce_with(&app, &token("k1", &FIRST, &claims())).await, None);
    web.answer(200, &jwk_set(&[("k1", &FIRST), ("k2", &SECOND)]));
    let new = token("k2", &SECOND, &claims());
    eventually_async("the new key is known", async || {
        announce_with(&app, &new).await.is_none().then_some(())
    })
    .await;
    assert_eq!(announce_with(&app, &token("k1", &FIRST, &claims())).await, None, "both are published");
    web.answer(200, &jwk_set(&[("k2", &SECOND)]));
    let old = token("k1", &FIRST, &claims());
    eventually_async("the old key is gone", async || announce_with(&app, &old).await).await;
    assert_eq!(announce_with(&app, &new).await, None);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_fails_leaves_the_last_keys_in_force() {
    let web = Web::start(200, &jwk_set(&[("k1", &FIRST)])).await;
    let app = tracker(NO_REDIS, &hooks(&web, ", jwk_set_update_interval: 1s")).await;
    let good = token("k1", &FIRST, &claims());
    assert_eq!(announce_with(&app, &good).await, None);
    for (status, body) in [(500, ""), (200, "<html>"), (200, r#"{"keys": []}"#), (301, "")] {
        web.answer(status, body);
        let before = web.seen().len();
        eventually_async("the keys are asked for twice", async || {
            assert_eq!(announce_with(&app, &good).await, None);
            (web.seen().len() >= before + 2).then_some(())
        })
        .await;
    }
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_keys_clients_are_told_to_come_back() {
    let web = Web::start(503, "").await;
    let app = tracker(NO_REDIS, &hooks(&web, ", jwk_set_update_interval: 1s")).await;
    let good = token("k1", &FIRST, &claims());
    assert!(announce_with(&app, &good).await.unwrap().contains("try again"));
    web.answer(200, &jwk_set(&[("k1", &FIRST)]));
    eventually_async("the keys are there", async || announce_with(&app, &good).await.is_none().then_some(()))
        .await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announce_that_comes_before_the_first_keys_waits_for_them() {
    let web = Web::start(200, &jwk_set(&[("k1", &FIRST)])).await;
    web.delay(Duration::from_millis(200));
    let app = tracker(NO_REDIS, &hooks(&web, "")).await;
    assert_eq!(announce_with(&app, &token("k1", &FIRST, &claims())).await, None);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_brings_another_issuer_into_force() {
    let web = Web::start(200, &jwk_set(&[("k1", &FIRST)])).await;
    let mut app = tracker(NO_REDIS, &hooks(&web, "")).await;
    let good = token("k1", &FIRST, &claims());
    assert_eq!(announce_with(&app, &good).await, None);
    let other = hooks(&web, "").replace("issuer: site", "issuer: other");
    app.reload(Plan::of(config(NO_REDIS, &other).unwrap()).unwrap()).unwrap();
    assert_eq!(announce_with(&app, &good).await.as_deref(), Some(INVALID));
    assert_eq!(announce_with(&app, &token("k1", &FIRST, &with("iss", "other".into()))).await, None);
    app.stop().await.unwrap();
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let problem = |options: &str| {
        config(NO_REDIS, &format!("  prehooks: [{{name: jwt, options: {{{options}}}}}]")).unwrap_err()
    };
    let missing = problem("");
    for key in ["issuer", "audience", "jwk_set_url"] {
        assert!(missing.contains(&format!("hooks.prehooks[0].options.{key}`")), "{missing}");
    }
    assert!(problem("jwk_set_url: ftp://x/").contains("expected a URL"));
    let all = "issuer: a, audience: b, jwk_set_url: 'https://s.example/k'";
    assert!(problem(&format!("{all}, jwk_set_update_interval: 0s")).contains("at least 1s"));
    assert!(problem(&format!("{all}, isuer: c")).contains("did you mean `issuer`"));
}
