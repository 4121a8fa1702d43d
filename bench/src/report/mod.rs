//! What was measured, as a table for people, as JSON for programs, as a chart for the documentation.

mod chart;
mod machine;
mod table;

use serde::Serialize;

pub use chart::chart;
pub(crate) use chart::escaped;
pub use machine::Machine;
pub use table::table;

use crate::figures::{Figure, Limit};
use crate::rows::Row;
use crate::workbench::Scale;

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Where it ran.
    pub machine: Machine,
    /// `quick` or `full`.
    pub scale: &'static str,
    /// How often each row was measured.
    pub rounds: usize,
    /// What came of it.
    pub rows: Vec<Measured>,
}

/// One row's figures.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// The row's name.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// The figures.
    pub figures: Vec<Figure>,
    /// What they should be.
    pub goals: Vec<Judged>,
}

/// A goal and what came of it.
#[derive(Debug, Serialize)]
pub struct Judged {
    /// Whose figure.
    pub subject: &'static str,
    /// Which.
    pub what: &'static str,
    /// The goal in words.
    pub goal: String,
    /// The same in the figure's unit, when it could be computed.
    pub at_most: Option<f64>,
    /// Whether it was met; `None` when it could not be told, or the run judges nothing.
    pub met: Option<bool>,
}

impl Measured {
    /// Holds figures against the row's goals. A quick run judges nothing: too few samples, and smaller tasks.
    #[must_use]
    pub fn new(row: &Row, figures: Vec<Figure>, scale: Scale) -> Self {
        let judged = |goal: &crate::figures::Goal| Judged {
            subject: goal.subject,
            what: goal.what,
            goal: match goal.at_most {
                Limit::Value(value) => format!("<= {value}"),
                Limit::Times(factor, other) => format!("<= {factor} x {other}"),
            },
            at_most: goal.bound(&figures),
            met: goal.share(&figures).filter(|_| scale == Scale::Full).map(|share| share <= 1.0),
        };
        let goals = row.goals.iter().map(judged).collect();
        Self { name: row.name, title: row.title, figures, goals }
    }
}
