//! A private single-file torrent with random content, and its metainfo written by hand.

use std::fs;
use std::path::{Path, PathBuf};

use contract::InfoHash;
use sha1::{Digest, Sha1};

/// Small enough that a few MB have several pieces, a multiple of the 16 KiB in which clients ask for data.
const PIECE_BYTES: usize = 64 * 1024;

/// A file worth sharing.
#[derive(Debug, Clone)]
pub struct Torrent {
    name: String,
    content: Vec<u8>,
    info: Vec<u8>,
}

impl Torrent {
    /// A torrent of `size` random bytes. `name` is the file's.
    #[must_use]
    pub fn random(name: &str, size: usize) -> Self {
        let mut content = vec![0; size];
        rand::fill(&mut content[..]);
        let pieces: Vec<u8> = content.chunks(PIECE_BYTES).flat_map(Sha1::digest).collect();
        let mut info = Vec::new();
        info.extend_from_slice(format!("d6:lengthi{size}e4:name{}:{name}", name.len()).as_bytes());
        info.extend_from_slice(format!("12:piece lengthi{PIECE_BYTES}e6:pieces{}:", pieces.len()).as_bytes());
        info.extend_from_slice(&pieces);
        info.extend_from_slice(b"7:privatei1ee");
        Self { name: name.to_owned(), content, info }
    }

    /// The info hash: SHA-1 of the `info` dictionary.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        InfoHash(Sha1::digest(&self.info).into())
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.content.len() as u64
    }

    /// The metainfo as one user downloads it from a site: with an announce URL of their own.
    #[must_use]
    pub fn metainfo(&self, announce_url: &str) -> Vec<u8> {
        let mut metainfo = format!("d8:announce{}:{announce_url}4:info", announce_url.len()).into_bytes();
        metainfo.extend_from_slice(&self.info);
        metainfo.push(b'e');
        metainfo
    }

    /// Writes the finished file into `folder`, as a seeder has it.
    pub fn write_content(&self, folder: &Path) {
        fs::write(self.path_in(folder), &self.content).expect("a test's file can be written");
    }

    /// Whether `folder` holds the whole file, byte for byte.
    #[must_use]
    pub fn is_complete_in(&self, folder: &Path) -> bool {
        fs::read(self.path_in(folder)).is_ok_and(|found| found == self.content)
    }

    fn path_in(&self, folder: &Path) -> PathBuf {
        folder.join(&self.name)
    }
}
