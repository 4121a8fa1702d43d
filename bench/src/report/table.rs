//! The table: one line for each figure, with its spread and what it is held against.

use comfy_table::{CellAlignment, Table, presets};

use super::{Judged, Measured, Run};
use crate::figures::Figure;

/// The whole run as text.
#[must_use]
pub fn table(run: &Run) -> String {
    let machine = &run.machine;
    let mut text = format!(
        "{} ({} cores), kernel {}, Redis {}, {}; {} run, {} rounds\n",
        machine.processor, machine.cores, machine.kernel, machine.redis, machine.date, run.scale, run.rounds
    );
    for row in &run.rows {
        text.push_str(&format!("\n{} ({})\n{}\n", row.title, row.name, of_row(row)));
    }
    text
}

fn of_row(row: &Measured) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["who", "what", "median", "from", "to", "goal", ""]);
    for figure in &row.figures {
        let judged = row.goals.iter().find(|goal| goal.subject == figure.subject && goal.what == figure.what);
        table.add_row(line(figure, judged));
    }
    for column in 2..5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn line(figure: &Figure, judged: Option<&Judged>) -> [String; 7] {
    let least = figure.values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figure.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let goal = judged.map_or_else(String::new, |judged| match judged.at_most {
        Some(bound) if judged.goal.contains('x') => format!("{} = {}", judged.goal, number(bound)),
        Some(_) => judged.goal.clone(),
        None => format!("{} (not measured)", judged.goal),
    });
    let verdict = match judged.and_then(|judged| judged.met) {
        Some(true) => "met",
        Some(false) => "missed",
        None => "",
    };
    let [subject, what] = [&figure.subject, &figure.what].map(Clone::clone);
    [subject, what, number(figure.median), number(least), number(most), goal, verdict.to_owned()]
}

/// Three significant digits, or all before the point.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
