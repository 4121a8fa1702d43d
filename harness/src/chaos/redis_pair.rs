//! Redis and its replica, and the ways in which a Redis comes back without what it had confirmed.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::RngExt;
use redis::InfoDict;
use tokio::time::{Instant, sleep};

use crate::context::{RunContext, connection};
use crate::fault::{Loss, Way};
use crate::link::{Link, Mode};
use crate::managed_process::ManagedProcess;
use crate::tally::Figure;

/// Where redis-server 7 keeps its append-only file, in parts.
const APPEND_ONLY: &str = "appendonlydir";
const DUMP: &str = "dump.rdb";
const PAUSE: Duration = Duration::from_millis(50);
/// Longer than any disk is full.
const PATIENCE: Duration = Duration::from_secs(20);

/// A primary, and a replica that hears of it through a link of its own.
#[derive(Debug)]
pub(crate) struct RedisPair {
    pub(crate) primary: ManagedProcess,
    pub(crate) replica: ManagedProcess,
    pub(crate) link: Link,
    pub(crate) folder: PathBuf,
    pub(crate) replica_folder: PathBuf,
    pub(crate) replica_client: redis::Client,
}

impl RedisPair {
    pub(crate) fn start(&mut self) {
        self.primary.start();
        self.replica.start();
    }

    /// Lets it forget what it confirms within some time. Whatever the site itself writes (aliases, passkeys)
    /// would have to be written again: it waits meanwhile.
    pub(crate) async fn forget(&mut self, by: Loss, time: Duration, context: &RunContext) -> Result<()> {
        let _nobody_minds = context.nobody_needs_redis().await;
        let forgotten = match by {
            Loss::CutFile => self.cut_file(time).await,
            Loss::OldDump => self.put_dump_back(time, context).await,
            Loss::LaggingReplica => self.promote(time, context).await,
        };
        self.link.set(Mode::Open);
        match forgotten {
            Ok(()) => context.world.tally.add(Figure::Rollbacks),
            Err(why) => context.journal.write(&format!("nothing forgotten ({by:?}): {why:#}")),
        }
        // Whatever came of it, both run.
        if !self.primary.is_running() {
            context.world.tally.add(Figure::RedisKills);
            self.primary.start();
        }
        if !self.replica.is_running() {
            self.replica.start();
        }
        Ok(())
    }

    async fn cut_file(&mut self, time: Duration) -> Result<()> {
        let (newest, kept) = self.newest_file()?;
        sleep(time).await;
        self.primary.kill();
        let (file, length) = self.newest_file()?;
        // A file that was begun meanwhile holds only what came since.
        let kept = if file == newest { kept } else { 0 };
        ensure!(length > kept, "nothing was written");
        let end = rand::rng().random_range(kept..length);
        OpenOptions::new().write(true).open(file)?.set_len(end)?;
        Ok(())
    }

    /// The append-only file that is written now, and its length.
    fn newest_file(&self) -> Result<(PathBuf, u64)> {
        let files = fs::read_dir(self.folder.join(APPEND_ONLY))?.flatten().map(|entry| entry.path());
        let sequence = |path: &PathBuf| -> Option<u64> {
            path.to_str()?.strip_suffix(".incr.aof")?.rsplit('.').next()?.parse().ok()
        };
        let newest = files.filter_map(|path| Some((sequence(&path)?, path))).max();
        let (_, path) = newest.context("there is no append-only file")?;
        let length = path.metadata()?.len();
        Ok((path, length))
    }

    async fn put_dump_back(&mut self, time: Duration, context: &RunContext) -> Result<()> {
        let dump = self.dump(context).await?;
        sleep(time).await;
        self.primary.kill();
        let folder = self.folder.clone();
        let put = || {
            let files = folder.join(APPEND_ONLY);
            remove(&files)?;
            fs::create_dir_all(&files)?;
            fs::write(files.join("appendonly.aof.1.base.rdb"), &dump)?;
            fs::write(files.join("appendonly.aof.1.incr.aof"), "")?;
            fs::write(files.join("appendonly.aof.manifest"), MANIFEST)
        };
        until_it_fits(put).await
    }

    /// A dump of now.
    async fn dump(&self, context: &RunContext) -> Result<Vec<u8>> {
        let mut redis = connection(&context.world.redis).await?;
        redis::cmd("BGSAVE").exec_async(&mut redis).await?;
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let info: InfoDict = redis::cmd("INFO").arg("persistence").query_async(&mut redis).await?;
            if info.get::<u64>("rdb_bgsave_in_progress") == Some(0) {
                let status: Option<String> = info.get("rdb_last_bgsave_status");
                ensure!(status.as_deref() == Some("ok"), "no dump could be made");
                return Ok(fs::read(self.folder.join(DUMP))?);
            }
            ensure!(Instant::now() < end, "the dump takes too long");
            sleep(PAUSE).await;
        }
    }

    /// The replica hears nothing for some time, and then it is what there is.
    async fn promote(&mut self, time: Duration, context: &RunContext) -> Result<()> {
        self.replica_is_in_step(context).await?;
        self.link.set(Mode::Stalled(Way::Both));
        sleep(time).await;
        self.primary.kill();
        self.replica.kill();
        let (from, to) = (self.replica_folder.join(APPEND_ONLY), self.folder.join(APPEND_ONLY));
        until_it_fits(|| {
            remove(&to)?;
            fs::create_dir_all(&to)?;
            fs::read_dir(&from)?.try_for_each(|entry| {
                let entry = entry?;
                fs::copy(entry.path(), to.join(entry.file_name())).map(drop)
            })
        })
        .await
    }

    /// A replica that is still given everything has nothing on its disk yet.
    async fn replica_is_in_step(&self, context: &RunContext) -> Result<()> {
        let mut replica = connection(&self.replica_client).await?;
        let info: InfoDict = redis::cmd("INFO").query_async(&mut replica).await?;
        let is = |name: &str, value: &str| info.get::<String>(name).as_deref() == Some(value);
        let rests = is("aof_rewrite_in_progress", "0") && is("aof_rewrite_scheduled", "0");
        ensure!(is("master_link_status", "up") && rests, "the replica is not in step");
        let mut primary = connection(&context.world.redis).await?;
        let primary: InfoDict = redis::cmd("INFO").arg("replication").query_async(&mut primary).await?;
        let offset: Option<u64> = info.get("slave_repl_offset");
        let behind =
            primary.get::<u64>("master_repl_offset").zip(offset).map(|(there, here)| there - here.min(there));
        ensure!(behind.is_some_and(|bytes| bytes < 1 << 20), "the replica is far behind");
        Ok(())
    }
}

const MANIFEST: &str =
    "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";

fn remove(folder: &Path) -> io::Result<()> {
    if folder.exists() { fs::remove_dir_all(folder) } else { Ok(()) }
}

/// The disk may be full at this moment.
async fn until_it_fits(mut put: impl FnMut() -> io::Result<()>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        match put() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > end => {
                return Err(error).context("older files cannot be put back");
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}
