//! What every measurement needs: how much to measure, the cores that it may use, folders, a Redis of its own,
//! and a process apart from this one, whose memory and time nothing else has touched.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::RedisServer;
use tempfile::TempDir;

use crate::cores::{CoreSet, Cores};
use crate::figures::Sample;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// About a minute in all, to see that everything works; the figures are rough.
    Quick,
    /// What the goals are about.
    Full,
}

/// What every row needs.
#[derive(Debug)]
pub struct Bench {
    /// How much to measure.
    pub scale: Scale,
    /// Where things run.
    pub cores: Cores,
    /// A folder on a real disk for what is written meanwhile.
    pub work: PathBuf,
    /// The folder with other people's trackers.
    pub peers: PathBuf,
}

impl Bench {
    /// A Redis of the row's own, at the server's place, that syncs its file once a second.
    ///
    /// # Errors
    /// When it cannot be put there.
    pub fn redis(&self) -> Result<RedisServer> {
        let settings = ["--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];
        self.cores.at(CoreSet::Server, || RedisServer::start_with(&settings))
    }

    /// An empty folder, gone when it is dropped.
    ///
    /// # Errors
    /// When there is no room.
    pub fn folder(&self) -> Result<TempDir> {
        TempDir::new_in(&self.work).context("a folder to work in")
    }

    /// Has a process of its own measure something, by this program's subcommand `apart`.
    ///
    /// # Errors
    /// When it fails.
    pub fn apart(&self, place: CoreSet, arguments: &[String]) -> Result<Vec<Sample>> {
        let program = std::env::current_exe()?;
        let output =
            self.cores.at(place, || Command::new(program).arg("apart").args(arguments).output())??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?} failed: {said}");
        serde_json::from_slice(&output.stdout).context("what was measured apart")
    }
}
