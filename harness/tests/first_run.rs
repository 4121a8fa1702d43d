//! A first run: scripts/up as somebody types it, one announce at the printed URL, Ctrl-C.

#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::net::TcpStream;
use std::process::Command;

use harness::{Process, Trackerctl, binary, binary_folder, eventually, free_port, processes_in, repository};
use rustix::process::Signal;
use tempfile::TempDir;

const INFO_HASH: &str = "0123456789abcdef0123456789abcdef01234567";

/// scripts/up on free ports with the binaries that the tests use.
struct Up {
    process: Process,
    folder: TempDir,
    ports: [u16; 4],
}

impl Up {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports = [free_port(), free_port(), free_port(), free_port()];
        let process = Process::start("up", command(&folder, ports), folder.path());
        Self { process, folder, ports }
    }

    /// The first line of its output with this text in it.
    fn wait_for_line(&mut self, text: &str) -> String {
        let log = self.folder.path().join("up.log");
        self.process.wait_until(&format!("scripts/up prints `{text}`"), || {
            let printed = std::fs::read_to_string(&log).unwrap();
            printed.lines().find(|line| line.contains(text)).map(|line| line.trim().to_owned())
        })
    }
}

fn command(folder: &TempDir, ports: [u16; 4]) -> Command {
    // Ctrl-C must work even where the tests run in the background of a shell, which makes them ignore it.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(repository().join("scripts/up"));
    command.env("SEEDBOOK_BIN", binary_folder()).env("SEEDBOOK_DATA", folder.path().join("data"));
    let names = ["PORT", "REDIS_PORT", "TRACKER_ADMIN", "CONSUMER_ADMIN"];
    for (name, port) in names.iter().zip(ports) {
        command.env(format!("SEEDBOOK_{name}"), port.to_string());
    }
    command
}

/// The value of `name` in a printed `export NAME=value ...` line.
fn exported(line: &str, name: &str) -> String {
    let start = format!("{name}=");
    line.split_whitespace().find_map(|word| word.strip_prefix(&start)).unwrap().to_owned()
}

#[test]
fn scripts_up_settles_what_is_announced_at_the_printed_url_and_stops_on_ctrl_c() {
    for program in ["tracker", "consumer", "trackerctl"] {
        binary(program);
    }
    let mut up = Up::start();
    let url = up.wait_for_line("http://127.0.0.1");
    let export = up.wait_for_line("export REDIS_URL=");
    let trackerctl = Trackerctl::new(exported(&export, "REDIS_URL"), exported(&export, "DATABASE_URL"));

    let announce = |more: &[&str]| {
        let client = ["announce", &url, "--info-hash", INFO_HASH, "--peer-id", "-SB0001-000000000000"];
        trackerctl.ok(&[&client[..], more].concat());
    };
    announce(&["--event", "started", "--left", "1000"]);
    announce(&["--downloaded", "1000", "--uploaded", "250", "--left", "0", "--event", "completed"]);

    let passkey = url.split('/').nth(3).unwrap();
    let total = eventually("both announces are settled", || {
        let answer = trackerctl.run(&["user", "stats", passkey, "--json"]);
        let stats: serde_json::Value = serde_json::from_str(&answer.stdout).ok()?;
        Some((stats["raw_up"].as_u64()?, stats["raw_down"].as_u64()?)).filter(|total| *total != (0, 0))
    });
    assert_eq!(total, (250, 1000));

    assert_eq!(processes_in(up.folder.path()).len(), 3, "redis-server, consumer and tracker");
    up.process.signal(Signal::INT);
    assert!(up.process.wait().success());
    assert_eq!(processes_in(up.folder.path()), Vec::<String>::new());
    for port in up.ports {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "something still listens on {port}");
    }
}

#[test]
fn a_taken_port_is_named_with_the_setting_that_changes_it() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = command(&folder, [free_port(), port, free_port(), free_port()]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(message.contains(&port.to_string()) && message.contains("SEEDBOOK_REDIS_PORT="), "{message}");
}
