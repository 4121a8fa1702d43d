//! The machine of a run, without its name: figures mean nothing apart from it.

use std::fs;

use serde::Serialize;

/// What figures depend on.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The processor.
    pub processor: String,
    /// How many cores this run could use.
    pub cores: usize,
    /// The kernel.
    pub kernel: String,
    /// The Redis.
    pub redis: String,
    /// The day, UTC.
    pub date: String,
}

impl Machine {
    /// Looks around.
    #[must_use]
    pub fn of_this_run() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: model.map_or("unknown", |(_, model)| model).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: version(&kernel),
            redis: said_by("redis-server", "--version"),
            date: said_by("date", "+%Y-%m-%d"),
        }
    }
}

/// The first two numbers: what follows them names the machine's maker.
fn version(release: &str) -> String {
    release.trim().split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The first words of a program's answer.
fn said_by(program: &str, argument: &str) -> String {
    let output = std::process::Command::new(program).env("TZ", "UTC").arg(argument).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
    version.unwrap_or(text.trim()).to_owned()
}
