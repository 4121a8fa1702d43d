//! A folder of the file system, owned by one process: a lock file says so, and the kernel drops the lock with
//! the process. Everything here blocks.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::{Disk, DiskFile};

/// Why a folder cannot be a spool.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Two trackers must not share a folder: they would replay and remove each other's announces.
    #[error("another tracker uses it")]
    InUse,
    /// It cannot be created, read or written.
    #[error("it cannot be used: {0}")]
    Disk(#[from] io::Error),
}

/// A folder, and the lock that keeps other processes out of it.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    /// `None`: it is only looked at.
    lock: Option<Arc<File>>,
}

const LOCK: &str = "lock";

impl Folder {
    /// Takes possession of the folder, creating it when it is not there.
    ///
    /// # Errors
    /// [`OpenError`]; what is in it is unchanged.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mut lock = OpenOptions::new();
        let lock = lock.write(true).create(true).truncate(false).mode(0o600).open(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse,
            TryLockError::Error(error) => OpenError::Disk(error),
        })?;
        Ok(Self { path: path.to_owned(), lock: Some(Arc::new(lock)) })
    }

    /// The folder for reading only: it may be somebody else's.
    pub(in crate::traffic::spool) fn unowned(path: &Path) -> Self {
        Self { path: path.to_owned(), lock: None }
    }

    /// Whether a process has possession of it; `None`: none ever had.
    pub(in crate::traffic::spool) fn is_owned(&self) -> io::Result<Option<bool>> {
        let lock = match File::open(self.path.join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(Some(false)),
            Err(TryLockError::WouldBlock) => Ok(Some(true)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Disk for Folder {
    type File = File;
    type Reader = BufReader<File>;

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn folder(&self, name: &str) -> io::Result<Self> {
        let path = self.path.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self { path, lock: self.lock.clone() })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for file in fs::read_dir(&self.path)? {
            // A name that is no text is none of the spool's.
            names.extend(file?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name))?.len())
    }

    fn read(&self, name: &str, position: u64) -> io::Result<BufReader<File>> {
        let mut file = BufReader::new(File::open(self.path(name))?);
        file.seek(SeekFrom::Start(position))?;
        Ok(file)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.path(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().append(true).open(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl DiskFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
