//! `trackerctl check`: whose file it is, whether it is right, and all that is wrong with it.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use support::{Run, run};

fn check(text: &str, args: &[&str]) -> Run {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let args = [&["--json", "check", file.path().to_str().unwrap()], args].concat();
    run("redis://127.0.0.1:1/0", &args)
}

#[test]
fn a_right_file_shows_what_would_be_in_force_without_secrets() {
    let consumer = check("batch_size: 7\nredis_broker: redis://hunter2@h:1/0\n", &[]).expect(0);
    assert!(!consumer.stdout.contains("hunter2"), "{}", consumer.stdout);
    let shown = consumer.json();
    assert_eq!(
        (shown["program"].as_str(), shown["effective"]["batch_size"].as_u64()),
        (Some("consumer"), Some(7))
    );
    assert_eq!(shown["effective"]["group"], "site", "defaults are filled in");
    let tracker = check("http:\n  addr: 127.0.0.1:7000\n", &[]).expect(0).json();
    assert_eq!(
        (tracker["program"].as_str(), tracker["effective"]["http"]["addr"].as_str()),
        (Some("tracker"), Some("127.0.0.1:7000"))
    );
    assert_eq!(check("chihaya:\n  announce_interval: 20m\n", &[]).expect(0).json()["program"], "tracker");
}

#[test]
fn a_wrong_file_is_a_no_with_every_problem() {
    let wrong = check("batch_sice: 7\nretention: {days: 0}\nclaim_idle: 5\n", &[]).expect(1).json();
    let problems = wrong["problems"].to_string();
    for part in ["did you mean `batch_size`", "claim_idle"] {
        assert!(problems.contains(part), "{part} in {problems}");
    }
    assert_eq!(wrong["effective"], serde_json::Value::Null);
    assert!(check("http: [1, 2\n", &[]).expect(1).json()["problems"][0].as_str().unwrap().contains("YAML"));
}

#[test]
fn a_file_that_does_not_tell_whose_it_is_needs_the_program() {
    assert!(check("redis_broker: redis://h:1/0\n", &[]).expect(2).stderr.contains("--program"));
    check("redis_broker: redis://h:1/0\n", &["--program", "tracker"]).expect(0);
    run("redis://127.0.0.1:1/0", &["check", "/nonexistent.yaml"]).expect(2);
}

#[test]
fn the_environment_of_this_shell_does_not_count() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "batch_size: 7\n").unwrap();
    let mut command =
        support::command("redis://127.0.0.1:1/0", file.path(), &["check", file.path().to_str().unwrap()]);
    let run: Run = command.env("CONSUMER_BATCH_SIZE", "nonsense").output().unwrap().into();
    run.expect(0);
}
