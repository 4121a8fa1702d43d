//! A process' wall clock, set by a file that a small library in it reads at every question for the time.
//!
//! Timers do not notice: they use the monotonic clock, which is left alone, as a step of the system's clock
//! leaves it alone.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the process loads before everything else.
const LIBRARY: &str = include_str!("clock.c");

/// The clock of one process and of those that follow it.
#[derive(Debug, Clone)]
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// A clock that is right so far; `None` without a C compiler. Its library is made beside the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn right(file: PathBuf) -> io::Result<Option<Self>> {
        let library = file.with_extension("so");
        if !compiles(&library)? {
            return Ok(None);
        }
        let clock = Self { library, file };
        clock.set(0)?;
        Ok(Some(clock))
    }

    /// Sets it so many milliseconds off.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set(&self, offset_ms: i64) -> io::Result<()> {
        let (sign, ms) = (if offset_ms < 0 { '-' } else { '+' }, offset_ms.unsigned_abs());
        // Renamed, so that nobody reads half of it.
        let written = self.file.with_extension("new");
        fs::write(&written, format!("{sign}{}.{:03}\n", ms / 1000, ms % 1000))?;
        fs::rename(written, &self.file)
    }

    /// What its process needs to see it.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.library.clone()), ("CLOCK_OFFSET_FILE", self.file.clone())]
    }
}

fn compiles(library: &Path) -> io::Result<bool> {
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-x", "c", "-", "-o"]).arg(library).stdin(Stdio::piped());
    let Ok(mut compiler) = compiler.spawn() else { return Ok(false) };
    if let Some(mut source) = compiler.stdin.take() {
        source.write_all(LIBRARY.as_bytes())?;
    }
    Ok(compiler.wait()?.success())
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_process_sees_the_time_that_its_clock_is_set_to() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::right(folder.path().join("a.clock")).unwrap().expect("cc is installed");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for hours in [-1, 0, 24] {
            clock.set(hours * 3_600_000).unwrap();
            let date = Command::new("date").arg("+%s").envs(clock.environment()).output().unwrap();
            let seen: i64 = String::from_utf8(date.stdout).unwrap().trim().parse().unwrap();
            assert!((seen - now.cast_signed() - hours * 3600).abs() < 60, "{seen} at {now}");
        }
    }
}
