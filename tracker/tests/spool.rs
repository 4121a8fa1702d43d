//! The running tracker while Redis is away or takes nothing: clients are answered, and afterwards the stream holds every byte.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{RedisServer, eventually_async};
use redis::{Commands, Connection};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracker::app::App;
use tracker::bencode::{Value, parse};
use tracker::config::Config;

/// A tracker with a spool of so many bytes.
fn config(redis: &str, spool: &Path, max_bytes: u64, retries: u32) -> Config {
    let text = format!(
        "http: {{addr: '127.0.0.1:0', workers: 2}}\nmetrics_addr: 127.0.0.1:0\nredis_broker: {redis}\n\
         hooks:\n  prehooks:\n  - name: passkey approval\n  posthooks:\n  - name: traffic push\n    options:\n      \
         retry_count: {retries}\n      retry_interval: 20ms\n      redis_connect_timeout: 500ms\n      \
         redis_read_timeout: 500ms\n      redis_write_timeout: 500ms\n      \
         spool: {{directory: '{}', max_bytes: {max_bytes}}}\n",
        spool.display()
    );
    Config::load(Some(&text), []).unwrap()
}

const MIB: u64 = 1024 * 1024;

/// One Redis, one tracker, one folder.
struct Scene {
    redis: RedisServer,
    app: App,
    folder: TempDir,
}

impl Scene {
    async fn open() -> Self {
        Self::with(RedisServer::start()).await
    }

    async fn with(redis: RedisServer) -> Self {
        let folder = TempDir::new().unwrap();
        approve(&redis);
        let app = App::start(&config(&redis.url(), &folder.path().join("spool"), 16 * MIB, 1)).await.unwrap();
        let scene = Self { redis, app, folder };
        scene.becomes("direct").await;
        scene
    }

    async fn becomes(&self, state: &str) {
        becomes(&self.app, state).await;
    }

    /// Announces are answered while `break_it` lasts, and everything is in the stream after `mend`.
    async fn survives(&self, break_it: impl FnOnce(&mut Connection), mend: impl FnOnce(&mut Connection)) {
        let mut look = self.redis.connection();
        for user in 0..3 {
            accepted(&self.app, user, 100).await;
        }
        break_it(&mut look);
        for uploaded in [250, 400] {
            for user in 0..3 {
                accepted(&self.app, user, uploaded).await;
            }
        }
        assert_eq!(metric(&self.app, "recorder_state{state=\"spooling\"}").await, 1);
        assert!(metric(&self.app, "spool_records").await > 0);
        mend(&mut look);
        self.becomes("direct").await;
        assert_eq!(metric(&self.app, "spool_records").await, 0);
        for user in 0..3 {
            accepted(&self.app, user, 450).await;
        }
        assert_eq!(totals(&self.redis), [350, 350, 350]);
    }
}

fn approve(redis: &RedisServer) {
    let users: Vec<String> = (0..10).map(|user| format!("user{user}")).collect();
    let _: () = redis.connection().sadd("pt:passkeys", users).unwrap();
}

async fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    response.split_off(end + 4)
}

async fn announce(app: &App, user: u8, uploaded: u64, event: &str) -> Value {
    let peer = char::from(b'a' + user).to_string().repeat(20);
    let path = format!(
        "/user{user}/announce?info_hash=iiiiiiiiiiiiiiiiiiii&peer_id={peer}&port=6881&uploaded={uploaded}&downloaded=0&left=0&event={event}"
    );
    parse(&get(app.http_address, &path).await).unwrap()
}

fn failure(reply: &Value) -> Option<String> {
    let text = reply.get("failure reason").and_then(Value::as_bytes)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

async fn accepted(app: &App, user: u8, uploaded: u64) {
    assert_eq!(failure(&announce(app, user, uploaded, "").await), None);
}

/// Announces are refused from some point on: the reply, and how many were accepted before.
async fn until_refused(app: &App, first: u64) -> (Value, u64) {
    for uploaded in first.. {
        let reply = announce(app, 0, uploaded, "completed").await;
        if failure(&reply).is_some() {
            return (reply, uploaded);
        }
    }
    unreachable!()
}

/// A number on the metrics page; 0 when it is not there.
async fn metric(app: &App, name: &str) -> u64 {
    let page = String::from_utf8(get(app.admin_address, "/metrics").await).unwrap();
    let name = format!("seedbook_tracker_{name} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("0");
    value.parse().unwrap()
}

async fn becomes(app: &App, state: &str) {
    let name = format!("recorder_state{{state=\"{state}\"}}");
    eventually_async(&name, async || (metric(app, &name).await == 1).then_some(())).await;
}

/// Bytes per user in the stream, of those who moved any.
fn totals(redis: &RedisServer) -> Vec<u64> {
    let entries: redis::streams::StreamRangeReply = redis.connection().xrange_all("tracker:traffic").unwrap();
    let mut sums: HashMap<String, u64> = HashMap::new();
    for entry in &entries.ids {
        *sums.entry(entry.get("passkey").unwrap()).or_default() += entry.get::<u64>("du").unwrap();
    }
    let mut sums: Vec<(String, u64)> = sums.into_iter().filter(|(_, sum)| *sum > 0).collect();
    sums.sort();
    sums.into_iter().map(|(_, sum)| sum).collect()
}

fn run(connection: &mut Connection, command: &str) {
    let mut words = command.split(' ');
    let mut call = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        call.arg(if word == "''" { "" } else { word });
    });
    call.exec(connection).unwrap();
}

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
    let app = App::start(&next).await.unwrap();
    becomes(&app, "direct").await;
    accepted(&app, 0, 300).await;
    assert_eq!(totals(&scene.redis), [200]);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_says_when_to_come_back_and_loses_nothing() {
    let mut redis = RedisServer::start();
    approve(&redis);
    let folder = TempDir::new().unwrap();
    let app = App::start(&config(&redis.url(), folder.path(), 64 * 1024, 1)).await.unwrap();
    becomes(&app, "direct").await;
    accepted(&app, 0, 0).await;
    redis.kill();
    let (reply, refused) = until_refused(&app, 1).await;
    assert!(failure(&reply).unwrap().contains("spool is full"), "{reply:?}");
    assert_eq!(reply.get("retry in").and_then(Value::as_integer), Some(1));
    assert!(refused > 100, "{refused} fit into 64 KiB");
    let unready = String::from_utf8(get(app.admin_address, "/readyz").await).unwrap();
    assert!(unready.contains("spool"), "{unready}");
    redis.restart();
    becomes(&app, "direct").await;
    assert_eq!(totals(&redis), [refused - 1]);
    accepted(&app, 0, refused + 10).await;
    assert_eq!(totals(&redis), [refused + 10]);
    app.stop().await.unwrap();
}

