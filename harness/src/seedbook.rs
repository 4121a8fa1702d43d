//! Seedbook's own programs as their users run them: the built binaries, a configuration file, a signal to
//! stop.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::Signal;
use serde_json::Value;

use crate::{Process, binary, free_port, http};

/// The root of the source tree, where scripts/ is.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the harness is a folder of the repository")
        .to_owned()
}

/// Names the file with the certificates to believe, instead of the system's own.
pub const TRUSTED: &str = "SSL_CERT_FILE";

/// A running `tracker` or `consumer`. Killed on drop.
#[derive(Debug)]
pub struct Service {
    process: Process,
    admin: String,
}

impl Service {
    /// Starts a service with a configuration file of this content, its metrics on a free port, and waits
    /// until it is ready.
    #[must_use]
    pub fn start(name: &str, folder: &Path, config: &str) -> Self {
        let mut service = Self::launch(name, folder, config);
        service.wait_until_ready();
        service
    }

    /// As [`Service::start`], without waiting.
    #[must_use]
    pub fn launch(name: &str, folder: &Path, config: &str) -> Self {
        Self::launch_with(name, folder, config, &[])
    }

    /// As [`Service::launch`], with these environment variables.
    #[must_use]
    pub fn launch_with(name: &str, folder: &Path, config: &str, environment: &[(&str, &Path)]) -> Self {
        let file = folder.join(format!("{name}.yaml"));
        fs::write(&file, config).expect("a test's configuration can be written");
        let admin = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(binary(name));
        command.arg("--config").arg(&file).current_dir(folder).envs(environment.iter().copied());
        command.env(format!("{}_METRICS_ADDR", name.to_uppercase()), &admin);
        Self { process: Process::start(name, command, folder), admin: format!("http://{admin}") }
    }

    /// Waits until `/readyz` says yes.
    pub fn wait_until_ready(&mut self) {
        let url = format!("{}/readyz", self.admin);
        self.process
            .wait_until("the service is ready", || http::get(&url).filter(|(status, _)| *status == 200));
    }

    /// The page of `/metrics`.
    #[must_use]
    pub fn metrics(&self) -> String {
        http::get(&format!("{}/metrics", self.admin)).expect("the service answers").1
    }

    /// The status and text of `/readyz`; `None` while nothing answers.
    #[must_use]
    pub fn readiness(&self) -> Option<(u16, String)> {
        http::get(&format!("{}/readyz", self.admin))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Everything it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.terminate()
    }

    /// Kills it (SIGKILL), as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// `trackerctl` with one Redis and one ledger.
#[derive(Debug, Clone)]
pub struct Trackerctl {
    redis: String,
    database: String,
    trusted: Option<PathBuf>,
}

/// What a run of `trackerctl` gave.
#[derive(Debug)]
pub struct Answer {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Results.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
}

impl Trackerctl {
    /// `redis` and `database` are the URLs that an operator would export.
    #[must_use]
    pub fn new(redis: impl Into<String>, database: impl Into<String>) -> Self {
        Self { redis: redis.into(), database: database.into(), trusted: None }
    }

    /// The same, believing the certificate in this file as if its authority were the system's.
    #[must_use]
    pub fn trusting(self, certificate: &Path) -> Self {
        Self { trusted: Some(certificate.to_owned()), ..self }
    }

    /// Runs it, whatever comes of it.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Answer {
        let output = Command::new(binary("trackerctl"))
            .args(arguments)
            .env("REDIS_URL", &self.redis)
            .env("DATABASE_URL", &self.database)
            .envs(self.trusted.iter().map(|file| (TRUSTED, file)))
            .output()
            .expect("trackerctl can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Runs it; panics with its messages unless it exits 0. Its results.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments);
        assert_eq!(answer.code, 0, "trackerctl {arguments:?}: {}{}", answer.stdout, answer.stderr);
        answer.stdout
    }

    /// As [`Trackerctl::ok`] with `--json`, parsed.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("no JSON ({error}): {output}"))
    }
}
