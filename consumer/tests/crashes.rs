//! The real program killed or paused at the worst moments: between commit and acknowledgement, and for so
//! long that another consumer takes its entries over.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use harness::{Process, RedisServer, eventually, free_port};
use rustix::process::Signal;
use scene::{LedgerFile, T0, all_acknowledged, append, event, get, pending_of, settled};

struct Consumer {
    process: Process,
    metrics: std::net::SocketAddr,
}

impl Consumer {
    fn start(name: &str, redis: &str, file: &LedgerFile) -> Self {
        let metrics = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_consumer"));
        command.env_clear().args(["--redis", redis, "--database", &file.url(), "--name", name]);
        command.env("CONSUMER_METRICS_ADDR", metrics.to_string()).env("CONSUMER_CLAIM_IDLE", "1s");
        Self { process: Process::start(name, command, file.folder.path()), metrics }
    }

    fn page(&self, path: &str) -> Option<String> {
        TcpStream::connect(self.metrics).ok()?;
        Some(get(self.metrics, path))
    }

    fn is_ready(&self) -> bool {
        self.page("/readyz").is_some_and(|page| page.contains("200 OK"))
    }

    fn duplicates(&self) -> Option<u64> {
        let page = self.page("/metrics")?;
        let line = page.lines().find_map(|line| line.strip_prefix("seedbook_consumer_duplicates_total "));
        line?.parse().ok()
    }
}

/// Stands between a consumer and Redis, and swallows every acknowledgement.
fn deaf_to_acknowledgements(redis: &RedisServer) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/0", listener.local_addr().unwrap());
    let target = redis.url().trim_start_matches("redis://").trim_end_matches("/0").to_owned();
    let swallowed = Arc::new(AtomicU64::new(0));
    let counter = swallowed.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&target).unwrap());
            let (back, front) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let counter = counter.clone();
            std::thread::spawn(move || forward(client, server, Some(&counter)));
            std::thread::spawn(move || forward(back, front, None));
        }
    });
    (url, swallowed)
}

/// Copies until one side is gone. With a counter, what holds an `XACK` is counted and not passed on.
fn forward(mut from: TcpStream, mut to: TcpStream, swallowed: Option<&AtomicU64>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        match swallowed {
            Some(counter) if bytes.windows(4).any(|word| word == b"XACK") => {
                counter.fetch_add(1, Ordering::SeqCst);
            }
            _ if to.write_all(bytes).is_err() => break,
            _ => {}
        }
    }
    // An error means that it is closed already.
    drop(to.shutdown(Shutdown::Both));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_commit_and_acknowledgement_it_counts_once() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    for i in 0..20 {
        append(&mut redis.connection(), &event(T0 + i));
    }
    let (proxy, swallowed) = deaf_to_acknowledgements(&redis);
    let mut first = Consumer::start("first", &proxy, &file);
    eventually("it acknowledges", || (swallowed.load(Ordering::SeqCst) > 0).then_some(()));
    settled(&file, 20, 20_000).await;
    first.process.kill();

    let second = Consumer::start("second", &redis.url(), &file);
    all_acknowledged(&redis).await;
    settled(&file, 20, 20_000).await;
    eventually("it has seen them all before", || (second.duplicates() == Some(20)).then_some(()));
    assert_eq!(file.open().verify(&mut |_, _| {}).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_wakes_up_after_its_entries_were_taken_over_changes_nothing() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    drop(file.open());
    let paused = Consumer::start("paused", &redis.url(), &file);
    eventually("it is ready", || paused.is_ready().then_some(()));
    let lock = file.sql();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut batch = redis::pipe();
    batch.atomic();
    for i in 0..10 {
        let add = batch.cmd("XADD").arg("tracker:traffic").arg("*");
        for (name, value) in event(T0 + i).to_fields() {
            add.arg(name).arg(value);
        }
    }
    batch.query::<redis::Value>(&mut redis.connection()).unwrap();
    eventually("it has them in hand", || (pending_of(&redis, "paused") == 10).then_some(()));
    paused.process.signal(Signal::STOP);
    // On a busy machine the signal takes its time, in which the process could still take the lock.
    eventually("it is paused", || is_stopped(paused.process.id()).then_some(()));
    lock.execute_batch("ROLLBACK").unwrap();

    let other = Consumer::start("other", &redis.url(), &file);
    settled(&file, 10, 10_000).await;
    all_acknowledged(&redis).await;
    paused.process.signal(Signal::CONT);
    eventually("it settles them too", || (paused.duplicates() == Some(10)).then_some(()));
    settled(&file, 10, 10_000).await;
    assert_eq!(other.duplicates(), Some(0));
    assert_eq!(file.open().verify(&mut |_, _| {}).unwrap(), []);
}

/// Its threads stop one after another, and the one that waits for the lock need not be the first.
fn is_stopped(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.into_iter().all(|thread| {
        let status = std::fs::read_to_string(thread.unwrap().path().join("stat"));
        // The name in between may hold anything; without a status the thread has ended just now.
        status.is_ok_and(|status| status.rsplit(')').next().unwrap().trim_start().starts_with('T'))
    })
}
