//! The consumer's configuration where a command works as the consumer would.

use consumer::config::Plan;

use crate::failure::Failure;

/// Reads the file; without one, the defaults count.
pub(crate) fn read(path: Option<&str>) -> Result<Plan, Failure> {
    let unreadable = |error| Failure::usage(format!("cannot read {}: {error}", path.unwrap_or_default()));
    let text = path.map_or_else(|| Ok(String::new()), std::fs::read_to_string).map_err(unreadable)?;
    let wrong = |problems| Failure::usage(format!("{}:\n{problems}", path.unwrap_or("the defaults")));
    Plan::load(&text, []).map_err(wrong)
}
