//! Runs the real `trackerctl` as a shell would.

#![allow(dead_code)] // Each test file uses its part of this.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use contract::{AddressFamily, Event, InfoHash, PeerId, TrafficEvent};
use serde_json::Value;

/// How a run ended.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The one JSON document on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not one JSON document ({error}): {}{}", self.stdout, self.stderr))
    }

    /// Asserts the exit code, showing what was printed when it differs.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// `trackerctl` with its services named, and nothing else from the environment.
pub(crate) fn command(redis_url: &str, database: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trackerctl"));
    command.env_clear().env("REDIS_URL", redis_url);
    command.env("DATABASE_URL", format!("sqlite://{}", database.display()));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs to the end, for commands that need Redis only.
pub(crate) fn run(redis_url: &str, args: &[&str]) -> Run {
    run_with(redis_url, Path::new("/nonexistent/ledger.db"), args)
}

/// Runs to the end with a ledger.
pub(crate) fn run_with(redis_url: &str, database: &Path, args: &[&str]) -> Run {
    command(redis_url, database, args).output().unwrap().into()
}

/// Runs to the end with this text on stdin.
pub(crate) fn run_with_input(redis_url: &str, args: &[&str], input: &str) -> Run {
    let mut command = command(redis_url, Path::new("/nonexistent/ledger.db"), args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// A regular announce of a seeder by Transmission, without any bytes.
pub(crate) fn announce(passkey: &str, ts: u64) -> TrafficEvent {
    TrafficEvent {
        passkey: passkey.parse().unwrap(),
        info_hash: InfoHash([0xab; 20]),
        peer_id: PeerId(*b"-TR4000-abcdefghijkl"),
        port: 51413,
        ip: "192.0.2.7".parse().unwrap(),
        af: AddressFamily::V4,
        du: 0,
        dd: 0,
        left: 0,
        event: Event::None,
        ts,
        dt: 1800,
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        claim: None,
        extras: contract::Extras::default(),
    }
}
