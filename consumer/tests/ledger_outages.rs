//! The ledger away, replaced, locked, full or slow: the consumer holds a few batches, says what it waits for,
//! and goes on without a loss once the right ledger is back.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use std::path::{Path, PathBuf};
use std::process::Command;

use books::groups::backlog;
use consumer::app::App;
use consumer::config::Config;
use consumer::pump::MOST_IN_FLIGHT;
use harness::{RedisServer, eventually, eventually_async};
use scene::{LedgerFile, T0, append, config, connect, count, event};
use scene::{all_acknowledged, get, settled, start};

fn not_ready_because(app: &App, reason: &str) {
    eventually(&format!("readiness says: {reason}"), || {
        let page = get(app.metrics_addr, "/readyz");
        (page.contains("503") && page.contains(reason)).then_some(())
    });
}

fn figure(app: &App, name: &str) -> String {
    let page = get(app.metrics_addr, "/metrics");
    let line = page.lines().find(|line| line.starts_with(&format!("seedbook_consumer_{name} ")));
    line.unwrap().split(' ').nth(1).unwrap().to_owned()
}

fn appended(redis: &RedisServer, range: std::ops::Range<u64>) {
    let mut connection = redis.connection();
    for i in range {
        append(&mut connection, &event(T0 + i));
    }
}

