//! `trackerctl passkey seal` and `open`: no service is needed, and no key is ever shown.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use support::{Run, command};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn trackerctl(key: Option<&str>, args: &[&str]) -> Run {
    let mut command = command("redis://127.0.0.1:1/0", Path::new("/nonexistent/ledger.db"), args);
    if let Some(key) = key {
        command.env("SEEDBOOK_ENCRYPTION_KEY", key);
    }
    command.output().unwrap().into()
}

#[test]
fn what_is_sealed_opens_with_the_same_key_from_a_file_or_the_environment() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{KEY}\n")).unwrap();
    let path = file.path().to_str().unwrap();
    let sealed =
        trackerctl(Some(KEY), &["passkey", "seal", "alice", "--fd", "17", "--ts", "1700000000"]).expect(0);
    let text = sealed.stdout.trim();
    assert!(!text.contains("alice"));
    let opened = trackerctl(None, &["--json", "passkey", "open", text, "--key-file", path]).expect(0).json();
    assert_eq!((opened["passkey"].as_str(), opened["fd"].as_str()), (Some("alice"), Some("17")));
    assert_eq!((opened["issued_at"].as_u64(), opened["pd"].is_null()), (Some(1_700_000_000), true));
    let shown = trackerctl(Some(KEY), &["passkey", "open", text]).expect(0).stdout;
    assert!(shown.contains("alice") && shown.contains("2023-11-14"), "{shown}");
}

#[test]
fn a_credential_that_does_not_open_is_a_no_with_its_reason() {
    let sealed = trackerctl(Some(KEY), &["passkey", "seal", "alice", "--ts", "1700000000"]).expect(0);
    let text = sealed.stdout.trim();
    let refused = |key: &str, args: &[&str]| {
        trackerctl(Some(key), &[&["passkey", "open"], args].concat()).expect(1).stderr
    };
    assert!(refused(&"x".repeat(32), &[text]).contains("not sealed with this key"));
    assert!(refused(KEY, &[text, "--max-age", "30d"]).contains("too long ago"));
    assert!(refused(KEY, &["AAAA"]).contains("cut off"));
}

#[test]
fn without_a_usable_key_the_usage_is_explained_and_the_key_not_repeated() {
    let missing = trackerctl(None, &["passkey", "seal", "alice"]).expect(2);
    assert!(missing.stderr.contains("--key-file") && missing.stderr.contains("SEEDBOOK_ENCRYPTION_KEY"));
    let bad = trackerctl(Some("hunter2"), &["passkey", "seal", "alice"]).expect(2);
    assert!(bad.stderr.contains("32 bytes") && !bad.stderr.contains("hunter2"), "{}", bad.stderr);
    trackerctl(Some(KEY), &["passkey", "seal", "no passkey"]).expect(2);
}
