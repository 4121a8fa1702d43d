//! Torrent approval and hybrids, with the site's lists in Redis.

use harness::{RedisServer, eventually_async};
use redis::Commands;
use redis::streams::StreamRangeReply;
use wire::bencode::Value;

use crate::scene::{Say, failure, hex, number, page, private, redis, run, scrape, start, within_a_second};
use tracker::config::Plan;

const BY_SET: &str =
    "  - name: torrent approval\n    options: {redis_set: 'pt:torrents', unregistered_interval: 90s}\n";

/// The bytes of every event, by info hash, in the stream's order.
fn booked(redis: &RedisServer) -> Vec<(String, u64)> {
    let entries: StreamRangeReply = redis.connection().xrange_all("tracker:traffic").unwrap();
    let field = |entry: &redis::streams::StreamId, name: &str| entry.get::<String>(name).unwrap();
    entries.ids.iter().map(|e| (field(e, "infohash"), field(e, "du").parse().unwrap())).collect()
}

fn questions(redis: &RedisServer) -> String {
    let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut redis.connection()).unwrap();
    stats.lines().filter(|line| line.contains("smismember") || line.contains("hmget,")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torrent_may_be_announced_once_the_site_lists_it_and_no_longer_than_that() {
    let redis = redis();
    let app = start(&redis.url(), &private(BY_SET)).await;
    let say = Say::plain('t');
    let reply = say.to(&app).await;
    assert_eq!(failure(&reply).as_deref(), Some("unregistered torrent"));
    assert_eq!((number(&reply, "interval"), number(&reply, "retry in")), (Some(90), Some(2)));
    for _ in 0..2 {
        run(&redis, &["SADD", "pt:torrents", &hex('t')]);
        within_a_second(&app, say, None, "a new torrent is accepted").await;
        run(&redis, &["SREM", "pt:torrents", &hex('t')]);
        within_a_second(&app, say, Some("unregistered torrent"), "a removal is obeyed").await;
    }
    assert!(scrape(&app, 'u').await.get("files").is_some(), "scrapes pass");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_of_an_approved_torrent_is_approved_and_booked_on_it() {
    let redis = redis();
    run(&redis, &["SADD", "pt:torrents", &hex('a')]);
    run(&redis, &["HSET", "pt:torrents:alias", &hex('b'), &hex('a')]);
    let app = start(&redis.url(), &private(BY_SET)).await;
    assert_eq!(failure(&Say::plain('b').to(&app).await), None);
    assert_eq!(booked(&redis), [(hex('a'), 0)]);
    run(&redis, &["SREM", "pt:torrents", &hex('a')]);
    within_a_second(&app, Say::plain('b'), Some("unregistered torrent"), "it goes with its torrent").await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hybrids_bytes_count_once_and_its_swarms_stay_apart() {
    for approval in ["", BY_SET] {
        let redis = redis();
        run(&redis, &["SADD", "pt:torrents", &hex('a')]);
        run(&redis, &["HSET", "pt:torrents:alias", &hex('b'), &hex('a')]);
        let app = start(&redis.url(), &private(approval)).await;
        for (event, uploaded) in [("started", 0), ("", 1000), ("", 2500), ("stopped", 3000)] {
            for torrent in ['a', 'b'] {
                let reply = Say { event, uploaded, ..Say::plain(torrent) }.to(&app).await;
                assert_eq!(failure(&reply), None);
                let present = i64::from(event != "stopped");
                assert_eq!(number(&reply, "incomplete"), Some(present), "one client in each swarm");
            }
        }
        let events = booked(&redis);
        assert_eq!(events.len(), 8);
        assert!(events.iter().all(|(info_hash, _)| *info_hash == hex('a')));
        assert_eq!(events.iter().map(|(_, bytes)| bytes).sum::<u64>(), 3000, "{events:?}");
        let snapshots: Vec<String> = redis.connection().keys("tracker:last:*").unwrap();
        assert_eq!(snapshots.len(), 1);
        app.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_steady_state_no_announce_asks_about_its_torrent_and_a_new_alias_is_obeyed() {
    for approval in ["", BY_SET] {
        let redis = redis();
        run(&redis, &["SADD", "pt:torrents", &hex('a'), &hex('b')]);
        let app = start(&redis.url(), &private(approval)).await;
        Say::plain('b').to(&app).await;
        let before = questions(&redis);
        for _ in 0..30 {
            Say::plain('b').to(&app).await;
        }
        assert_eq!(questions(&redis), before);
        run(&redis, &["HSET", "pt:torrents:alias", &hex('b'), &hex('a')]);
        eventually_async("booked on the other name", async || {
            Say::plain('b').to(&app).await;
            booked(&redis).last().is_some_and(|(info_hash, _)| *info_hash == hex('a')).then_some(())
        })
        .await;
        app.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torrent_is_not_guessed_at_while_redis_is_away_but_a_known_one_stays_known() {
    let mut redis = redis();
    let lists = harness::RedisServer::start();
    run(&lists, &["SADD", "pt:torrents", &hex('a')]);
    let approval = format!(
        "  - name: torrent approval\n    options: {{redis_set: 'pt:torrents', redis_broker: '{}', redis_read_timeout: 500ms, redis_write_timeout: 500ms, redis_connect_timeout: 500ms}}\n",
        lists.url()
    );
    let mut lists = lists;
    let app = start(&redis.url(), &private(&approval)).await;
    assert_eq!(failure(&Say::plain('a').to(&app).await), None);
    lists.kill();
    let reply = Say::plain('b').to(&app).await;
    assert!(failure(&reply).unwrap().contains("torrents cannot be checked"), "{reply:?}");
    assert_eq!(failure(&Say::plain('a').to(&app).await), None, "known");
    assert_eq!(page(&app, "/readyz").await, "ready\n", "known torrents' announces are answered");
    assert_eq!(number(&reply, "retry in"), Some(1));
    lists.restart();
    let wanted = Some("unregistered torrent");
    eventually_async("asked again", async || {
        (failure(&Say::plain('b').to(&app).await).as_deref() == wanted).then_some(())
    })
    .await;
    app.stop().await.unwrap();
    redis.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_lists_come_and_go_with_a_reload() {
    let hooks =
        |list: &str| format!("hooks:\n  prehooks:\n  - name: torrent approval\n    options: {{{list}}}\n");
    let none = "redis://127.0.0.1:1/0";
    let white = hooks(&format!("whitelist: ['{}']", hex('a')));
    let black = hooks(&format!("blacklist: ['{}']", hex('a')));
    let mut app = start(none, &white).await;
    assert_eq!(failure(&Say::plain('a').to(&app).await), None);
    let refused = Say::plain('b').to(&app).await;
    assert_eq!(failure(&refused).as_deref(), Some("unregistered torrent"));
    assert_eq!(number(&refused, "interval"), Some(60));
    app.reload(Plan::of(crate::scene::config(none, &black)).unwrap()).unwrap();
    assert_eq!(failure(&Say::plain('a').to(&app).await).as_deref(), Some("unapproved torrent"));
    assert_eq!(failure(&Say::plain('b').to(&app).await), None);
    let Some(Value::Dictionary(files)) = scrape(&app, 'a').await.get("files").cloned() else {
        panic!("files")
    };
    assert_eq!(
        number(&files[&b"aaaaaaaaaaaaaaaaaaaa".to_vec()], "incomplete"),
        Some(1),
        "no peer is dropped"
    );
    app.stop().await.unwrap();
}
