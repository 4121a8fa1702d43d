//! One process of the run: started, killed, paused, and started again when it ended by itself, as a service
//! manager would.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use harness::{Clock, Process};
use rustix::process::Signal;

/// How Redis says that it does not start with such a file.
const UNREADABLE: &str = "Bad file format reading the append only file";

/// A tracker, a consumer or Redis.
#[derive(Debug)]
pub(crate) struct ManagedProcess {
    name: String,
    folder: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    clock: Option<Clock>,
    /// A tracker's.
    spool: Option<PathBuf>,
    /// The manifest of Redis' append-only file.
    manifest: Option<PathBuf>,
    /// Where its metrics are; `None` for Redis.
    metrics: Option<String>,
    process: Option<Process>,
}

impl ManagedProcess {
    /// A process that is not running yet. Its log is `folder/name.log`.
    pub(crate) fn new(name: &str, folder: &Path, program: PathBuf, arguments: Vec<String>) -> Self {
        let (name, folder) = (name.to_owned(), folder.to_owned());
        Self {
            name,
            folder,
            program,
            arguments,
            clock: None,
            spool: None,
            manifest: None,
            metrics: None,
            process: None,
        }
    }

    /// Where its `/metrics` are.
    pub(crate) fn with_metrics(self, port: u16) -> Self {
        Self { metrics: Some(format!("http://127.0.0.1:{port}/metrics")), ..self }
    }

    /// Says where its spool is.
    pub(crate) fn with_spool(self, spool: &Path) -> Self {
        Self { spool: Some(spool.to_owned()), ..self }
    }

    /// Says where Redis' append-only file is.
    pub(crate) fn with_manifest(self, manifest: PathBuf) -> Self {
        Self { manifest: Some(manifest), ..self }
    }

    /// Cuts a file off that Redis cannot read to its end (a disk was full), as Redis' log advises. Whether
    /// there was one.
    pub(crate) fn mend(&self) -> io::Result<bool> {
        let Some(manifest) = &self.manifest else { return Ok(false) };
        let log = fs::read_to_string(self.log())?;
        if !log.lines().next_back().is_some_and(|line| line.contains(UNREADABLE)) {
            return Ok(false);
        }
        let mut check = Command::new("redis-check-aof")
            .arg("--fix")
            .arg(manifest)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        if let Some(mut answers) = check.stdin.take() {
            answers.write_all(b"y\ny\ny\n")?;
        }
        Ok(check.wait()?.success())
    }

    pub(crate) fn spool(&self) -> Option<&Path> {
        self.spool.as_deref()
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Lets its clock be set.
    pub(crate) fn with_clock(self, clock: Option<Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Its clock, if it can be set.
    pub(crate) const fn clock(&self) -> Option<&Clock> {
        self.clock.as_ref()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The URL of its metrics.
    pub(crate) fn metrics(&self) -> Option<&str> {
        self.metrics.as_deref()
    }

    /// Where its output goes.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    pub(crate) fn start(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.folder);
        command.envs(self.clock.iter().flat_map(Clock::environment));
        self.process = Some(Process::start(&self.name, command, &self.folder));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM; it is gone when this returns.
    pub(crate) fn terminate(&mut self) -> Option<ExitStatus> {
        self.process.take().map(|mut process| process.terminate())
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Whether it ended by itself, and how. It is not running then.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.process.as_mut().and_then(Process::ended)?;
        self.process = None;
        Some(status)
    }
}
