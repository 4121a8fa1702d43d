//! The built tracker under `trackerctl load`: a stall is reported in full, and what the process used is
//! measured.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use harness::{DEADLINE, Service, Trackerctl, free_port};
use rustix::process::Signal;
use tempfile::TempDir;

const STALL: Duration = Duration::from_secs(1);

fn start(folder: &TempDir) -> (Service, String) {
    let port = free_port();
    let tracker = Service::start(
        "tracker",
        folder.path(),
        &format!("http: {{addr: '127.0.0.1:{port}', workers: 1}}\n"),
    );
    (tracker, format!("http://127.0.0.1:{port}/announce"))
}

/// The p99 in seconds of three seconds of load, while the tracker stands still for one of them.
fn p99_with_a_stall(tracker: &Service, url: &str, pace: &[&str]) -> f64 {
    let trackerctl = Trackerctl::new("redis://127.0.0.1:1/0", "sqlite:///nonexistent");
    let answered =
        || tracker.metrics().lines().filter(|line| line.starts_with(COUNT)).map(value).sum::<u64>();
    let before = answered();
    std::thread::scope(|scope| {
        let load = ["load", url, "--connections", "4", "--duration", "3s"];
        let load = scope.spawn(move || trackerctl.json(&[&load[..], pace].concat()));
        let deadline = Instant::now() + DEADLINE;
        while answered() < before + 100 {
            assert!(Instant::now() < deadline, "the load does not begin");
        }
        tracker.signal(Signal::STOP);
        std::thread::sleep(STALL);
        tracker.signal(Signal::CONT);
        load.join().unwrap()["latency_us"]["p99"].as_f64().unwrap() / 1e6
    })
}

const COUNT: &str = "seedbook_tracker_request_seconds_count{";

fn value(line: &str) -> u64 {
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn an_open_loop_reports_a_stall_that_a_closed_loop_hides() {
    let folder = tempfile::tempdir().unwrap();
    let (tracker, url) = start(&folder);
    // A third of the schedule fell into the stall: only its last part waited less than half of it.
    let open = p99_with_a_stall(&tracker, &url, &["--rate", "300"]);
    assert!(open > 0.9, "{open}");
    // Four connections waited once each, and thousands of other requests did not.
    let closed = p99_with_a_stall(&tracker, &url, &[]);
    assert!(closed < 0.5, "{closed}");
}

#[test]
fn a_process_is_measured_over_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let (tracker, url) = start(&folder);
    let trackerctl = Trackerctl::new("redis://127.0.0.1:1/0", "sqlite:///nonexistent");
    let pid = tracker.id().to_string();
    let report = trackerctl.json(&["load", &url, "--fill", "--requests", "5000", "--pid", &pid]);
    let process = &report["processes"][0];
    assert_eq!((process["name"].as_str(), process["ended"].as_bool()), (Some("tracker"), Some(false)));
    let per_request = process["cpu_us_per_request"].as_f64().unwrap();
    assert!((1.0..5000.0).contains(&per_request), "{report}");
    assert!(process["rss_bytes"].as_u64() > process["rss_before_bytes"].as_u64(), "{report}");
}
