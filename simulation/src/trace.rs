//! What happened, in words, for whoever replays a seed. Costs nothing while nobody listens.

use std::fmt::Display;

/// The lines of one schedule.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace that is kept.
    #[must_use]
    pub(crate) const fn kept() -> Self {
        Self { lines: Some(Vec::new()) }
    }

    /// Adds a line at `ms` milliseconds of the schedule.
    pub(crate) fn tell<T: Display>(&mut self, ms: u64, line: impl FnOnce() -> T) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>10}.{:03}  {}", ms / 1000, ms % 1000, line()));
        }
    }

    #[must_use]
    pub(crate) fn lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
