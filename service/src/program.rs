//! How every program begins and ends. A file and the environment become a plan; `--check` shows the plan in
//! place of carrying it out. Exit code 2: what the operator wrote cannot be used, which another attempt does
//! not change. Exit code 1: it could, and the program failed.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use contract::config::Problems;
use serde_json::Value;

/// A configuration that was read and checked.
pub trait Plan {
    /// What is in force, as a tree: defaults filled in, secrets hidden.
    ///
    /// # Errors
    /// When something cannot be shown.
    fn effective(&self) -> Result<Value, Problems>;

    /// What works, but hardly as the operator wants it.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Whether to carry the plan out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Carry the plan out.
    Run,
    /// Print the configuration, and stop.
    Check,
}

impl Mode {
    /// `--check` or not.
    #[must_use]
    pub fn of(check: bool) -> Self {
        if check { Self::Check } else { Self::Run }
    }
}

/// Reads a file's text (empty: there is no file) and makes a plan of it.
///
/// # Errors
/// Which file cannot be read, or all that is wrong with it.
pub fn read<P>(file: Option<&Path>, plan: impl FnOnce(&str) -> Result<P, Problems>) -> Result<P> {
    let text = match file {
        Some(path) => fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => String::new(),
    };
    plan(&text).map_err(|Problems(lines)| {
        let place = file.map_or("the environment".into(), |path| path.display().to_string());
        let count = if lines.len() == 1 { "1 thing".into() } else { format!("{} things", lines.len()) };
        anyhow!("{place}: {count} to mend\n  {}", lines.join("\n  "))
    })
}

/// The whole of a program's `main`, behind its arguments.
pub fn main<P: Plan>(mode: Mode, plan: Result<P>, run: impl FnOnce(P) -> Result<()>) -> ExitCode {
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return ended(&error, ExitCode::from(2)),
    };
    let outcome = match mode {
        Mode::Check => show(&plan),
        Mode::Run => run(plan),
    };
    outcome.map_or_else(|error| ended(&error, ExitCode::FAILURE), |()| ExitCode::SUCCESS)
}

fn show(plan: &impl Plan) -> Result<()> {
    for warning in plan.warnings() {
        eprintln!("warning: {warning}");
    }
    println!("{}", serde_json::to_string_pretty(&plan.effective()?)?);
    Ok(())
}

fn ended(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    eprintln!("{error:#}");
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nothing;

    impl Plan for Nothing {
        fn effective(&self) -> Result<Value, Problems> {
            Ok(Value::Null)
        }
    }

    fn code(plan: Result<Nothing>, outcome: Result<()>) -> ExitCode {
        main(Mode::Run, plan, |_| outcome)
    }

    #[test]
    fn the_exit_code_says_whether_trying_again_makes_sense() {
        assert_eq!(code(Ok(Nothing), Ok(())), ExitCode::SUCCESS);
        assert_eq!(code(Ok(Nothing), Err(anyhow!("Redis"))), ExitCode::FAILURE);
        assert_eq!(code(Err(anyhow!("the file")), Ok(())), ExitCode::from(2));
        let run = |_| panic!("a check runs nothing");
        assert_eq!(main(Mode::Check, Ok(Nothing), run), ExitCode::SUCCESS);
    }

    #[test]
    fn all_problems_are_told_with_the_file_that_has_them() {
        let two = |_: &str| Err::<Nothing, _>(Problems(vec!["`a`".into(), "`b`".into()]));
        assert_eq!(
            read(None, two).unwrap_err().to_string(),
            "the environment: 2 things to mend\n  `a`\n  `b`"
        );
        let missing = read(Some(Path::new("/nowhere/t.yaml")), two).unwrap_err().to_string();
        assert_eq!(missing, "cannot read /nowhere/t.yaml");
    }
}
