//! Redis is gone for a while: announces are answered, and booked when it is back.

use redis::Commands;
use tracker::app::App;
use wire::bencode::Value;

use crate::scene::{MIB, Scene, accepted, announce, becomes, config, failure, get, metric, run, totals};
use tracker::config::Plan;

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_clients_are_answered_and_afterwards_every_byte_is_in_the_stream() {
    let mut scene = Scene::open().await;
    for user in 0..10 {
        accepted(&scene.app, user, 1000).await;
    }
    for outage in 1..=3u64 {
        scene.redis.kill();
        for round in 1..=5u64 {
            for user in 0..10 {
                accepted(&scene.app, user, 1000 * outage + round * u64::from(user)).await;
            }
        }
        scene.becomes("spooling").await;
        assert_eq!(get(scene.app.admin_address, "/readyz").await, b"ready\n", "what it answers is recorded");
        assert_eq!(metric(&scene.app, "spool_records").await, 50);
        scene.redis.restart();
        scene.becomes("direct").await;
        let expected: Vec<u64> =
            (0..10).map(|user| 1000 * (outage - 1) + 5 * user).filter(|sum| *sum > 0).collect();
        assert_eq!(totals(&scene.redis), expected);
    }
    assert_eq!(metric(&scene.app, "spool_replayed_total").await, 150);
    assert_eq!(metric(&scene.app, "redis_lost_reports_total").await, 0);
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_happens_during_an_outage_is_in_the_stream_afterwards() {
    let mut scene = Scene::open().await;
    accepted(&scene.app, 0, 1).await;
    scene.redis.kill();
    for event in ["completed", "stopped"] {
        assert_eq!(failure(&announce(&scene.app, 0, 5, event).await), None);
    }
    scene.redis.restart();
    scene.becomes("direct").await;
    let entries: redis::streams::StreamRangeReply =
        scene.redis.connection().xrange_all("tracker:traffic").unwrap();
    let events: Vec<String> = entries.ids.iter().map(|entry| entry.get("event").unwrap()).collect();
    assert_eq!(events, ["none", "completed", "stopped"]);
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_goes_on_while_the_spool_is_replayed_and_it_becomes_empty_under_load() {
    let mut scene = Scene::open().await;
    for user in 0..10 {
        accepted(&scene.app, user, 0).await;
    }
    let app = &scene.app;
    let rounds = async |from: u64, to: u64| {
        let all = (0..10u8).map(|user| async move {
            for round in from..=to {
                accepted(app, user, round).await;
            }
        });
        futures_util::future::join_all(all).await;
    };
    scene.redis.kill();
    rounds(1, 100).await;
    scene.redis.restart();
    rounds(101, 300).await;
    becomes(app, "direct").await;
    rounds(301, 310).await;
    assert_eq!(totals(&scene.redis), [310; 10]);
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_stops_during_an_outage_leaves_its_announces_to_the_next_one() {
    let mut scene = Scene::open().await;
    accepted(&scene.app, 0, 100).await;
    scene.redis.kill();
    accepted(&scene.app, 0, 250).await;
    scene.app.stop().await.unwrap();
    scene.redis.restart();
    let next = config(&scene.redis.url(), &scene.folder.path().join("spool"), MIB, 1);
    let app = App::start(Plan::of(next.clone()).unwrap()).await.unwrap();
    becomes(&app, "direct").await;
    accepted(&app, 0, 300).await;
    assert_eq!(totals(&scene.redis), [200]);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_during_an_outage_hands_the_spool_on() {
    let mut scene = Scene::open().await;
    let mut look = scene.redis.connection();
    accepted(&scene.app, 0, 100).await;
    run(&mut look, "ACL SETUSER default -evalsha");
    accepted(&scene.app, 0, 200).await;
    let spool = scene.folder.path().join("spool");
    scene.app.reload(Plan::of(config(&scene.redis.url(), &spool, 2 * MIB, 0)).unwrap()).unwrap();
    accepted(&scene.app, 0, 300).await;
    let elsewhere = config(&scene.redis.url(), &scene.folder.path().join("other"), MIB, 0);
    let refusal = format!("{:#}", scene.app.reload(Plan::of(elsewhere.clone()).unwrap()).unwrap_err());
    assert!(refusal.contains("still holds 2 announces"), "{refusal}");
    accepted(&scene.app, 0, 400).await;
    run(&mut look, "ACL SETUSER default +evalsha");
    scene.becomes("direct").await;
    assert_eq!(totals(&scene.redis), [300]);
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_while_redis_is_gone_forgets_nobody() {
    let mut scene = Scene::open().await;
    accepted(&scene.app, 0, 100).await;
    scene.redis.kill();
    accepted(&scene.app, 0, 200).await;
    let mut other = config(&scene.redis.url(), &scene.folder.path().join("spool"), 16 * MIB, 1);
    other.announce_interval = contract::config::Period::from_secs(1200);
    scene.app.reload(Plan::of(other.clone()).unwrap()).unwrap();
    let reply = announce(&scene.app, 0, 300, "").await;
    assert_eq!(failure(&reply), None);
    assert_eq!(reply.get("interval").and_then(Value::as_integer), Some(1200));
    scene.app.stop().await.unwrap();
}
