//! docs/recovery.md, step by step: the commands of the page, run by a shell against real servers.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use consumer::app::App;
use consumer::config::{Config, Plan};
use contract::TrafficEvent;
use harness::{RedisServer, eventually, repository};
use support::{announce, run_with};
use tempfile::TempDir;

const T0: u64 = 1_700_000_000;

/// The commands below a heading of the page.
fn blocks(heading: &str) -> Vec<String> {
    let page = fs::read_to_string(repository().join("docs/recovery.md")).unwrap();
    let part = page.split("\n## ").find(|part| part.starts_with(heading)).unwrap();
    part.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

struct Site {
    redis: RedisServer,
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        Self { redis: RedisServer::start(), folder: tempfile::tempdir().unwrap() }
    }

    fn database(&self) -> String {
        format!("sqlite://{}/ledger.db", self.folder.path().display())
    }

    /// Runs a block of the page.
    fn sh(&self, block: &str) -> String {
        let block = block.replace("/var/lib/seedbook", &self.folder.path().display().to_string());
        let programs = Path::new(env!("CARGO_BIN_EXE_trackerctl")).parent().unwrap().display().to_string();
        let mut shell = Command::new("sh");
        shell.args(["-euc", &block]).env("PATH", format!("{programs}:/usr/bin:/bin"));
        shell.env("REDIS_URL", self.redis.url()).env("DATABASE_URL", self.database());
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn trackerctl(&self, args: &[&str]) {
        run_with(&self.redis.url(), &self.folder.path().join("ledger.db"), args).expect(0);
    }

    async fn consumer(&self) -> App {
        let config = Config {
            redis_broker: self.redis.url().as_str().into(),
            database: self.database().as_str().into(),
            metrics_addr: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        App::start(Plan::of(config).unwrap()).await.unwrap()
    }

    /// A seeder of this passkey has uploaded so much more.
    fn uploads(&self, passkey: &str, ts: u64, du: u64) {
        let mut add = redis::cmd("XADD");
        add.arg("tracker:traffic").arg("*");
        for (name, value) in (TrafficEvent { du, ..announce(passkey, T0 + ts) }).to_fields() {
            add.arg(name).arg(value);
        }
        add.query::<String>(&mut self.redis.connection()).unwrap();
    }

    fn has(&self, passkey: &str, up: i64) {
        let credited = || {
            let sql = rusqlite::Connection::open(self.folder.path().join("ledger.db")).ok()?;
            let figure = "SELECT raw_up FROM user_traffic WHERE passkey = ?1";
            sql.query_row(figure, [passkey], |row| row.get::<_, i64>(0)).ok()
        };
        eventually(&format!("{passkey} has {up}"), || (credited()? == up).then_some(()));
        self.all_acknowledged();
    }

    fn all_acknowledged(&self) {
        eventually("everything is acknowledged", || {
            let pending: Vec<redis::Value> = redis::cmd("XPENDING")
                .arg(&["tracker:traffic", "site"])
                .query(&mut self.redis.connection())
                .ok()?;
            (pending[0] == redis::Value::Int(0)).then_some(())
        });
    }
}

/// A tracker's own part of a rotation is not needed here: snapshots and sets are none.
fn rotated(site: &Site) {
    site.trackerctl(&["passkey", "add", "oldpass"]);
    site.trackerctl(&["passkey", "rotate", "oldpass", "newpass"]);
}

fn reply(app: &App, path: &str) -> String {
    let mut stream = TcpStream::connect(app.metrics_addr).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

fn refuses(app: &App, reason: &str) {
    eventually(reason, || {
        let page = reply(app, "/readyz");
        page.contains(reason).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_from_before_a_rotation_is_restored_and_catches_up() {
    let site = Site::new();
    let app = site.consumer().await;
    site.uploads("oldpass", 0, 20);
    site.has("oldpass", 20);
    site.sh(&blocks("Make a backup")[0]);
    site.uploads("oldpass", 1000, 10);
    site.has("oldpass", 30);
    rotated(&site);
    site.uploads("newpass", 2000, 10);
    site.has("newpass", 40);
    app.stop().await.unwrap();

    let steps = blocks("Restore a backup");
    let (before, adopt) = steps[0].split_once("trackerctl").unwrap();
    site.sh(before);
    let app = site.consumer().await;
    refuses(&app, "the ledger is an older copy");
    app.stop().await.unwrap();
    let said = site.sh(&format!("trackerctl{adopt}"));
    assert!(said.contains("nothing was done yet") && said.contains("1 passkey is rotated"), "{said}");
    let app = site.consumer().await;
    site.has("newpass", 40);
    site.sh(&steps[1]);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_lost_is_made_anew_from_the_stream() {
    let site = Site::new();
    let app = site.consumer().await;
    for i in 0..5 {
        site.uploads("alicealice", 1000 * i, 10);
    }
    site.has("alicealice", 50);
    app.stop().await.unwrap();
    site.sh("rm -f /var/lib/seedbook/ledger.db*");
    site.sh(&blocks("The ledger is lost")[0]);
    let app = site.consumer().await;
    site.has("alicealice", 50);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_everything_needs_nothing() {
    let site = Site::new();
    let app = site.consumer().await;
    site.uploads("alicealice", 0, 10);
    site.has("alicealice", 10);
    redis::cmd("FLUSHALL").query::<()>(&mut site.redis.connection()).unwrap();
    site.uploads("alicealice", 0, 10);
    site.uploads("alicealice", 1000, 10);
    site.has("alicealice", 20);
    site.sh(&blocks("Redis lost its tail")[0]);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_while_a_consumer_settles_and_replaces_no_file() {
    let site = Site::new();
    let app = site.consumer().await;
    for i in 0..200 {
        site.uploads("alicealice", 1000 * i, 10);
        if i == 0 {
            site.has("alicealice", 10);
        }
        if i == 100 {
            site.sh(&blocks("Make a backup")[0]);
        }
    }
    site.has("alicealice", 2000);
    let file = site.folder.path().join("backup.db");
    let copy = rusqlite::Connection::open(&file).unwrap();
    let (up, events): (i64, i64) = copy
        .query_row(
            "SELECT (SELECT sum(raw_up) FROM user_traffic), (SELECT count(*) FROM settled_events)",
            [],
            |row| Ok((row.get::<_, Option<i64>>(0)?.unwrap_or(0), row.get(1)?)),
        )
        .unwrap();
    assert_eq!(up, 10 * events, "of one moment");
    let again = ["ledger", "backup", file.to_str().unwrap()];
    let refused = run_with(&site.redis.url(), &site.folder.path().join("ledger.db"), &again).expect(2);
    assert!(refused.stderr.contains("there already"), "{}", refused.stderr);
    app.stop().await.unwrap();
}
