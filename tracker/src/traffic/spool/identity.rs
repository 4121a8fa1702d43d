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
