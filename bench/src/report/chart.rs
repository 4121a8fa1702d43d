//! The chart: bars of processor time, hand-written SVG. One group for each row, the shortest bar wins.

use std::fmt::Write;

use super::{Measured, Run};
use crate::figures::Figure;

const WIDTH: f64 = 860.0;
const LABEL: f64 = 250.0;
const BAR: f64 = 16.0;
const GAP: f64 = 6.0;
const TITLE: f64 = 30.0;
/// What is drawn: the figures whose unit ends like this.
const UNIT: &str = "µs";

/// The run's processor times as one picture.
#[must_use]
pub fn chart(run: &Run) -> String {
    let mut body = String::new();
    let mut y = 8.0;
    for row in &run.rows {
        let bars: Vec<&Figure> = row.figures.iter().filter(|figure| figure.what.ends_with(UNIT)).collect();
        if !bars.is_empty() {
            y = group(&mut body, y, row, &bars);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

/// One row's bars from `y` down; where they end.
fn group(body: &mut String, y: f64, row: &Measured, bars: &[&Figure]) -> f64 {
    let longest = bars.iter().map(|figure| figure.median).fold(f64::MIN_POSITIVE, f64::max);
    add(
        body,
        &format!("<text x=\"8\" y=\"{}\" font-weight=\"bold\">{}</text>", y + 16.0, escaped(row.title)),
    );
    let mut y = y + TITLE;
    for figure in bars {
        let length = (WIDTH - LABEL - 90.0) * figure.median / longest;
        let color = if figure.subject.starts_with("seedbook") { "#2a7f62" } else { "#9aa5b1" };
        let (label, base) = (format!("{}: {}", figure.subject, figure.what), y + BAR - 4.0);
        let value = super::table::number(figure.median);
        add(
            body,
            &format!(
                "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text>",
                LABEL - 6.0,
                escaped(&label)
            ),
        );
        add(
            body,
            &format!(
                "<rect x=\"{LABEL}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{color}\"/>"
            ),
        );
        add(body, &format!("<text x=\"{:.1}\" y=\"{base}\">{value}</text>", LABEL + length + 5.0));
        y += BAR + GAP;
    }
    y + GAP
}

fn add(body: &mut String, element: &str) {
    // Writing into a string cannot fail.
    writeln!(body, "{element}").unwrap_or_default();
}

/// Text as SVG takes it.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
