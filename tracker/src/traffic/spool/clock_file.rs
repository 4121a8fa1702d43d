//! The site's clock across restarts. Beside the spooled announces lies what time it was, and how long this
//! machine had been running: a clock that nobody sets. So a process that follows soon stamps by the same
//! clock from its first announce on, and believes neither Redis' clock nor this machine's, one of which
//! somebody may have set meanwhile.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tracing::warn;

use crate::traffic::reply::Clock;

const NAME: &str = "clock";
/// Differs after each start of the machine.
const MACHINE: &str = "/proc/sys/kernel/random/boot_id";
/// Milliseconds by which what is kept may be off before it is written again.
const TOLERATED_MS: u64 = 2;
/// It is written again as often as this at least, if anything is written.
const RENEWED_MS: u64 = 60_000;
/// What is older is not gone on with: others may have slewed the site's clock by seconds meanwhile.
const LASTS_MS: u64 = 600_000;

/// What time it was, so long after the machine's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::traffic) struct Told {
    clock: Clock,
    running_ms: u64,
}

impl Told {
    /// The time is now `clock`; `None` on a machine that does not say how long it has been running.
    pub(in crate::traffic) fn now(clock: Clock) -> Option<Self> {
        Some(Self { clock, running_ms: running_ms()? })
    }

    fn foresaw(&self, later: &Self) -> bool {
        let after = later.running_ms.saturating_sub(self.running_ms);
        let is_off = (self.clock.site_ms + after).abs_diff(later.clock.site_ms) > TOLERATED_MS;
        !is_off && after <= RENEWED_MS
    }
}

fn running_ms() -> Option<u64> {
    let since = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    u64::try_from(since.as_millis()).ok()
}

/// The file, of fixed length: it is written in place, so that a full disk takes it, too.
#[derive(Debug)]
pub(super) struct ClockFile {
    path: PathBuf,
    /// `None`: the machine does not say which of its starts this is.
    machine: Option<String>,
    kept: Option<Told>,
    fails: bool,
}

impl ClockFile {
    pub(super) fn open(directory: &Path) -> Self {
        let machine = fs::read_to_string(MACHINE).ok().map(|id| id.trim().to_owned());
        Self::of(directory, machine)
    }

    fn of(directory: &Path, machine: Option<String>) -> Self {
        let path = directory.join(NAME);
        let kept = machine.as_deref().and_then(|machine| read(&path, machine));
        Self { path, machine, kept, fails: false }
    }

    /// What time it was when a process last kept it, and how long ago that is.
    pub(super) fn told(&self) -> Option<(Clock, Duration)> {
        self.told_at(running_ms()?)
    }

    fn told_at(&self, running_ms: u64) -> Option<(Clock, Duration)> {
        let kept = self.kept?;
        let age_ms = running_ms.checked_sub(kept.running_ms).filter(|age_ms| *age_ms <= LASTS_MS)?;
        Some((kept.clock, Duration::from_millis(age_ms)))
    }

    /// Keeps it, unless that follows from what is kept.
    pub(super) fn keep(&mut self, told: Told) {
        let Some(machine) = &self.machine else { return };
        if self.kept.is_some_and(|kept| kept.foresaw(&told)) {
            return;
        }
        let written = write(&self.path, &line(machine, told));
        if let Err(error) = &written
            && !self.fails
        {
            let file = self.path.display();
            warn!(%file, %error, "the site's clock cannot be kept; the next process asks Redis for it");
        }
        self.fails = written.is_err();
        self.kept = Some(told).filter(|_| !self.fails);
    }
}

fn write(path: &Path, line: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.write_all_at(line.as_bytes(), 0)
}

fn line(machine: &str, Told { clock, running_ms }: Told) -> String {
    let line = format!("{machine} {running_ms:020} {:020} {:+020}", clock.site_ms, clock.ahead_ms);
    format!("{line} {:08x}\n", crc32fast::hash(line.as_bytes()))
}

fn read(path: &Path, machine: &str) -> Option<Told> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(_) => String::new(),
    };
    let told = parsed(&text);
    if told.is_none() {
        warn!(file = %path.display(), "the site's clock cannot be read; Redis is asked for it");
    }
    told.filter(|(of, _)| of == machine).map(|(_, told)| told)
}

fn parsed(text: &str) -> Option<(String, Told)> {
    let mut words = text.split_ascii_whitespace();
    let machine = words.next()?;
    let (running_ms, site_ms, ahead_ms) = (words.next()?, words.next()?, words.next()?);
    let clock = Clock { site_ms: site_ms.parse().ok()?, ahead_ms: ahead_ms.parse().ok()? };
    let told = Told { clock, running_ms: running_ms.parse().ok()? };
    (text == line(machine, told)).then(|| (machine.to_owned(), told))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u64 = 1_700_000_000_000;

    fn told(site_ms: u64, running_ms: u64) -> Told {
        Told { clock: Clock { site_ms, ahead_ms: -7 }, running_ms }
    }

    fn on(folder: &tempfile::TempDir, machine: &str) -> ClockFile {
        ClockFile::of(folder.path(), Some(machine.to_owned()))
    }

    #[test]
    fn the_next_process_knows_what_time_it_was_and_how_long_ago() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = on(&folder, "one");
        assert_eq!(file.told_at(0), None);
        for ms in [0, 5000, 4000] {
            file.keep(told(T0 + ms, 100 + ms));
        }
        file.keep(told(T0 + 9000, 5100));
        let clock = Clock { site_ms: T0 + 9000, ahead_ms: -7 };
        for file in [file, on(&folder, "one")] {
            assert_eq!(file.told_at(5150), Some((clock, Duration::from_millis(50))));
        }
    }

    #[test]
    fn what_another_start_of_the_machine_knew_or_what_is_old_or_damaged_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        on(&folder, "one").keep(told(T0, 100));
        assert_eq!(on(&folder, "two").told_at(150), None);
        assert_eq!(on(&folder, "one").told_at(99), None, "that is another machine's time");
        assert_eq!(on(&folder, "one").told_at(101 + LASTS_MS), None);
        let path = folder.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert_eq!(on(&folder, "one").told_at(150), None, "{at}");
        }
    }

    #[test]
    fn it_is_written_where_it_lies_and_only_when_it_says_something_new() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = on(&folder, "one");
        file.keep(told(T0, 100));
        let path = folder.path().join(NAME);
        let first = fs::read(&path).unwrap();
        file.keep(told(T0 + 5000, 5101));
        assert_eq!(fs::read(&path).unwrap(), first);
        file.keep(told(T0 + 5000, 4900));
        let second = fs::read(&path).unwrap();
        assert!(second != first && second.len() == first.len());
        file.keep(told(T0 + 5100 + RENEWED_MS, 5000 + RENEWED_MS));
        assert_ne!(fs::read(&path).unwrap(), second);
    }
}
