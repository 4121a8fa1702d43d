//! What the stream may hold, for how long, and what it makes of entries that no tracker wrote.

use std::time::Duration;

use harness::{RedisServer, eventually, eventually_async};
use redis::Commands;

use crate::scene::{Peer, STREAM, metric, start, until_counted};

/// Peers live for four seconds.
const SHORT: &str = ", peer_lifetime: 4s, gc_interval: 100ms";
const TEN_SECONDS: &str = ", peer_lifetime: 10s, gc_interval: 100ms";
const OFTEN: &str = "announce_interval: 1s\nmin_announce_interval: 1s";

fn entries(redis: &RedisServer) -> usize {
    redis.connection().xlen(STREAM).unwrap()
}

fn bytes(redis: &RedisServer) -> usize {
    let mut usage = redis::cmd("MEMORY");
    usage.arg("USAGE").arg(STREAM).arg("SAMPLES").arg(0);
    usage.query(&mut redis.connection()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_no_tracker_wrote_are_counted_and_skipped() {
    let redis = RedisServer::start();
    let app = start(&redis, "", "").await;
    let mut connection = redis.connection();
    let foreign: [(&[u8], &[u8]); 5] = [
        (b"visits", b"\x01garbage"),
        (b"visits", b"\x02of a newer release"),
        (b"visits", b""),
        (b"other", b"field"),
        (b"\xff", b"\xff"),
    ];
    for (field, value) in foreign {
        let _: String = connection.xadd(STREAM, "*", &[(field, value)]).unwrap();
    }
    let other = start(&redis, "", "").await;
    Peer::seeder('s').announces_to(&other).await;
    until_counted(&app, (1, 0, 0)).await;
    for app in [app, other] {
        assert!((metric(&app, "sharing_malformed_entries_total").await - 5.0).abs() < 0.1);
        app.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_heard_of_late_does_not_live_longer() {
    let redis = RedisServer::start();
    let first = start(&redis, TEN_SECONDS, OFTEN).await;
    Peer::seeder('s').announces_to(&first).await;
    let seen = std::time::Instant::now();
    eventually("the visit is shared", || (entries(&redis) == 1).then_some(()));
    let late = eventually_async("most of the peer's life is over", async || {
        (seen.elapsed() > Duration::from_secs(6)).then_some(())
    });
    late.await;
    let second = start(&redis, TEN_SECONDS, OFTEN).await;
    until_counted(&second, (1, 0, 0)).await;
    until_counted(&second, (0, 0, 0)).await;
    // Seconds are whole, and the sweeper comes by every 100 ms: counted from when the second tracker heard of
    // it, it would be 16 seconds.
    assert!(seen.elapsed() < Duration::from_secs(15), "{:?}", seen.elapsed());
    let third = start(&redis, TEN_SECONDS, OFTEN).await;
    Peer::leecher('l').announces_to(&first).await;
    until_counted(&third, (0, 1, 0)).await;
    assert!(metric(&third, "sharing_received_visits_total").await < 1.5, "the peer that is gone is no news");
    for app in [first, second, third] {
        app.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_forgets_what_is_too_old_and_goes_away_with_the_last_tracker() {
    let redis = RedisServer::start();
    let app = start(&redis, SHORT, OFTEN).await;
    Peer::leecher('a').announces_to(&app).await;
    // Trimming goes by whole nodes of a hundred entries: it takes more than one to see it.
    let mut connection = redis.connection();
    for _ in 0..300 {
        let _: String = connection.xadd(STREAM, "*", &[("visits", "")]).unwrap();
    }
    eventually_async("what is too old is trimmed", async || {
        Peer::leecher('a').announces_to(&app).await;
        (entries(&redis) < 120).then_some(())
    })
    .await;
    let left: i64 = connection.pttl(STREAM).unwrap();
    assert!((1..=64_000).contains(&left), "the key expires: {left}");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_takes_no_more_room_than_it_may() {
    let redis = RedisServer::start();
    let app = start(&redis, ", max_bytes: 1048576", "").await;
    let large = vec![1_u8; 80_000];
    for _ in 0..3 {
        // The room is kept second by second: what comes within one goes together.
        let mut crowd = redis::pipe();
        for _ in 0..8 {
            crowd.cmd("XADD").arg(STREAM).arg("*").arg("visits").arg(&large).ignore();
        }
        let () = crowd.query(&mut redis.connection()).unwrap();
        let second = std::time::Instant::now();
        eventually("the next second", || (second.elapsed() > Duration::from_millis(1100)).then_some(()));
    }
    assert_eq!(entries(&redis), 24);
    eventually_async("the oldest are trimmed", async || {
        Peer::leecher('a').announces_to(&app).await;
        let used = bytes(&redis);
        (used < 1_400_000).then_some(())
    })
    .await;
    assert!(metric(&app, "sharing_stream_bytes").await < 1_048_577.0);
    app.stop().await.unwrap();
}
