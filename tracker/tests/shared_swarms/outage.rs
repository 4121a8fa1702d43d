//! Redis away, and back.

use std::time::{Duration, Instant};

use harness::{RedisServer, eventually_async};

use crate::scene::{Peer, STREAM, metric, scrape, start, until_counted};

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_announces_are_answered_and_afterwards_all_is_shared() {
    let mut redis = RedisServer::start();
    let (a, b) = (start(&redis, "", "").await, start(&redis, "", "").await);
    Peer::seeder('s').announces_to(&a).await;
    until_counted(&b, (1, 0, 0)).await;
    redis.kill();
    let began = Instant::now();
    assert_eq!(Peer::leecher('l').announces_to(&a).await, [Peer::seeder('s').endpoint()]);
    Peer { event: "stopped", ..Peer::seeder('s') }.announces_to(&a).await;
    assert_eq!(Peer::leecher('m').announces_to(&b).await, [Peer::seeder('s').endpoint()], "what it knew");
    assert!(began.elapsed() < Duration::from_secs(2), "nobody waited for Redis: {:?}", began.elapsed());
    eventually_async("the reader says that it is behind", async || {
        (metric(&b, "sharing_lag_seconds").await > 0.0).then_some(())
    })
    .await;
    redis.restart();
    for app in [&a, &b] {
        until_counted(app, (0, 2, 0)).await;
    }
    Peer::seeder('t').announces_to(&b).await;
    until_counted(&a, (1, 2, 0)).await;
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_everything_is_read_from_its_beginning() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "", "").await, start(&redis, "", "").await);
    Peer::seeder('s').announces_to(&a).await;
    until_counted(&b, (1, 0, 0)).await;
    // As after a fail-over to a machine whose clock is behind: the ids begin anew, below those that were
    // read.
    let mut connection = redis.connection();
    let now: (u64, u64) = redis::cmd("TIME").query(&mut connection).unwrap();
    let script = "redis.call('DEL', KEYS[1]) return redis.call('XADD', KEYS[1], ARGV[1], 'visits', '')";
    let id = format!("{}-0", now.0 * 1000 - 60_000);
    let _: String = redis::Script::new(script).key(STREAM).arg(id).invoke(&mut connection).unwrap();
    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").query::<()>(&mut connection).ok();
    eventually_async("the entry below those that were read is seen", async || {
        (metric(&b, "sharing_malformed_entries_total").await > 0.5).then_some(())
    })
    .await;
    Peer::leecher('l').announces_to(&a).await;
    until_counted(&b, (1, 1, 0)).await;
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_never_saw_redis_works_alone_and_stops_in_time() {
    let mut redis = RedisServer::start();
    redis.kill();
    let app = start(&redis, "", "").await;
    Peer::seeder('s').announces_to(&app).await;
    assert_eq!(scrape(&app).await, (1, 0, 0));
    let began = Instant::now();
    app.stop().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
