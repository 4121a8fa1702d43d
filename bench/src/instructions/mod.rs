//! The guard: counts the processor's instructions of fixed work under callgrind and holds them against the
//! committed counts.
//!
//! Instructions do not depend on what else the machine does, so a few percent more are a change of the
//! program, not noise.

mod workloads;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

pub use workloads::{WORKLOADS, Workload};

/// What may change without anybody being asked, in percent. Keys of hash maps and random picks differ from
/// run to run by less.
pub const TOLERANCE_PERCENT: f64 = 3.0;

/// Instructions of one unit of work, by workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// What the counts were taken with: another compiler makes other instructions.
    pub compiler: String,
    /// Instructions for each unit.
    pub each: BTreeMap<String, u64>,
}

impl Counts {
    /// Counts all workloads, each in a process of its own under callgrind.
    ///
    /// # Errors
    /// When valgrind is missing or a workload fails.
    pub fn take(work: &Path) -> Result<Self> {
        let mut each = BTreeMap::new();
        for workload in WORKLOADS {
            eprintln!("counting: {}", workload.name);
            each.insert(workload.name.to_owned(), instructions(workload, work)? / workload.units);
        }
        let version = Command::new("rustc").arg("--version").output().context("asking the compiler")?;
        Ok(Self { compiler: String::from_utf8_lossy(&version.stdout).trim().to_owned(), each })
    }

    /// Reads committed counts.
    ///
    /// # Errors
    /// When the file is missing or no such thing.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}", file.display()))
    }

    /// Writes them to be committed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        fs::write(file, serde_json::to_string_pretty(self)? + "\n").context("writing the counts")
    }

    /// How these differ from accepted ones: a line for each workload, and whether one is out of bounds.
    #[must_use]
    pub fn compared(&self, accepted: &Self) -> Comparison {
        let (mut lines, mut verdict) = (Vec::new(), Verdict::Alike);
        if self.compiler != accepted.compiler {
            lines.push(format!(
                "compilers differ: accepted with {}, counted with {}",
                accepted.compiler, self.compiler
            ));
        }
        for (name, count) in &self.each {
            let Some(known) = accepted.each.get(name).filter(|known| **known > 0) else {
                lines.push(format!(
                    "{name:<12} {count:>9}  new: scripts/bench --instructions --accept keeps it"
                ));
                verdict = Verdict::Changed;
                continue;
            };
            let percent = 100.0 * (crate::cost::as_f64(*count) / crate::cost::as_f64(*known) - 1.0);
            let changed = percent.abs() > TOLERANCE_PERCENT;
            let note = if changed { "CHANGED" } else { "" };
            lines.push(
                format!("{name:<12} {count:>9}  was {known:>9}  {percent:>+6.1} %  {note}")
                    .trim_end()
                    .to_owned(),
            );
            if changed {
                verdict = Verdict::Changed;
            }
        }
        Comparison { lines, verdict }
    }
}

/// What a comparison says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// One for each workload.
    pub lines: Vec<String>,
    /// All in all.
    pub verdict: Verdict,
}

/// Whether anything changed by more than [`TOLERANCE_PERCENT`], for better or worse: both belong into the
/// committed counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing did.
    Alike,
    /// Something did.
    Changed,
}

/// Runs a workload in this process; callgrind counts while `counted` runs.
///
/// # Errors
/// When there is none of this name, or its preparation fails.
pub fn run(name: &str) -> Result<()> {
    let workload = WORKLOADS.iter().find(|workload| workload.name == name).context("no such workload")?;
    let mut work = (workload.prepare)()?;
    counted(&mut *work)
}

/// The boundary that callgrind is told about, so it must stay a function of its own.
#[inline(never)]
fn counted(work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    work()
}

fn instructions(workload: &Workload, work: &Path) -> Result<u64> {
    let file = work.join(format!("callgrind.{}", workload.name));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*instructions::counted*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["apart", "workload", workload.name])
        .output()
        .context("valgrind is not installed: apt-get install valgrind")?;
    ensure!(output.status.success(), "{} failed: {}", workload.name, String::from_utf8_lossy(&output.stderr));
    let page = fs::read_to_string(&file).context("what callgrind wrote")?;
    let total =
        page.lines().find_map(|line| line.strip_prefix("totals:")).context("callgrind wrote no total")?;
    let total = total.trim().parse().context("callgrind's total")?;
    ensure!(total > 0, "callgrind did not see the work of {}", workload.name);
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(each: &[(&str, u64)]) -> Counts {
        let each = each.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Counts { compiler: "rustc".into(), each }
    }

    #[test]
    fn three_percent_are_noise_and_four_are_not() {
        let accepted = counts(&[("announce", 1000)]);
        assert_eq!(counts(&[("announce", 1029)]).compared(&accepted).verdict, Verdict::Alike);
        assert_eq!(counts(&[("announce", 1040)]).compared(&accepted).verdict, Verdict::Changed);
        assert_eq!(counts(&[("announce", 960)]).compared(&accepted).verdict, Verdict::Changed);
        assert_eq!(counts(&[("other", 5)]).compared(&accepted).verdict, Verdict::Changed);
    }

    #[test]
    fn the_committed_counts_are_of_the_workloads_there_are() {
        let committed =
            Counts::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json")).unwrap();
        let mut names: Vec<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
        names.sort_unstable();
        assert_eq!(committed.each.keys().map(String::as_str).collect::<Vec<_>>(), names);
    }

    #[test]
    fn every_workload_works_without_callgrind_too() {
        for workload in WORKLOADS {
            run(workload.name).unwrap_or_else(|error| panic!("{}: {error:#}", workload.name));
        }
    }
}
