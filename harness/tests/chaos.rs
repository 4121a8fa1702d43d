//! Short runs of the chaos harness: a seed that is always the same, and one that nobody has tried.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use harness::repository;
use serde_json::Value;
use tempfile::TempDir;

/// Runs it; panics with everything it said unless the books balance.
fn balances(seed: Option<u64>) -> Value {
    let folder = TempDir::new().unwrap();
    let mut chaos = Command::new(env!("CARGO_BIN_EXE_chaos"));
    chaos
        .args(["--minutes", "0.25", "--clients", "60", "--rate", "60", "--json", "--folder"])
        .arg(folder.path());
    chaos.args(seed.iter().flat_map(|seed| ["--seed".to_owned(), seed.to_string()]));
    let output = chaos.current_dir(repository()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    println!("{said}"); // With the seed.
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn something_happened(report: &Value) {
    let figure = |name: &str| report[name].as_u64().unwrap();
    assert!(figure("announces_answered") > 200 && figure("answered_up") > 0, "{report}");
    assert!(figure("kills") >= 4 && figure("looks") > 0, "{report}");
    assert_eq!(figure("difference"), 0);
}

#[test]
fn the_books_balance_after_a_quarter_of_a_minute_of_chaos() {
    let report = balances(Some(4711));
    something_happened(&report);
    let figure = |name: &str| report[name].as_u64().unwrap();
    for kind in ["announces_answered_udp", "tracker_kills", "consumer_kills", "redis_kills"] {
        assert!(figure(kind) > 0, "{kind}: {report}");
    }
}

#[test]
fn the_books_balance_with_a_seed_that_nobody_has_tried() {
    something_happened(&balances(None));
}
