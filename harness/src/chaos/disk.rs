//! A small disk of the run's own (tmpfs), filled by a ballast file and freed again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// A mounted tmpfs. Unmounted on drop.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts a disk of `mib` MiB at `folder`, which is made. Needs root, or a user namespace in which we
    /// are.
    pub(crate) fn mount(folder: &Path, mib: u64) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let size = format!("size={mib}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).status()?;
        ensure!(mount.success(), "a tmpfs cannot be mounted at {}", folder.display());
        Ok(Self { folder: folder.to_owned() })
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Takes all free space, down to the last page.
    pub(crate) fn fill(&self) -> Result<()> {
        let file = File::create(self.ballast()).context("a ballast file cannot be made")?;
        let mut end = 0;
        loop {
            let space = statvfs(&self.folder).map_err(io::Error::from)?;
            let mut piece = space.f_bavail * space.f_frsize;
            // Others write meanwhile: what was free may be less by now.
            while piece >= space.f_frsize && fallocate(&file, FallocateFlags::empty(), end, piece).is_err() {
                piece /= 2;
            }
            if piece < space.f_frsize {
                return Ok(());
            }
            end += piece;
        }
    }

    /// Gives it back.
    pub(crate) fn free(&self) -> Result<()> {
        fs::remove_file(self.ballast()).context("the ballast file cannot be removed")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file there keeps it until it ends. An error means that it is gone
        // already.
        drop(Command::new("umount").arg("--lazy").arg(&self.folder).status());
    }
}
