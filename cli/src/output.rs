//! Results on stdout, as text for people or as one JSON document for programs; notes on stderr.
//!
//! Everything is written with errors checked: a closed pipe ends the program quietly instead of in a panic.

use std::io::{self, BufWriter, StdoutLock, Write};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::failure::Failure;

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines and tables.
    Text,
    /// One JSON document.
    Json,
}

/// A result that can be shown in both forms.
pub(crate) trait Report: Serialize {
    /// The text form, without the last line break.
    fn text(&self) -> String;
}

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    /// Results in this form.
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// The chosen form, for commands that write as they read.
    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Shows the one result of a command.
    pub(crate) fn show(self, report: &impl Report) -> Result<(), Failure> {
        match self.format {
            Format::Text => line(&report.text()),
            Format::Json => json_line(report),
        }
    }

    /// A list that is shown while it is read, so that its length costs no memory.
    pub(crate) fn list(self) -> List {
        List { format: self.format, out: BufWriter::new(io::stdout().lock()), shown: 0 }
    }
}

/// Writes one line of text to stdout.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Writes one JSON document as one line to stdout.
pub(crate) fn json_line(document: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(document).map_err(io::Error::from)?)
}

/// Writes a remark to stderr. A closed stderr is no reason to stop, and there is nobody left to tell.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// Says on stderr why a command was not carried out, unless the reader of our output went away: whoever
/// pipes into `head` expects silence.
pub(crate) fn explain(failure: &Failure) {
    if !matches!(failure, Failure::OutputClosed) {
        note(&format!("error: {failure}"));
    }
}

/// A growing list: lines of text, or the elements of one JSON array.
pub(crate) struct List {
    format: Format,
    out: BufWriter<StdoutLock<'static>>,
    shown: u64,
}

impl List {
    /// Adds one element.
    pub(crate) fn push(&mut self, element: &str) -> Result<(), Failure> {
        match self.format {
            Format::Text => writeln!(self.out, "{element}")?,
            Format::Json => {
                self.out.write_all(if self.shown == 0 { b"[" } else { b"," })?;
                serde_json::to_writer(&mut self.out, element).map_err(io::Error::from)?;
            }
        }
        self.shown += 1;
        Ok(())
    }

    /// How many elements were added.
    pub(crate) fn len(&self) -> u64 {
        self.shown
    }

    /// Ends the list.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        if self.format == Format::Json {
            self.out.write_all(if self.shown == 0 { b"[]\n" } else { b"]\n" })?;
        }
        Ok(self.out.flush()?)
    }
}

/// A table with light borders. Columns named in `numeric` (by index) are set flush right.
pub(crate) fn table(
    header: &[&str],
    numeric: &[usize],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.to_vec()).add_rows(rows);
    for index in numeric {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// A two-column table of names and values.
pub(crate) fn facts(rows: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.add_rows(rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]));
    table.to_string()
}
