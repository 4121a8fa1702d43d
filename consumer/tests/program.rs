//! The program itself: its options, its exit codes, its end by signal and by force.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use harness::{RedisServer, eventually};
use scene::{LedgerFile, T0, append, event};

fn consumer(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consumer"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn check(args: &[&str], env: &[(&str, &str)]) -> Output {
    consumer(args).arg("--check").envs(env.iter().copied()).output().unwrap()
}

/// A running consumer that is killed when the test ends.
struct Running(Child);

impl Running {
    fn start(redis: &RedisServer, file: &LedgerFile) -> Self {
        let mut command = consumer(&["--redis", &redis.url(), "--database", &file.url()]);
        command.env("CONSUMER_METRICS_ADDR", "127.0.0.1:0").env("CONSUMER_CLAIM_IDLE", "1s");
        command.env("CONSUMER_BATCH_SIZE", "50").stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn settled(file: &LedgerFile) -> Option<i64> {
    let sql = file.path().exists().then(|| file.sql())?;
    sql.query_row("SELECT count(*) FROM settled_events", [], |row| row.get(0)).ok()
}

#[test]
fn check_prints_the_configuration_in_force_without_secrets() {
    let output = check(&["--redis", "redis://:hunter2@h:1/0"], &[("CONSUMER_BATCH_SIZE", "5")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains("\"batch_size\": 5") && shown.contains("[redacted]"), "{shown}");
    assert!(!shown.contains("hunter2"));
}

#[test]
fn check_lists_everything_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("consumer.yaml");
    std::fs::write(&file, "batchsize: 5\nclaim_idle: soon\n").unwrap();
    let output = check(&["--config", file.to_str().unwrap()], &[("CONSUMER_RETRY_MX", "1")]);
    assert_eq!(output.status.code(), Some(2));
    let complaint = text(&output.stderr);
    for part in ["consumer.yaml: 3 things", "did you mean `batch_size`", "`claim_idle`", "CONSUMER_RETRY_MAX"]
    {
        assert!(complaint.contains(part), "{part} in {complaint}");
    }
}

#[test]
fn a_configuration_file_that_is_not_there_is_named() {
    let output = check(&["--config", "nowhere.yaml"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("nowhere.yaml"));
}

#[test]
fn help_has_examples() {
    let output = consumer(&["--help"]).output().unwrap();
    assert!(text(&output.stdout).contains("Examples:"));
}

#[test]
fn without_redis_it_says_so_once_and_waits() {
    let file = LedgerFile::new();
    let port = harness::free_port();
    let log = file.folder.path().join("log");
    let mut command =
        consumer(&["--redis", &format!("redis://:hunter2@127.0.0.1:{port}/0"), "--database", &file.url()]);
    command.env("CONSUMER_METRICS_ADDR", "127.0.0.1:0").stderr(std::fs::File::create(&log).unwrap());
    let mut running = Running(command.spawn().unwrap());
    eventually("it complains", || {
        std::fs::read_to_string(&log).unwrap().contains("Redis does not answer").then_some(())
    });
    assert!(running.0.try_wait().unwrap().is_none(), "it waits");
    assert!(!std::fs::read_to_string(&log).unwrap().contains("hunter2"));
}

#[test]
fn sigterm_ends_it_with_success_within_the_grace_period() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    append(&mut redis.connection(), &event(T0));
    let mut running = Running::start(&redis, &file);
    eventually("it settles", || (settled(&file) == Some(1)).then_some(()));
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let began = std::time::Instant::now();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn killed_again_and_again_it_settles_every_byte_once() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    let total = 3000;
    for i in 0..total {
        append(&mut connection, &event(T0 + i));
    }
    for share in [200, 900, 1800] {
        let running = Running::start(&redis, &file);
        eventually("it has settled a part", || settled(&file).filter(|count| *count >= share));
        drop(running);
    }
    let _last = Running::start(&redis, &file);
    eventually("everything is settled", || {
        (settled(&file) == Some(i64::try_from(total).unwrap())).then_some(())
    });
    let up: i64 = file.sql().query_row("SELECT raw_up FROM user_traffic", [], |row| row.get(0)).unwrap();
    assert_eq!(up, i64::try_from(total * 1000).unwrap());
    assert_eq!(file.open().verify(&mut |_, _| {}).unwrap(), []);
}
