//! Client approval, interval variation and response, in a tracker without accounts.

use crate::scene::{Say, config, failure, number, peers, start};
use tracker::config::Plan;

const NO_REDIS: &str = "redis://127.0.0.1:1/0";

fn hook(name: &str, options: &str) -> String {
    format!("hooks:\n  prehooks:\n  - name: {name}\n    options: {options}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_approval_comes_and_goes_with_a_reload() {
    let mut app = start(NO_REDIS, &hook("client approval", "{whitelist: [-TR]}")).await;
    let deluge = Say { client: "-DE2110-abcdefghijk1", ..Say::plain('t') };
    assert_eq!(failure(&Say::plain('t').to(&app).await), None);
    let refused = deluge.to(&app).await;
    assert_eq!(failure(&refused).as_deref(), Some("unapproved client"));
    assert_eq!((number(&refused, "interval"), number(&refused, "retry in")), (Some(1800), None));
    app.reload(Plan::of(config(NO_REDIS, &hook("client approval", "{blacklist: [TR4060]}"))).unwrap())
        .unwrap();
    assert_eq!(failure(&Say::plain('t').to(&app).await).as_deref(), Some("unapproved client"));
    assert_eq!(failure(&deluge.to(&app).await), None);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn intervals_vary_from_announce_to_announce_of_one_peer() {
    let options = "{modify_response_probability: 1, max_increase_delta: 60, modify_min_interval: true}";
    let app = start(NO_REDIS, &hook("interval variation", options)).await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..30 {
        let reply = Say::plain('t').to(&app).await;
        let (interval, min) = (number(&reply, "interval").unwrap(), number(&reply, "min interval").unwrap());
        assert!((1801..=1860).contains(&interval));
        assert_eq!(interval - 1800, min - 900);
        seen.insert(interval);
    }
    assert!(seen.len() > 5, "{seen:?}");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn private_peers_are_hidden_only_with_the_response_hook_and_a_client_alone_gets_itself() {
    let mut app = start(NO_REDIS, "").await;
    let other = Say { client: "-TR4060-abcdefghijk2", ..Say::plain('t') };
    assert_eq!(peers(&Say::plain('t').to(&app).await), 0);
    assert_eq!(peers(&other.to(&app).await), 1, "a local test network works as it is");
    app.reload(Plan::of(config(NO_REDIS, &hook("response", "{}"))).unwrap()).unwrap();
    assert_eq!(peers(&other.to(&app).await), 0);
    app.reload(Plan::of(config(NO_REDIS, &hook("response", "{allow_private: true}"))).unwrap()).unwrap();
    assert_eq!(peers(&other.to(&app).await), 1);
    assert_eq!(peers(&Say::plain('u').to(&app).await), 0);
    app.reload(Plan::of(config(NO_REDIS, &hook("response", "{include_self_when_alone: true}"))).unwrap())
        .unwrap();
    assert_eq!(peers(&Say::plain('u').to(&app).await), 1);
    app.stop().await.unwrap();
}
