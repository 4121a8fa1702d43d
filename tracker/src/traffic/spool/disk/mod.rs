//! A disk as the spool needs it: files that grow at their ends, and that are there after a loss of power once
//! they, and their names, are synced.
//!
//! There are two: a folder of the file system, and a memory in which a loss of power takes the bytes that
//! were not synced, so that the simulation and the tests run the shipped spool. `tests/spool_disks.rs` holds
//! both to the same facts.

mod folder;
mod memory;

use std::fmt::Debug;
use std::io;
use std::path::PathBuf;

pub use folder::{Folder, OpenError};
pub use memory::{Fault, MemoryDisk};

/// A folder that belongs to one spool. Clones are the same folder.
pub trait Disk: Debug + Clone {
    /// A file that is written.
    type File: DiskFile;
    /// A file that is read.
    type Reader: io::Read;

    /// Where a file is, for messages.
    fn path(&self, name: &str) -> PathBuf;

    /// A folder in this one, which is made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    fn folder(&self, name: &str) -> io::Result<Self>;

    /// The names of all files, in any order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn names(&self) -> io::Result<Vec<String>>;

    /// How long a file is.
    ///
    /// # Errors
    /// When it is not there.
    fn size(&self, name: &str) -> io::Result<u64>;

    /// Reads a file from a position on.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, name: &str, position: u64) -> io::Result<Self::Reader>;

    /// Makes a file that is not there yet, for its owner only: spooled announces hold passkeys.
    ///
    /// # Errors
    /// When there is one of that name, or none can be made.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file that is there, to write behind its end.
    ///
    /// # Errors
    /// When it cannot be written.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name, whose file it replaces in one step.
    ///
    /// # Errors
    /// When neither is changed.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// When it is still there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the creation, renaming and removal of files last.
    ///
    /// # Errors
    /// When nobody knows whether they do.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file that is written at its end.
pub trait DiskFile: Debug {
    /// Appends bytes.
    ///
    /// # Errors
    /// Some of them may be in the file nevertheless.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file off after so many bytes.
    ///
    /// # Errors
    /// When it is as long as before.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;

    /// Makes what was written and cut last.
    ///
    /// # Errors
    /// Nobody knows then what the file holds beyond what was synced before: it is not to be written again.
    fn sync(&mut self) -> io::Result<()>;
}
