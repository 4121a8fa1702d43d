//! Profiles of the real program under load, decoded as pprof's tools do: they have samples, and the samples
//! have names.

#![allow(clippy::unwrap_used)]

mod http_client;

use std::io::Read;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flate2::read::GzDecoder;
use harness::{Process, eventually_async, free_port};
use http_client::{announce_path, ask, body, status};
use pprof::protos::{Message, Profile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The program itself, with jemalloc as its allocator, which a test's own process does not have.
struct Program {
    _process: Process,
    _folder: tempfile::TempDir,
    http: SocketAddr,
    admin: SocketAddr,
}

impl Program {
    async fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [http, admin] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let text = format!("metrics_addr: {admin}\n{more}\nhttp: {{addr: '{http}', workers: 1}}\n");
        std::fs::write(folder.path().join("tracker.yaml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
        command.arg("--config").arg(folder.path().join("tracker.yaml"));
        let process = Process::start("tracker", command, folder.path());
        let program = Self { _process: process, _folder: folder, http, admin };
        eventually_async("the tracker listens", async || TcpStream::connect(admin).await.ok()).await;
        program
    }

    async fn page(&self, path: &str) -> Vec<u8> {
        ask(TcpStream::connect(self.admin).await.unwrap(), path, "").await
    }

    async fn profile(&self, path: &str) -> Profile {
        decode(&self.page(path).await)
    }

    /// Announces new torrents on one connection until told to stop, so that there is work and memory to see.
    fn load(&self) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (address, stopping, answers) = (self.http, stop.clone(), answered.clone());
        let task = tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut buffer = vec![0; 64 * 1024];
            let path = announce_path();
            while !stopping.load(Ordering::Relaxed) {
                let number = answers.load(Ordering::Relaxed);
                let path = path.replace(&"i".repeat(20), &format!("{number:020}"));
                let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                assert!(stream.read(&mut buffer).await.unwrap() > 0);
                answers.store(number + 1, Ordering::Relaxed);
            }
        });
        Load { stop, answered, task }
    }
}

fn decode(page: &[u8]) -> Profile {
    assert_eq!(status(page), 200, "{}", String::from_utf8_lossy(page));
    let mut bytes = Vec::new();
    GzDecoder::new(body(page)).read_to_end(&mut bytes).unwrap();
    Profile::decode(bytes.as_slice()).unwrap()
}

struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    /// Waits for so many answers, then stops.
    async fn end_after(self, wanted: u64) {
        eventually_async("the announces are answered", async || {
            (self.answered.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

/// The names of the functions on the samples' stacks.
fn names(profile: &Profile) -> Vec<&str> {
    let text = |index: i64| profile.string_table[usize::try_from(index).unwrap()].as_str();
    let functions = profile.sample.iter().flat_map(|sample| &sample.location_id).flat_map(|id| {
        let location = profile.location.iter().find(|location| location.id == *id).unwrap();
        location.line.iter().map(|line| line.function_id)
    });
    functions
        .filter_map(|id| profile.function.iter().find(|function| function.id == id))
        .map(|function| text(function.name))
        .collect()
}

fn has(profile: &Profile, part: &str) -> bool {
    names(profile).iter().any(|name| name.contains(part))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cpu_profile_under_load_names_our_functions() {
    let program = Program::start("").await;
    let load = program.load();
    // Twice: the second start of the profiler must be as good as the first.
    for _ in 0..2 {
        let path = "/debug/pprof/profile?seconds=2";
        let (one, other) = tokio::join!(program.page(path), program.page(path));
        let (taken, refused) = if status(&one) == 200 { (one, other) } else { (other, one) };
        assert_eq!(status(&refused), 409, "one at a time");
        let profile = decode(&taken);
        assert!(profile.sample.len() > 5, "{} stacks", profile.sample.len());
        assert!(has(&profile, "tracker::") && has(&profile, "hyper::"), "{:?}", names(&profile));
    }
    load.end_after(1).await;
    for wrong in ["0", "61", "-1", "x", ""] {
        let page = program.page(&format!("/debug/pprof/profile?seconds={wrong}")).await;
        assert_eq!(status(&page), 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heap_profile_shows_what_was_allocated_while_it_was_taken() {
    let program = Program::start("").await;
    let load = program.load();
    let profile = program.profile("/debug/pprof/heap?seconds=3").await;
    load.end_after(1).await;
    assert!(has(&profile, "tracker::"), "{:?}", names(&profile));
    let sum: i64 = profile.sample.iter().flat_map(|sample| &sample.value).sum();
    assert!(sum > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_sampling_from_the_start_a_heap_profile_is_there_at_once_and_whole() {
    let program = Program::start("heap_profile: true").await;
    let load = program.load();
    load.end_after(10_000).await;
    let profile = program.profile("/debug/pprof/heap").await;
    assert!(has(&profile, "tracker::swarm"), "{:?}", names(&profile));
}
