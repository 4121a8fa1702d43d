//! What scripts rely on: exit codes, stdout for results only, help and completions that are there.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use harness::{RedisServer, free_port};
use support::run;

#[test]
fn a_redis_that_is_not_there_is_exit_code_3_with_what_to_do() {
    let url = format!("redis://:hunter2@127.0.0.1:{}/0", free_port());
    for args in [&["passkey", "count"][..], &["stream", "info"], &["user", "seeding", "a1"]] {
        let run = run(&url, args).expect(3);
        assert!(run.stdout.is_empty());
        assert!(run.stderr.contains("redis://[redacted]@127.0.0.1"), "{}", run.stderr);
        assert!(run.stderr.contains("is redis-server running? set --redis or REDIS_URL"), "{}", run.stderr);
        assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
    }
}

#[test]
fn a_redis_that_wants_a_password_says_so() {
    let redis = RedisServer::start_with(&["--requirepass", "hunter2"]);
    let refused = run(&redis.url(), &["passkey", "count"]).expect(3);
    assert!(refused.stderr.contains("other credentials"), "{}", refused.stderr);
    let url = redis.url().replace("redis://", "redis://hunter2@");
    assert_eq!(run(&url, &["passkey", "count"]).expect(0).stdout.trim(), "0");
    let wrong = run(&redis.url().replace("redis://", "redis://hunter3@"), &["passkey", "count"]).expect(3);
    assert!(
        wrong.stderr.contains("other credentials") && !wrong.stderr.contains("hunter3"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in [&["passkey"][..], &["passkey", "frob"], &["passkey", "add"], &["--nonsense"], &[]] {
        run("redis://127.0.0.1:1/0", args).expect(2);
    }
    let run = run("http://hunter2@127.0.0.1/0", &["passkey", "count"]).expect(2);
    assert!(run.stderr.contains("REDIS_URL") && !run.stderr.contains("hunter2"), "{}", run.stderr);
}

#[test]
fn help_never_shows_a_password_from_the_environment() {
    let run = run("redis://:hunter2@127.0.0.1:1/0", &["passkey", "add", "--help"]).expect(0);
    assert!(run.stdout.contains("REDIS_URL") && run.stdout.contains("Example"), "{}", run.stdout);
    assert!(!run.stdout.contains("hunter2"), "{}", run.stdout);
}

#[test]
fn completions_are_there_for_every_common_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run("redis://127.0.0.1:1/0", &["completions", shell]).expect(0).stdout;
        assert!(script.contains("trackerctl") && script.contains("passkey"), "{shell}");
    }
    let json = run("redis://127.0.0.1:1/0", &["--json", "completions", "fish"]).expect(0).json();
    assert_eq!(json["shell"], "fish");
}
