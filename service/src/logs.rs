//! Logs on stderr: lines for people, JSON for machines. Nothing secret is ever given to a log call.

use contract::config::{Check, Problems};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// How log lines look and from which level they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// A `tracing` filter such as `info`, `debug` or `tracker::traffic=debug,info`.
    pub level: String,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}

impl LogConfig {
    fn filter(&self) -> Result<EnvFilter, String> {
        EnvFilter::try_new(&self.level).map_err(|error| format!("`{}` is no filter: {error}", self.level))
    }
}

impl Check for LogConfig {
    fn problems(&self, path: &str) -> Problems {
        let problem = self.filter().err();
        Problems(problem.map(|problem| format!("`{path}.level`: {problem}")).into_iter().collect())
    }
}

/// Sends this process's logs to stderr. Call once, first thing in `main`.
///
/// # Errors
/// When the level is no filter, or logs were set up already.
pub fn init(config: &LogConfig) -> anyhow::Result<()> {
    let filter = config.filter().map_err(anyhow::Error::msg)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let outcome = match config.format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    outcome.map_err(|error| anyhow::anyhow!("logs: {error}"))
}
