//! A tracker that begins knows everybody.

use std::path::Path;
use std::time::Instant;

use harness::{RedisServer, Service, free_port};
use redis::Commands;

use crate::scene::{Peer, STREAM, start, until_counted, until_counted_at};

fn launch(redis: &RedisServer, folder: &Path, port: u16) -> Service {
    let text = format!(
        "http: {{addr: '[::]:{port}', workers: 1, allow_ip_spoofing: true, scrape_downloaded: true}}\nredis_broker: {}\nstorage: {{name: redis}}\n",
        redis.url()
    );
    Service::start("tracker", folder, &text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_was_killed_knows_the_whole_swarm_before_anybody_announces() {
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut tracker = launch(&redis, folder.path(), port);
    let peers = ('a'..='y').map(|name| if name < 'm' { Peer::seeder(name) } else { Peer::leecher(name) });
    for peer in peers {
        peer.announces_at(port).await;
    }
    Peer { event: "stopped", ..Peer::seeder('a') }.announces_at(port).await;
    let witness = start(&redis, "", "").await;
    until_counted(&witness, (11, 13, 0)).await;
    witness.stop().await.unwrap();
    tracker.kill();
    let tracker = launch(&redis, folder.path(), port);
    until_counted_at(port, (11, 13, 0)).await;
    let offered = Peer::seeder('z').announces_at(port).await;
    assert_eq!(offered.len(), 13, "the leechers: {offered:?}");
    drop(tracker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_stops_tells_of_its_last_visits() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "", "").await, start(&redis, "", "").await);
    Peer::seeder('a').announces_to(&a).await;
    until_counted(&b, (1, 0, 0)).await;
    // Redis is slow just then: the visits still wait when the frontends are gone.
    let () = redis::cmd("CLIENT").arg("PAUSE").arg(600).arg("WRITE").query(&mut redis.connection()).unwrap();
    for name in 'b'..='y' {
        Peer::seeder(name).announces_to(&a).await;
    }
    a.stop().await.unwrap();
    until_counted(&b, (25, 0, 0)).await;
    b.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn visits_that_follow_each_other_closely_travel_together() {
    let redis = RedisServer::start();
    let app = start(&redis, "", "").await;
    let began = Instant::now();
    for _ in 0..300 {
        Peer::leecher('l').announces_to(&app).await;
    }
    app.stop().await.unwrap();
    let entries: u128 = redis.connection().xlen(STREAM).unwrap();
    let pauses = began.elapsed().as_millis() / 50;
    assert!(
        (1..=pauses + 2).contains(&entries),
        "300 visits made {entries} entries in {:?}",
        began.elapsed()
    );
}