/// A small file system of its own, unmounted on drop.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let folder = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(folder.path())
            .status();
        assert!(mounted.is_ok_and(|status| status.success()), "this test mounts a tmpfs, which needs root");
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0.path()).status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_loses_nothing_and_is_used_again_once_there_is_space() {
    let disk = SmallDisk::mount();
    let mut redis = RedisServer::start();
    approve(&redis);
    let app = App::start(&config(&redis.url(), &disk.0.path().join("spool"), 16 * MIB, 1)).await.unwrap();
    becomes(&app, "direct").await;
    accepted(&app, 0, 0).await;
    redis.kill();
    let filler = disk.0.path().join("filler");
    std::fs::write(&filler, vec![0; 200 * 1024]).unwrap();
    let (reply, refused) = until_refused(&app, 1).await;
    assert!(failure(&reply).unwrap().contains("disk does not take it"), "{reply:?}");
    assert_eq!(reply.get("retry in").and_then(Value::as_integer), Some(1));
    std::fs::remove_file(&filler).unwrap();
    for uploaded in refused..refused + 20 {
        accepted(&app, 0, uploaded).await;
    }
    redis.restart();
    becomes(&app, "direct").await;
    assert_eq!(totals(&redis), [refused + 19]);
    app.stop().await.unwrap();
}

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
        harness::eventually("busy", || redis::cmd("PING").exec(redis).is_err().then_some(()));
    };
    scene.survives(busy, |redis| run(redis, "SCRIPT KILL")).await;
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_redis_books_after_all_is_not_booked_again() {
    let scene = Scene::with(RedisServer::start_with(&["--enable-debug-command", "yes"])).await;
    let mut sleeper = scene.redis.connection();
    let mut asleep = None;
    let sleep = |_: &mut Connection| {
        asleep = Some(std::thread::spawn(move || run(&mut sleeper, "DEBUG SLEEP 2.5")));
        std::thread::sleep(Duration::from_millis(100)); // The server must have fallen asleep.
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
    let app = App::start(&next).await.unwrap();
    becomes(&app, "direct").await;
    assert_eq!(totals(&scene.redis), [200, 200]);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_empty_begins_at_a_baseline_and_says_so_loudly() {
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
    assert_eq!(totals(&scene.redis), [50], "from 400, the first that the new Redis saw");
    assert_eq!(metric(&scene.app, "redis_lost_reports_total").await, 3);
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_during_an_outage_hands_the_spool_on() {
    let mut scene = Scene::open().await;
    let mut look = scene.redis.connection();
    accepted(&scene.app, 0, 100).await;
    run(&mut look, "ACL SETUSER default -evalsha");
    accepted(&scene.app, 0, 200).await;
    let spool = scene.folder.path().join("spool");
    scene.app.reload(&config(&scene.redis.url(), &spool, 2 * MIB, 0)).unwrap();
    accepted(&scene.app, 0, 300).await;
    let elsewhere = config(&scene.redis.url(), &scene.folder.path().join("other"), MIB, 0);
    let refusal = format!("{:#}", scene.app.reload(&elsewhere).unwrap_err());
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
    scene.app.reload(&other).unwrap();
    let reply = announce(&scene.app, 0, 300, "").await;
    assert_eq!(failure(&reply), None);
    assert_eq!(reply.get("interval").and_then(Value::as_integer), Some(1200));
    scene.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_stops_the_start_and_is_named() {
    let scene = Scene::open().await;
    let problem = async |directory: &Path| {
        let config = config(&scene.redis.url(), directory, MIB, 1);
        format!("{:#}", App::start(&config).await.unwrap_err())
    };
    let spool = scene.folder.path().join("spool");
    let shared = problem(&spool).await;
    assert!(
        shared.contains("another tracker uses it") && shared.contains(&*spool.to_string_lossy()),
        "{shared}"
    );
    let file = scene.folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let unusable = problem(&file).await;
    assert!(unusable.contains("spool.directory") && unusable.contains("cannot be used"), "{unusable}");
    scene.app.stop().await.unwrap();
}
