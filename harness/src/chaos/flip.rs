//! Bits that change in a spool while its tracker is down.
//!
//! Only in records of the users whose lost announces nobody misses: a damaged record costs itself and no
//! other, and whose it was must be known.

use std::fs;
use std::io;
use std::path::Path;

use rand::RngExt;
use rand::seq::IndexedRandom;

/// Flips one bit in a record with this passkey. Whether there was one.
pub(crate) fn flip(folder: &Path, passkey: &str) -> io::Result<bool> {
    let mut places = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() && path.metadata()?.len() > 0 {
            let bytes = fs::read(&path)?;
            let found =
                bytes.windows(passkey.len()).enumerate().filter(|(_, text)| *text == passkey.as_bytes());
            places.extend(found.map(|(at, _)| (path.clone(), at)));
        }
    }
    let mut dice = rand::rng();
    let Some((path, at)) = places.choose(&mut dice) else { return Ok(false) };
    let mut bytes = fs::read(path)?;
    bytes[at + dice.random_range(0..passkey.len())] ^= 1 << dice.random_range(0..8);
    fs::write(path, bytes)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_of_the_right_record_flips() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records");
        fs::write(&file, b"somebody, decoy, somebody").unwrap();
        assert!(!flip(folder.path(), "nobody").unwrap());
        assert!(flip(folder.path(), "decoy").unwrap());
        let bytes = fs::read(&file).unwrap();
        let changed: u32 = bytes
            .iter()
            .zip(b"somebody, decoy, somebody")
            .map(|(now, before)| (now ^ before).count_ones())
            .sum();
        assert_eq!(changed, 1);
        assert!(bytes.starts_with(b"somebody, ") && bytes.ends_with(b", somebody"));
    }
}
