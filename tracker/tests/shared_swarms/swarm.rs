//! What clients see of it: peers of the other tracker, once, on the right side.

use harness::RedisServer;
use redis::Commands;

use crate::scene::{PRIVATE, Peer, metric, scrape, start, udp, until_counted};
use crate::udp_client::Answer;

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_one_tracker_is_offered_by_the_other_over_http_in_both_families() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "", "").await, start(&redis, "", "").await);
    let (v4, v6) = (Peer::seeder('s'), Peer { ip: "2001:db8::1", ..Peer::seeder('t') });
    v4.announces_to(&a).await;
    v6.announces_to(&a).await;
    until_counted(&b, (2, 0, 0)).await;
    let mut offered = Peer::leecher('l').announces_to(&b).await;
    offered.sort_unstable();
    assert_eq!(offered, [v4.endpoint(), v6.endpoint()]);
    until_counted(&a, (2, 1, 0)).await;
    assert_eq!(v4.announces_to(&a).await, [Peer::leecher('l').endpoint()]);
    for (app, shared, received) in [(&a, 3.0, 1.0), (&b, 1.0, 2.0)] {
        // What others know already is shared too, and the second visit of the seeder may still be on its way.
        assert!(metric(app, "sharing_shared_visits_total").await >= shared - 1.0);
        let news = metric(app, "sharing_received_visits_total").await;
        assert!((received..=received + 1.0).contains(&news), "{news}: no tracker learns from itself");
    }
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_clients_meet_clients_of_the_other_tracker() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "", "").await, start(&redis, "", "").await);
    for (here, there, counts) in
        [("127.0.0.1", "127.0.0.1:1001", (1, 0, 0)), ("::1", "[::1]:1001", (2, 1, 0))]
    {
        udp(&a, here).announce(|a| (a.left, a.port) = (0, 1001));
        until_counted(&b, counts).await;
        let Answer::Announced { peers, .. } = udp(&b, here).announce(|a| (a.left, a.port) = (9, 1002)) else {
            panic!("no answer")
        };
        assert_eq!(peers, [there.parse().unwrap()]);
        until_counted(&a, (counts.0, counts.1 + 1, 0)).await;
    }
    let Answer::Scraped(swarms) = udp(&b, "::1").scrape(&[[b'i'; 20]]) else { panic!("no answer") };
    assert_eq!((swarms[0].complete, swarms[0].incomplete), (2, 2));
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_completes_changes_sides_and_who_stops_goes_everywhere() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "", "").await, start(&redis, "", "").await);
    let client = Peer::leecher('c');
    client.announces_to(&a).await;
    until_counted(&b, (0, 1, 0)).await;
    let seeder = Peer { left: 0, event: "completed", ..client };
    seeder.announces_to(&a).await;
    until_counted(&b, (1, 0, 1)).await;
    // The same client at the other tracker of the site, as most do: still one client, one download.
    seeder.announces_to(&b).await;
    Peer { ip: "2001:db8::9", event: "", ..seeder }.announces_to(&b).await;
    Peer::leecher('l').announces_to(&b).await;
    until_counted(&a, (1, 1, 1)).await;
    Peer { event: "stopped", ..seeder }.announces_to(&b).await;
    until_counted(&a, (0, 1, 1)).await;
    assert_eq!(scrape(&b).await, (0, 1, 1));
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_own_client_at_the_other_tracker_is_not_offered() {
    let redis = RedisServer::start();
    let _: () = redis.connection().sadd("pt:passkeys", &["alice", "bob"]).unwrap();
    let (a, b) = (start(&redis, "", PRIVATE).await, start(&redis, "", PRIVATE).await);
    let home = Peer { passkey: "alice", ..Peer::seeder('h') };
    home.announces_to(&a).await;
    until_counted(&b, (1, 0, 0)).await;
    let away = Peer { passkey: "alice", ..Peer::leecher('a') };
    assert_eq!(away.announces_to(&b).await, []);
    let friend = Peer { passkey: "bob", ..Peer::leecher('f') };
    let mut offered = friend.announces_to(&b).await;
    offered.sort_unstable();
    assert_eq!(offered, [away.endpoint(), home.endpoint()]);
    until_counted(&a, (1, 2, 0)).await;
    assert_eq!(home.announces_to(&a).await, [friend.endpoint()]);
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_with_different_prefixes_do_not_meet() {
    let redis = RedisServer::start();
    let (a, b) = (start(&redis, "", "key_prefix: 'a:'").await, start(&redis, "", "key_prefix: 'b:'").await);
    let newer_protocol = format!(", redis_broker: '{}?protocol=resp3'", redis.url());
    let witness = start(&redis, &newer_protocol, "key_prefix: 'a:'").await;
    Peer::seeder('s').announces_to(&a).await;
    until_counted(&witness, (1, 0, 0)).await;
    assert_eq!(scrape(&b).await, (0, 0, 0));
    assert!(redis.connection().exists::<_, bool>("a:tracker:swarm").unwrap());
    for app in [a, b, witness] {
        app.stop().await.unwrap();
    }
}
