//! The consumer's configuration where a command works as the consumer would.

use consumer::config::Config;

use crate::failure::Failure;

/// Reads the file; without one, the defaults count.
pub(crate) fn read(path: Option<&str>) -> Result<Config, Failure> {
    let Some(path) = path else { return Ok(Config::default()) };
    let unreadable = |error| Failure::usage(format!("cannot read {path}: {error}"));
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Config::read(&text, []).map_err(|problems| Failure::usage(format!("{path}:\n{problems}")))
}
