//! Sums over settled announces, as a line of a table and as JSON.

use books::explanation;
use serde::Serialize;

use crate::human::{signed_bytes, signed_seconds};

/// Sums over several announces.
#[derive(Debug, Serialize)]
pub(crate) struct Totals {
    /// Bytes uploaded.
    pub(crate) raw_up: i64,
    /// Bytes downloaded.
    pub(crate) raw_down: i64,
    /// Bytes of upload that count.
    pub(crate) credited_up: i64,
    /// Bytes of download that count.
    pub(crate) credited_down: i64,
    /// Seconds seeded.
    pub(crate) seed_seconds: i64,
    /// Seconds leeched.
    pub(crate) leech_seconds: i64,
}

impl From<explanation::Totals> for Totals {
    fn from(totals: explanation::Totals) -> Self {
        let explanation::Totals { raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds } =
            totals;
        Self { raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds }
    }
}

impl Totals {
    /// The same cells as a [`super::line::Line`].
    pub(crate) fn cells(&self, name: &str) -> Vec<String> {
        let both = |raw: i64, credited: i64| match raw == credited {
            true => signed_bytes(raw),
            false => format!("{} → {}", signed_bytes(raw), signed_bytes(credited)),
        };
        vec![
            name.to_owned(),
            String::new(),
            String::new(),
            String::new(),
            both(self.raw_up, self.credited_up),
            both(self.raw_down, self.credited_down),
            signed_seconds(self.seed_seconds),
            signed_seconds(self.leech_seconds),
            String::new(),
        ]
    }
}
