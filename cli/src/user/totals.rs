//! Sums over settled announces, as the ledger keeps them and as the rows add up.

use books::settlement::{SettledRow, Sums};
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

impl Totals {
    /// The plain sums of rows: time that two clients claim both counts twice here.
    pub(crate) fn of_rows(rows: &[SettledRow]) -> Self {
        let sum = |figure: fn(&SettledRow) -> i64| rows.iter().map(figure).fold(0, i64::saturating_add);
        Self {
            raw_up: sum(|row| row.raw_up),
            raw_down: sum(|row| row.raw_down),
            credited_up: sum(|row| row.credited_up),
            credited_down: sum(|row| row.credited_down),
            seed_seconds: sum(|row| row.seed_seconds),
            leech_seconds: sum(|row| row.leech_seconds),
        }
    }

    /// What the ledger's totals say.
    pub(crate) fn of_sums(sums: &Sums) -> Self {
        Self {
            raw_up: sums.raw_up,
            raw_down: sums.raw_down,
            credited_up: sums.credited_up,
            credited_down: sums.credited_down,
            seed_seconds: sums.seed_seconds,
            leech_seconds: sums.leech_seconds,
        }
    }

    /// The same cells as a [`super::story::Line`].
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
