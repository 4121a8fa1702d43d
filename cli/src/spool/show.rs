//! `spool show`: how much waits, since when, and is any of it damaged?

use std::path::Path;

use serde::Serialize;
use tracker::traffic::{Survey, SurveyedFile, SurveyedKind};

use super::survey;
use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::human::{bytes, count, utc};
use crate::output::{Report, facts, table};

#[derive(Serialize)]
struct Shown {
    directory: String,
    /// A tracker has possession of it.
    in_use: bool,
    waiting: Sum,
    /// What Redis refused; it is tried again.
    aside: Sum,
    /// What Redis confirmed lately.
    tail: Sum,
    /// Files that nothing reads any more.
    damaged: Sum,
    /// In the files that are read.
    damaged_places: u64,
    files: Vec<File>,
}

#[derive(Serialize, Default)]
struct Sum {
    files: u64,
    records: u64,
    bytes: u64,
    oldest: Option<String>,
    newest: Option<String>,
}

#[derive(Serialize)]
struct File {
    file: String,
    kind: &'static str,
    /// The process that numbered its announces.
    tracker: Option<String>,
    records: u64,
    bytes: u64,
    oldest: Option<String>,
    newest: Option<String>,
    damaged_places: u64,
}

/// Shows what lies in a folder.
pub(crate) fn run(directory: &Path, context: &Context) -> Result<Answer, Failure> {
    let survey = survey(directory)?;
    context.output.show(&Shown {
        directory: directory.display().to_string(),
        in_use: survey.is_in_use,
        waiting: Sum::of(&survey, SurveyedKind::Waiting),
        aside: Sum::of(&survey, SurveyedKind::Aside),
        tail: Sum::of(&survey, SurveyedKind::Tail),
        damaged: Sum::of(&survey, SurveyedKind::Damaged),
        damaged_places: survey.files.iter().map(|file| file.damaged).sum(),
        files: survey.files.iter().map(|file| File::of(file, directory)).collect(),
    })?;
    Ok(Answer::Done)
}

fn time(ms: Option<u64>) -> Option<String> {
    ms.map(|ms| utc(ms / 1000))
}

impl Sum {
    fn of(survey: &Survey, kind: SurveyedKind) -> Self {
        let mut sum = Self::default();
        for file in survey.of_kind(kind) {
            sum.files += 1;
            sum.records += file.records;
            sum.bytes += file.bytes;
        }
        sum.oldest = time(survey.of_kind(kind).filter_map(|file| file.oldest_ms).min());
        sum.newest = time(survey.of_kind(kind).filter_map(|file| file.newest_ms).max());
        sum
    }

    fn text(&self) -> String {
        let files = count(self.files, "file", "files");
        match (&self.oldest, &self.newest) {
            (Some(oldest), Some(newest)) => format!(
                "{} in {files}, {}, from {oldest} to {newest}",
                count(self.records, "announce", "announces"),
                bytes(self.bytes)
            ),
            _ if self.files > 0 => format!("{files}, {}", bytes(self.bytes)),
            _ => "-".to_owned(),
        }
    }
}

impl File {
    fn of(file: &SurveyedFile, directory: &Path) -> Self {
        let name = file.path.strip_prefix(directory).unwrap_or(&file.path);
        Self {
            file: name.display().to_string(),
            kind: match file.kind {
                SurveyedKind::Waiting => "waiting",
                SurveyedKind::Aside => "aside",
                SurveyedKind::Tail => "tail",
                SurveyedKind::Damaged => "damaged",
            },
            tracker: file.tracker_id.clone(),
            records: file.records,
            bytes: file.bytes,
            oldest: time(file.oldest_ms),
            newest: time(file.newest_ms),
            damaged_places: file.damaged,
        }
    }

    fn row(&self) -> Vec<String> {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        vec![
            self.file.clone(),
            or_dash(&self.tracker),
            self.records.to_string(),
            bytes(self.bytes),
            or_dash(&self.oldest),
            or_dash(&self.newest),
            self.damaged_places.to_string(),
        ]
    }
}

impl Report for Shown {
    fn text(&self) -> String {
        let in_use = if self.in_use { "yes: its files change meanwhile" } else { "no" };
        let sums = facts([
            ("spool", self.directory.clone()),
            ("in use", in_use.to_owned()),
            ("waiting", self.waiting.text()),
            ("set aside", self.aside.text()),
            ("tail", self.tail.text()),
            ("damaged files", self.damaged.text()),
            ("damaged places", self.damaged_places.to_string()),
        ]);
        if self.files.is_empty() {
            return sums;
        }
        let header = ["file", "tracker", "announces", "size", "oldest", "newest", "damaged places"];
        format!("{sums}\n{}", table(&header, &[2, 3, 6], self.files.iter().map(File::row)))
    }
}
