//! Figures: what was measured of whom, several times; medians, and what they are held against.

use serde::{Deserialize, Serialize};

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Who was measured, for example `seedbook`.
    pub subject: String,
    /// What was measured, with its unit, for example `CPU µs`.
    pub what: String,
    /// How much.
    pub value: f64,
}

impl Sample {
    /// One measurement.
    #[must_use]
    pub fn new(subject: &str, what: &str, value: f64) -> Self {
        Self { subject: subject.to_owned(), what: what.to_owned(), value }
    }
}

/// All measurements of one thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Who was measured.
    pub subject: String,
    /// What was measured.
    pub what: String,
    /// How much, one value for each round.
    pub values: Vec<f64>,
    /// Their median.
    pub median: f64,
}

/// Gathers samples of many rounds into figures, in the order in which they first came.
#[must_use]
pub fn figures(samples: &[Sample]) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    for Sample { subject, what, value } in samples {
        match figures.iter_mut().find(|figure| figure.subject == *subject && figure.what == *what) {
            Some(figure) => figure.values.push(*value),
            None => figures.push(Figure {
                subject: subject.clone(),
                what: what.clone(),
                values: vec![*value],
                median: 0.0,
            }),
        }
    }
    for figure in &mut figures {
        figure.median = median(&figure.values);
    }
    figures
}

/// The middle value; the mean of the middle two. 0 of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// What a figure should be at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// Whose figure.
    pub subject: &'static str,
    /// Which one.
    pub what: &'static str,
    /// How much at most.
    pub at_most: Limit,
}

/// A bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// A value in the figure's unit.
    Value(f64),
    /// So many times another subject's figure of the same kind, in the same run.
    Times(f64, &'static str),
}

impl Goal {
    /// The bound in the figure's unit; `None` when the other subject was not measured.
    #[must_use]
    pub fn bound(&self, figures: &[Figure]) -> Option<f64> {
        match self.at_most {
            Limit::Value(value) => Some(value),
            Limit::Times(factor, other) => Some(factor * find(figures, other, self.what)?.median),
        }
    }

    /// Measured over bound: at most 1 when the goal is met. `None` when either was not measured.
    #[must_use]
    pub fn share(&self, figures: &[Figure]) -> Option<f64> {
        Some(find(figures, self.subject, self.what)?.median / self.bound(figures)?)
    }
}

/// The figure of that subject and kind.
#[must_use]
pub fn find<'a>(figures: &'a [Figure], subject: &str, what: &str) -> Option<&'a Figure> {
    figures.iter().find(|figure| figure.subject == subject && figure.what == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_round_does_not_move_the_median() {
        assert_eq!(median(&[5.0, 900.0, 6.0]), 6.0);
        assert_eq!(median(&[4.0, 6.0]), 5.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_goal_is_held_against_the_same_run() {
        let samples = [("bare", 2.0), ("ours", 3.0), ("bare", 4.0), ("ours", 5.0)]
            .map(|(subject, value)| Sample::new(subject, "CPU µs", value));
        let figures = figures(&samples);
        assert_eq!(figures.len(), 2);
        let goal = |at_most| Goal { subject: "ours", what: "CPU µs", at_most };
        assert_eq!(goal(Limit::Times(2.0, "bare")).bound(&figures), Some(6.0));
        assert_eq!(goal(Limit::Value(2.0)).share(&figures), Some(2.0));
        assert_eq!(goal(Limit::Times(2.0, "absent")).share(&figures), None);
    }
}