async fn settling(redis: &RedisServer, file: &LedgerFile, batch_size: usize) -> App {
    appended(redis, 0..1);
    let app = start(&Config { batch_size, ..config(redis, &file.url(), "one") }).await;
    settled(file, 1, 1000).await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_moved_away_is_waited_for_and_not_made_anew() {
    let redis = RedisServer::start();
    let place = tempfile::tempdir().unwrap();
    let (folder, elsewhere) = (place.path().join("ledger"), place.path().join("elsewhere"));
    std::fs::create_dir(&folder).unwrap();
    let database = |folder: &Path| format!("sqlite://{}/ledger.db", folder.display());
    appended(&redis, 0..1);
    let app = start(&config(&redis, &database(&folder), "one")).await;
    all_acknowledged(&redis).await;
    std::fs::rename(&folder, &elsewhere).unwrap();
    appended(&redis, 1..4);
    not_ready_because(&app, "cannot open the ledger");
    assert!(!folder.exists(), "no new ledger in the place of the one that is away");

    std::fs::rename(&elsewhere, &folder).unwrap();
    all_acknowledged(&redis).await;
    let sql = rusqlite::Connection::open(folder.join("ledger.db")).unwrap();
    let up: i64 = sql.query_row("SELECT raw_up FROM user_traffic", [], |row| row.get(0)).unwrap();
    assert_eq!((up, count(&mut redis.connection(), &["XLEN", "tracker:traffic:dlq"])), (4000, 0));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ledger_in_the_place_of_the_open_one_is_refused() {
    let (redis, file, other) = (RedisServer::start(), LedgerFile::new(), LedgerFile::new());
    let app = settling(&redis, &file, 10).await;
    drop(other.open());
    let aside = exchange(&file.path(), &other.path());
    appended(&redis, 1..4);
    not_ready_because(&app, "another ledger");
    let rows: i64 = file.sql().query_row("SELECT count(*) FROM settled_events", [], |r| r.get(0)).unwrap();
    assert_eq!(rows, 0, "nothing is settled into the wrong one");

    put(&aside, &file.path());
    settled(&file, 4, 4000).await;
    app.stop().await.unwrap();
}

/// A copy of the ledger as it is now.
fn backup(file: &LedgerFile) -> PathBuf {
    let backup = file.folder.path().join("backup.db");
    file.sql().execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    backup
}

/// As SQLite restores a backup: into the file that is open, whose inode stays.
fn restored_in_place(file: &LedgerFile, backup: &Path) {
    let mut sql = file.sql();
    sql.restore("main", backup, None::<fn(rusqlite::backup::Progress)>).unwrap();
}

fn pending(redis: &RedisServer) -> u64 {
    let pending: Vec<redis::Value> =
        redis::cmd("XPENDING").arg(&["tracker:traffic", "site"]).query(&mut redis.connection()).unwrap();
    match pending[0] {
        redis::Value::Int(pending) => u64::try_from(pending).unwrap(),
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_ledger_is_refused_also_by_a_consumer_that_is_started_later() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let app = settling(&redis, &file, 10).await;
    all_acknowledged(&redis).await;
    let backup = backup(&file);
    appended(&redis, 1..2);
    settled(&file, 2, 2000).await;
    all_acknowledged(&redis).await;
    exchange(&file.path(), &backup);
    appended(&redis, 2..3);
    not_ready_because(&app, "older copy, which lacks 1 transactions");
    app.stop().await.unwrap();

    let restarted = start(&config(&redis, &file.url(), "two")).await;
    not_ready_because(&restarted, "trackerctl ledger adopt");
    assert_eq!(pending(&redis), 1, "it waits for its ledger");
    restarted.stop().await.unwrap();
}

/// The second consumer has seen nothing of what the first one settled since.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_restored_in_place_is_refused_by_a_consumer_that_was_idle() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let idle = settling(&redis, &file, 10).await;
    all_acknowledged(&redis).await;
    let busy = start(&config(&redis, &file.url(), "busy")).await;
    let backup = backup(&file);
    appended(&redis, 1..20);
    settled(&file, 20, 20_000).await;
    all_acknowledged(&redis).await;
    busy.stop().await.unwrap();
    restored_in_place(&file, &backup);
    appended(&redis, 20..21);
    not_ready_because(&idle, "the ledger is an older copy");
    settled(&file, 1, 1000).await;
    idle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_ledger_is_refused_where_redis_knows_of_one() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let app = settling(&redis, &file, 10).await;
    all_acknowledged(&redis).await;
    app.stop().await.unwrap();
    let other = LedgerFile::new();
    appended(&redis, 1..2);
    let app = start(&config(&redis, &other.url(), "one")).await;
    not_ready_because(&app, "Redis knows of a ledger");
    assert!(!other.path().exists(), "and none is made");
    drop(other.open());
    not_ready_because(&app, "another ledger");
    app.stop().await.unwrap();
}

/// Puts `new` in the place of `path` and says where the old file is now, with its log beside it.
fn exchange(path: &Path, new: &Path) -> PathBuf {
    let aside = path.with_file_name("aside.db");
    put(path, &aside);
    put(new, path);
    aside
}

fn put(from: &Path, to: &Path) {
    for tail in ["", "-wal", "-shm"] {
        let name = |path: &Path| PathBuf::from(format!("{}{tail}", path.display()));
        match std::fs::rename(name(from), name(to)) {
            Ok(()) => {}
            Err(_) => drop(std::fs::remove_file(name(to))),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_ledger_leaves_a_few_batches_in_hand_and_the_rest_in_the_stream() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let app = settling(&redis, &file, 5).await;
    let lock = file.sql();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (batch, all) = (5, 20 * MOST_IN_FLIGHT as u64);
    appended(&redis, 1..1 + all);
    not_ready_because(&app, "locked");
    let mut connection = connect(&redis).await;
    let waiting = backlog(&mut connection, "tracker:traffic", "site").await.unwrap();
    assert!((1..=batch * MOST_IN_FLIGHT as u64).contains(&waiting.pending), "{waiting:?}");
    assert_eq!(waiting.pending + waiting.undelivered, all);
    assert_eq!(count(&mut redis.connection(), &["XLEN", "tracker:traffic:dlq"]), 0);

    lock.execute_batch("ROLLBACK").unwrap();
    settled(&file, 161, 161_000).await;
    all_acknowledged(&redis).await;
    assert!(get(app.metrics_addr, "/readyz").contains("200 OK"));
    app.stop().await.unwrap();
}

/// All in one step, so that a reader finds them all there.
fn appended_at_once(redis: &RedisServer, range: std::ops::Range<u64>) {
    let mut all = redis::pipe();
    all.atomic();
    for i in range {
        let add = all.cmd("XADD").arg("tracker:traffic").arg("*");
        for (name, value) in event(T0 + i).to_fields() {
            add.arg(name).arg(value);
        }
    }
    all.query::<redis::Value>(&mut redis.connection()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gathers_while_the_ledger_is_busy_is_settled_in_one_transaction() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let app = settling(&redis, &file, 5).await;
    all_acknowledged(&redis).await;
    let lock = file.sql();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let all = 5 * MOST_IN_FLIGHT as u64;
    appended_at_once(&redis, 1..1 + all);
    let mut connection = connect(&redis).await;
    eventually_async("all of it is in hand", || {
        let mut connection = connection.clone();
        async move {
            let waiting = backlog(&mut connection, "tracker:traffic", "site").await.unwrap();
            (waiting.pending == all).then_some(())
        }
    })
    .await;
    lock.execute_batch("ROLLBACK").unwrap();
    settled(&file, 41, 41_000).await;
    all_acknowledged(&redis).await;
    assert_eq!(figure(&app, "batch_entries_count"), "3", "one before, the one that waited, and all others");
    assert_eq!(backlog(&mut connection, "tracker:traffic", "site").await.unwrap().pending, 0);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_ledger_is_waited_for_without_an_error() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let app = settling(&redis, &file, 5).await;
    let lock = file.sql();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    appended(&redis, 1..4);
    eventually("the batch is in hand", || {
        let pending: Vec<redis::Value> =
            redis::cmd("XPENDING").arg(&["tracker:traffic", "site"]).query(&mut redis.connection()).unwrap();
        (pending[0] != redis::Value::Int(0)).then_some(())
    });
    assert!(get(app.metrics_addr, "/readyz").contains("200 OK"));
    lock.execute_batch("COMMIT").unwrap();
    settled(&file, 4, 4000).await;
    assert_eq!(figure(&app, "ledger_errors_total"), "0");
    app.stop().await.unwrap();
}

/// A small disk of the test's own, as `scripts/test` may mount it. Unmounted on drop.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2m", "seedbook-test"]).arg(disk.0.path());
        let mounted = mount.status().unwrap().success();
        assert!(mounted, "mounting needs root: run scripts/test, which arranges it, or `cargo test` as root");
        disk
    }

    /// Takes all space that is left.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.path().join("ballast");
        drop(std::fs::write(&ballast, vec![0_u8; 4 << 20]));
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_for_and_loses_nothing() {
    let (redis, disk) = (RedisServer::start(), SmallDisk::mount());
    let database = disk.0.path().join("ledger.db");
    appended(&redis, 0..1);
    let settings = config(&redis, &format!("sqlite://{}", database.display()), "one");
    let app = start(&Config { batch_size: 1000, ..settings }).await;
    all_acknowledged(&redis).await;
    let ballast = disk.fill();
    appended(&redis, 1..3001);
    not_ready_because(&app, "full");
    let connection = rusqlite::Connection::open(&database).unwrap();
    let totals = || {
        let sql = "SELECT raw_up, (SELECT count(*) FROM settled_events) FROM user_traffic";
        connection.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap()
    };
    let (up, rows) = totals();
    assert_eq!(up, rows * 1000, "a batch is there as a whole or not at all");
    assert!(rows < 3001);

    std::fs::remove_file(ballast).unwrap();
    all_acknowledged(&redis).await;
    assert_eq!(totals(), (3_001_000, 3001));
    app.stop().await.unwrap();
}
