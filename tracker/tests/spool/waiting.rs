//! Redis is there and takes nothing, for one reason or another: the tracker waits it out.

use std::time::{Duration, Instant};

use harness::{RedisServer, eventually};
use redis::{Commands, Connection};
use tracker::app::App;

use crate::scene::{MIB, Scene, accepted, becomes, config, metric, run, totals};
use tracker::config::Plan;

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_became_a_replica_is_waited_for() {
    let scene = Scene::open().await;
    scene.survives(|redis| run(redis, "REPLICAOF 127.0.0.1 1"), |redis| run(redis, "REPLICAOF NO ONE")).await;
    let stale = |redis: &mut Connection| {
        run(redis, "CONFIG SET replica-serve-stale-data no");
        run(redis, "REPLICAOF 127.0.0.1 1");
    };
    let mut look = scene.redis.connection();
    stale(&mut look);
    accepted(&scene.app, 0, 460).await;
    run(&mut look, "REPLICAOF NO ONE");
    scene.becomes("direct").await;
    assert_eq!(totals(&scene.redis), [360, 350, 350]);
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_memory_is_waited_for() {
    let scene = Scene::open().await;
    scene
        .survives(|redis| run(redis, "CONFIG SET maxmemory 1"), |redis| run(redis, "CONFIG SET maxmemory 0"))
        .await;
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_with_too_few_replicas_is_waited_for() {
    let scene = Scene::open().await;
    let demand = |redis: &mut Connection| run(redis, "CONFIG SET min-replicas-to-write 1");
    scene.survives(demand, |redis| run(redis, "CONFIG SET min-replicas-to-write 0")).await;
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lets_nobody_in_is_waited_for() {
    let scene = Scene::open().await;
    let lock = |redis: &mut Connection| {
        run(redis, "CONFIG SET requirepass sesame");
        run(redis, "CLIENT KILL TYPE normal SKIPME yes");
    };
    scene.survives(lock, |redis| run(redis, "CONFIG SET requirepass ''")).await;
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forbids_scripts_or_keys_is_waited_for() {
    let scene = Scene::open().await;
    scene
        .survives(
            |redis| run(redis, "ACL SETUSER default -evalsha"),
            |redis| run(redis, "ACL SETUSER default +evalsha"),
        )
        .await;
    let scene = Scene::open().await;
    let keys =
        |redis: &mut Connection| run(redis, "ACL SETUSER default resetkeys ~tracker:r* ~tracker:t* ~pt:*");
    scene.survives(keys, |redis| run(redis, "ACL SETUSER default ~*")).await;
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_a_script_keeps_busy_is_waited_for() {
    let scene = Scene::open().await;
    let mut other = scene.redis.connection();
    let busy = |redis: &mut Connection| {
        run(redis, "CONFIG SET busy-reply-threshold 50");
        std::thread::spawn(move || drop(redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut other)));
        eventually("busy", || redis::cmd("PING").exec(redis).is_err().then_some(()));
    };
    scene.survives(busy, |redis| run(redis, "SCRIPT KILL")).await;
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_redis_books_after_all_is_not_booked_again() {
    let scene = Scene::with(RedisServer::start_with(&["--enable-debug-command", "yes"])).await;
    let mut sleeper = scene.redis.connection();
    let mut asleep = None;
    let mut look = scene.redis.connection();
    look.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let sleep = |_: &mut Connection| {
        asleep = Some(std::thread::spawn(move || run(&mut sleeper, "DEBUG SLEEP 2.5")));
        eventually("it sleeps", || redis::cmd("PING").exec(&mut look).is_err().then_some(()));
    };
    let began = Instant::now();
    scene.survives(sleep, |_| {}).await;
    assert!(began.elapsed() > Duration::from_secs(2));
    asleep.unwrap().join().unwrap();
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_cannot_be_written_is_waited_for() {
    let scene = Scene::open().await;
    let take_away = |redis: &mut Connection| {
        run(redis, "RENAME tracker:traffic aside");
        run(redis, "SET tracker:traffic foreign");
    };
    scene.survives(take_away, |redis| run(redis, "RENAME aside tracker:traffic")).await;
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_value_under_one_snapshot_holds_up_nobody_else_and_is_tried_again_at_the_next_start() {
    let scene = Scene::open().await;
    for user in 0..2 {
        accepted(&scene.app, user, 100).await;
    }
    let mut look = scene.redis.connection();
    let keys: Vec<String> = look.keys("tracker:last:user0:*").unwrap();
    run(&mut look, "ACL SETUSER default -evalsha");
    for user in 0..2 {
        accepted(&scene.app, user, 300).await;
    }
    run(&mut look, &format!("RENAME {} aside", keys[0]));
    run(&mut look, &format!("SET {} foreign", keys[0]));
    run(&mut look, "ACL SETUSER default +evalsha");
    scene.becomes("direct").await;
    assert_eq!(totals(&scene.redis), [200]);
    assert_eq!(metric(&scene.app, "spool_set_aside_total").await, 1);
    scene.app.stop().await.unwrap();
    run(&mut look, &format!("RENAME aside {}", keys[0]));
    let next = config(&scene.redis.url(), &scene.folder.path().join("spool"), MIB, 1);
    let app = App::start(Plan::of(next.clone()).unwrap()).await.unwrap();
    becomes(&app, "direct").await;
    assert_eq!(totals(&scene.redis), [200, 200]);
    app.stop().await.unwrap();
}
