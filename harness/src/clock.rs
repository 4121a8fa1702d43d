//! A process' wall clock, set by libfaketime from a file that it reads at every question for the time.
//!
//! Timers do not notice: they use the monotonic clock, which is left alone, as a step of the system's clock
//! leaves it alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The clock of one process and of those that follow it.
#[derive(Debug, Clone)]
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// A clock that is right so far; `None` without libfaketime.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn right(file: PathBuf) -> io::Result<Option<Self>> {
        let Some(library) = library() else { return Ok(None) };
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
    pub fn environment(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }
}

/// Debian has one folder for each kind of machine.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?;
    let places = folders.flatten().map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    places.into_iter().find(|place: &PathBuf| Path::is_file(place))
}
