//! `trackerctl check`: is a configuration file right, and what would be in force?

use std::fs::File;
use std::io::Read;

use clap::{Args, ValueEnum};
use contract::config::{Problems, parse_yaml};
use serde::Serialize;
use serde_json::Value;
use service::program::Plan as _;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::human::count;
use crate::output::Report;

/// A configuration beyond this is none.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Keys of a tracker's file that the tracker moves or renames before it reads them.
const MORE_TRACKER_KEYS: [&str; 4] = ["chihaya", "prehooks", "posthooks", "udp"];

/// Check a configuration file: every problem at once, or what would be in force. Exit code 1 when there is a
/// problem.
#[derive(Debug, Args)]
#[command(
    after_help = "The environment is left out, because the service's own differs from this shell's.\n\n\
                        Example:\n  trackerctl check tracker.yaml\n  trackerctl check --program consumer site.yaml"
)]
pub(crate) struct Check {
    /// The YAML file.
    file: String,
    /// Whose file it is; seen by its keys if not given.
    #[arg(long)]
    program: Option<Program>,
}

/// The programs that read a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Program {
    /// `tracker --config`
    Tracker,
    /// `consumer --config`
    Consumer,
}

#[derive(Serialize)]
struct Checked {
    program: Option<Program>,
    ok: bool,
    problems: Vec<String>,
    effective: Option<Value>,
}

/// Checks one file.
pub(crate) fn run(command: &Check, context: &Context) -> Result<Answer, Failure> {
    let text = read(&command.file)?;
    let checked = match parse_yaml(&text) {
        Err(problems) => Checked::refused(command.program, problems),
        Ok(tree) => {
            let program = command.program.or_else(|| owner(&tree)).ok_or_else(|| {
                Failure::usage(format!(
                    "{}: its keys do not tell whose file it is; say --program tracker or --program consumer",
                    command.file
                ))
            })?;
            check(program, &text)
        }
    };
    context.output.show(&checked)?;
    Ok(if checked.ok { Answer::Done } else { Answer::No })
}

fn read(path: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(length) if length as u64 > MAX_FILE_BYTES => {
            Err(Failure::usage(format!("{path} is larger than 4 MiB: no configuration")))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::usage(format!("cannot read {path}: {error}"))),
    }
}

/// Whose keys are in the majority; `None` when neither's are.
fn owner(tree: &Value) -> Option<Program> {
    let tracker = known::<tracker::config::Config>();
    let consumer = known::<consumer::config::Config>();
    let (mut for_tracker, mut for_consumer) = (0, 0);
    for key in tree.as_object().into_iter().flat_map(serde_json::Map::keys) {
        let of_tracker = tracker.get(key).is_some() || MORE_TRACKER_KEYS.contains(&key.as_str());
        let of_consumer = consumer.get(key).is_some();
        for_tracker += u32::from(of_tracker && !of_consumer);
        for_consumer += u32::from(of_consumer && !of_tracker);
    }
    match for_tracker.cmp(&for_consumer) {
        std::cmp::Ordering::Greater => Some(Program::Tracker),
        std::cmp::Ordering::Less => Some(Program::Consumer),
        std::cmp::Ordering::Equal => None,
    }
}

/// The keys that a configuration has, as its defaults show them.
fn known<T: Serialize + Default>() -> Value {
    serde_json::to_value(T::default()).unwrap_or_default()
}

fn check(program: Program, text: &str) -> Checked {
    let effective = match program {
        Program::Tracker => tracker::config::Plan::load(Some(text), []).and_then(|plan| plan.effective()),
        Program::Consumer => consumer::config::Plan::load(text, []).and_then(|plan| plan.effective()),
    };
    match effective {
        Ok(effective) => {
            Checked { program: Some(program), ok: true, problems: Vec::new(), effective: Some(effective) }
        }
        Err(problems) => Checked::refused(Some(program), problems),
    }
}

impl Checked {
    fn refused(program: Option<Program>, Problems(problems): Problems) -> Self {
        Self { program, ok: false, problems, effective: None }
    }
}

impl Report for Checked {
    fn text(&self) -> String {
        let program = match self.program {
            Some(Program::Tracker) => "tracker",
            Some(Program::Consumer) => "consumer",
            None => "a program",
        };
        match &self.effective {
            // Pretty-printing what was built from JSON a moment ago cannot fail; its plain form is the
            // fallback.
            Some(effective) => {
                let shown = serde_json::to_string_pretty(effective).unwrap_or_else(|_| effective.to_string());
                format!("ok, for {program}; in force:\n{shown}")
            }
            None => {
                let problems = count(self.problems.len() as u64, "problem", "problems");
                format!("{problems}, for {program}:\n  {}", self.problems.join("\n  "))
            }
        }
    }
}
