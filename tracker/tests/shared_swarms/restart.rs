//! A tracker that begins knows everybody.

use std::path::Path;

use harness::{RedisServer, Service, eventually, free_port};
use redis::Commands;

use crate::scene::{Peer, STREAM, scrape_at, start, until_counted, until_counted_at};

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
    for name in 'a'..='y' {
        Peer::seeder(name).announces_to(&a).await;
    }
    a.stop().await.unwrap();
    until_counted(&b, (25, 0, 0)).await;
    b.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn visits_under_load_travel_in_batches() {
    let redis = RedisServer::start();
    let app = start(&redis, "", "").await;
    let port = app.http_address.port();
    for round in 0..40 {
        let crowd = ('a'..='y').map(|name| Peer::leecher(name).announces_at(port));
        futures_util::future::join_all(crowd).await;
        assert_eq!(scrape_at(port).await.1, 25, "round {round}");
    }
    app.stop().await.unwrap();
    let witness = start(&redis, "", "").await;
    until_counted(&witness, (0, 25, 0)).await;
    let entries: usize = redis.connection().xlen(STREAM).unwrap();
    assert!(entries < 500, "1000 visits made {entries} entries");
    eventually("the swarm is complete", || (entries > 0).then_some(()));
    witness.stop().await.unwrap();
}
