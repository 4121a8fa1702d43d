//! What comes back is not the Redis that went away: empty, or a replica that took over.

use harness::{RedisServer, eventually_async};

use crate::scene::{Scene, accepted, announce, approve, failure, metric, run, totals};

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_empty_is_given_again_what_it_confirmed() {
    let scene = Scene::open().await;
    for uploaded in [100, 200, 300] {
        accepted(&scene.app, 0, uploaded).await;
    }
    let mut look = scene.redis.connection();
    run(&mut look, "CONFIG SET maxmemory 1");
    accepted(&scene.app, 0, 400).await;
    run(&mut look, "FLUSHALL");
    run(&mut look, "CONFIG SET maxmemory 0");
    scene.becomes("direct").await;
    approve(&scene.redis);
    eventually_async("approved again", async || {
        failure(&announce(&scene.app, 0, 450, "").await).is_none().then_some(())
    })
    .await;
    assert_eq!(totals(&scene.redis), [350], "from 100, the first that the old Redis saw");
    assert_eq!(metric(&scene.app, "redis_lost_reports_total").await, 0);
    assert_eq!(metric(&scene.app, "redis_restored_total").await, 3);
    scene.app.stop().await.unwrap();
}

/// A tracker on a master, and its replica, which follows.
async fn replicated() -> (Scene, RedisServer) {
    let scene = Scene::open().await;
    let replica = RedisServer::replica_of(&scene.redis);
    (scene, replica)
}

/// Until the replica has what the master had when this was called.
fn caught_up(master: &RedisServer) {
    let mut master = master.connection();
    run(&mut master, "SET mark 1");
    let replicas: u8 = redis::cmd("WAIT").arg(1).arg(10_000).query(&mut master).unwrap();
    assert_eq!(replicas, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_takes_over_goes_on_where_the_master_died() {
    let (mut scene, replica) = replicated().await;
    for uploaded in [100, 250] {
        accepted(&scene.app, 0, uploaded).await;
    }
    caught_up(&scene.redis);
    scene.redis.kill();
    accepted(&scene.app, 0, 300).await;
    scene.redis = replica.take_over(scene.redis);
    // The address answers, but not as a master yet: READONLY.
    accepted(&scene.app, 0, 400).await;
    assert_eq!(metric(&scene.app, "recorder_state{state=\"spooling\"}").await, 1);
    run(&mut scene.redis.connection(), "REPLICAOF NO ONE");
    scene.becomes("direct").await;
    accepted(&scene.app, 0, 450).await;
    assert_eq!(totals(&scene.redis), [350]);
    assert_eq!(metric(&scene.app, "redis_lost_reports_total").await, 0);
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_had_not_heard_of_everything_is_given_it_again() {
    let (mut scene, replica) = replicated().await;
    accepted(&scene.app, 0, 100).await;
    caught_up(&scene.redis);
    run(&mut replica.connection(), "REPLICAOF NO ONE");
    for uploaded in [200, 300] {
        accepted(&scene.app, 0, uploaded).await;
    }
    scene.redis.kill();
    scene.redis = replica.take_over(scene.redis);
    run(&mut scene.redis.connection(), "REPLICAOF NO ONE");
    eventually_async("the tracker reached the successor", async || {
        accepted(&scene.app, 0, 450).await;
        (metric(&scene.app, "redis_restored_total").await == 2).then_some(())
    })
    .await;
    scene.becomes("direct").await;
    assert_eq!(totals(&scene.redis), [350]);
    assert_eq!(metric(&scene.app, "redis_lost_reports_total").await, 0);
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_replica_answers_when_it_has_the_announce_and_spools_without_one() {
    let redis = RedisServer::start();
    let replica = RedisServer::replica_of(&redis);
    caught_up(&redis);
    let scene = Scene::told(redis, "wait_replicas: 1").await;
    accepted(&scene.app, 0, 100).await;
    drop(replica);
    accepted(&scene.app, 0, 200).await;
    assert_eq!(metric(&scene.app, "recorder_state{state=\"spooling\"}").await, 1, "no replica has it");
    let _replica = RedisServer::replica_of(&scene.redis);
    scene.becomes("direct").await;
    accepted(&scene.app, 0, 300).await;
    assert_eq!(totals(&scene.redis), [200]);
    scene.app.stop().await.unwrap();
}
