//! Which tracker this is, across its restarts: a random number in the spool's folder. A client's paths are
//! told apart by it.

use std::io::{self, Read};

use tracing::warn;

use super::disk::{Disk, DiskFile};

const NAME: &str = "identity";
/// The number and its checksum, in hexadecimal.
const LENGTH: u64 = 26;

/// The number that is kept on the disk, or `new`, which is kept from now on.
pub(super) fn identity<D: Disk>(disk: &D, new: u64) -> io::Result<u64> {
    if disk.names()?.iter().any(|name| name == NAME) {
        let mut text = String::new();
        let read = disk.read(NAME, 0)?.take(LENGTH).read_to_string(&mut text);
        if let Some(kept) = read.ok().and_then(|_| number(&text)) {
            return Ok(kept);
        }
        let file = disk.path(NAME);
        warn!(file = %file.display(), "the tracker's identity cannot be read; it has another one now");
    }
    keep(disk, new)?;
    Ok(new)
}

fn number(text: &str) -> Option<u64> {
    let (number, _) = text.split_at_checked(16)?;
    let number = u64::from_str_radix(number, 16).ok()?;
    (text == written(number)).then_some(number)
}

fn written(number: u64) -> String {
    let number = format!("{number:016x}");
    format!("{number} {:08x}\n", crc32fast::hash(number.as_bytes()))
}

/// In one step, so that a kill leaves the old file or the new one.
fn keep<D: Disk>(disk: &D, number: u64) -> io::Result<()> {
    let beside = format!("{NAME}.new");
    if disk.names()?.contains(&beside) {
        disk.remove(&beside)?;
    }
    let mut file = disk.create(&beside)?;
    file.write(written(number).as_bytes())?;
    file.sync()?;
    disk.rename(&beside, NAME)?;
    disk.sync_names()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::sync::Arc;

    use super::*;
    use crate::traffic::spool::MemoryDisk;

    /// What is logged meanwhile.
    fn logged(work: impl FnOnce()) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Arc::new(File::options().append(true).open(file.path()).unwrap());
        let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, work);
        fs::read_to_string(file.path()).unwrap()
    }

    fn on_disk(disk: &MemoryDisk) -> String {
        let mut text = String::new();
        disk.read(NAME, 0).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn put(disk: &MemoryDisk, name: &str, text: &str) {
        if disk.names().unwrap().iter().any(|other| other == name) {
            disk.remove(name).unwrap();
        }
        disk.create(name).unwrap().write(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_tracker_stays_the_same_across_restarts_and_losses_of_power() {
        let disk = MemoryDisk::default();
        let said = logged(|| {
            assert_eq!(identity(&disk, 7).unwrap(), 7);
            disk.lose_power(0);
            for new in 8..12 {
                assert_eq!(identity(&disk, new).unwrap(), 7);
            }
        });
        assert_eq!(said, "");
    }

    #[test]
    fn a_damaged_identity_is_replaced_and_the_log_names_the_file() {
        let whole = written(7);
        let cut = |length: usize| whole[..length].to_owned();
        let flipped = (0..whole.len()).map(|at| {
            let mut text = whole.clone().into_bytes();
            text[at] ^= 1;
            String::from_utf8(text).unwrap()
        });
        for text in (0..whole.len()).map(cut).chain(flipped) {
            let disk = MemoryDisk::default();
            put(&disk, NAME, &text);
            let said = logged(|| assert_eq!(identity(&disk, 9).unwrap(), 9, "{text:?}"));
            assert!(said.contains("WARN") && said.contains("file=identity"), "{text:?}: {said}");
            assert_eq!((identity(&disk, 10).unwrap(), on_disk(&disk)), (9, written(9)), "kept from now on");
        }
    }

    #[test]
    fn a_kill_while_it_is_made_costs_nothing() {
        let disk = MemoryDisk::default();
        put(&disk, "identity.new", "half");
        assert_eq!(identity(&disk, 7).unwrap(), 7);
        put(&disk, "identity.new", &written(8));
        assert_eq!(identity(&disk, 9).unwrap(), 7, "the old one is whole");
    }
}
