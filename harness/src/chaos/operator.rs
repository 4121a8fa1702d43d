//! What operators and the site do while everything fails: new passkeys, aliases, trimming, pruning, dead
//! letters, and a backup of the ledger that is put back.
//!
//! A command may be killed half way by whatever fails around it; then it is given again, as an operator
//! would.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use harness::Answer;
use rand::RngExt;
use rand::seq::IndexedRandom;
use tokio::time::{Instant, sleep};

use crate::context::{RunContext, connection};
use crate::fault::Fault;
use crate::tally::Figure;
use crate::world::User;

const AGAIN: Duration = Duration::from_millis(500);
/// How long a command is given again.
const PATIENCE: Duration = Duration::from_secs(60);
/// Whose the entries are that nobody can read.
pub(crate) const NOBODY: &str = "chaos-nobody";
const PAGES: i32 = 64;

/// Whoever runs `trackerctl`.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) ledger: PathBuf,
    pub(crate) backups: PathBuf,
    count: u64,
}

impl Operator {
    pub(crate) fn new(ledger: PathBuf, backups: PathBuf) -> Self {
        Self { ledger, backups, count: 0 }
    }

    pub(crate) async fn act(&mut self, fault: Fault, context: &RunContext) {
        self.count += 1;
        let done = match fault {
            Fault::Trim { keep } => once(context, &["stream", "trim", "--keep", &keep.to_string()]).await,
            Fault::Prune => once(context, &["ledger", "prune", "--days", "0"]).await,
            Fault::Rotate => self.rotate(context).await,
            Fault::Alias => alias(context).await,
            Fault::DeadLetter => bury(context).await,
            Fault::Restore { time } => self.restore(time, context).await,
            _ => return,
        };
        match done {
            Ok(()) => context.world.tally.add(Figure::Operated),
            Err(error) => context.journal.write(&format!("operator: {fault}: {error:#}")),
        }
    }

    async fn rotate(&self, context: &RunContext) -> Result<()> {
        let world = &context.world;
        let users: Vec<&User> = world.users.iter().filter(|user| user.is_listed && !user.is_decoy).collect();
        let Some(user) = users.choose(&mut rand::rng()) else { return Ok(()) };
        let (old, new) = (
            user.name(),
            format!("chaos-new-{:04}-{:06}", self.count, rand::rng().random_range(0..1_000_000)),
        );
        let _at_the_desk = context.desk.clone().lock_owned().await;
        insist(context, &["passkey", "rotate", old.reveal(), &new]).await?;
        user.is_called(new.parse()?);
        world.tally.add(Figure::Rotations);
        Ok(())
    }

    /// Saves the ledger, and after a while puts that copy in its place.
    async fn restore(&self, time: Duration, context: &RunContext) -> Result<()> {
        let backup = self.backups.join(format!("ledger-{}.db", self.count));
        let file = backup.display().to_string();
        once(context, &["ledger", "backup", &file]).await?;
        sleep(time).await;
        // A Redis that forgets an adoption would have to be told again.
        let _at_the_desk = context.desk.clone().lock_owned().await;
        let ledger = self.ledger.clone();
        let end = Instant::now() + PATIENCE;
        while let Err(error) = put_back(&backup, &ledger).await {
            anyhow::ensure!(Instant::now() < end, "the backup cannot be put back: {error:#}");
            sleep(AGAIN).await;
        }
        context.world.tally.add(Figure::Restores);
        insist(context, &["ledger", "adopt", "--yes"]).await
    }
}

/// Copies over the open ledger, page by page, as the `.restore` of SQLite's shell does: the same file, older.
async fn put_back(backup: &Path, ledger: &Path) -> Result<()> {
    let (backup, ledger) = (backup.to_owned(), ledger.to_owned());
    tokio::task::spawn_blocking(move || {
        let from = rusqlite::Connection::open(backup)?;
        let mut to = rusqlite::Connection::open(ledger)?;
        to.busy_timeout(Duration::from_secs(5))?;
        let copy = rusqlite::backup::Backup::new(&from, &mut to)?;
        copy.run_to_completion(PAGES, Duration::ZERO, None)?;
        Ok(())
    })
    .await
    .context("the copying failed")?
}

/// A hybrid that is announced under its v2 info hash already.
async fn alias(context: &RunContext) -> Result<()> {
    let torrents = context.world.torrents();
    let waiting: Vec<_> =
        torrents.iter().filter_map(|torrent| Some((torrent, torrent.unaliased()?))).collect();
    let Some((torrent, (v1, v2))) = waiting.choose(&mut rand::rng()) else { return Ok(()) };
    let _at_the_desk = context.desk.clone().lock_owned().await;
    insist(context, &["torrent", "alias", &v2.to_string(), &v1.to_string()]).await?;
    torrent.alias();
    context.world.tally.add(Figure::Aliases);
    Ok(())
}

/// Something that is no announce gets into the stream; all dead letters are tried again.
async fn bury(context: &RunContext) -> Result<()> {
    let mut redis = connection(&context.world.redis).await?;
    let stream = contract::Keys::default().traffic();
    context.world.tally.add(Figure::Unreadable);
    redis::cmd("XADD")
        .arg(stream)
        .arg("*")
        .arg("passkey")
        .arg(NOBODY)
        .arg("du")
        .arg("much")
        .exec_async(&mut redis)
        .await?;
    sleep(AGAIN).await;
    once(context, &["stream", "dead", "retry"]).await
}

/// Runs it once: what fails is tried again another time.
async fn once(context: &RunContext, arguments: &[&str]) -> Result<()> {
    let answer = run(context, arguments).await?;
    anyhow::ensure!(answer.code <= 1, "exit code {}: {}", answer.code, answer.stderr);
    Ok(())
}

/// Runs it until it is done.
async fn insist(context: &RunContext, arguments: &[&str]) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = run(context, arguments).await?;
        if answer.code == 0 {
            return Ok(());
        }
        let said = format!("{arguments:?}: exit code {}: {}{}", answer.code, answer.stdout, answer.stderr);
        anyhow::ensure!(Instant::now() < end, "{said}");
        context.journal.write(&said);
        sleep(AGAIN).await;
    }
}

async fn run(context: &RunContext, arguments: &[&str]) -> Result<Answer> {
    let (control, arguments) =
        (context.control.clone(), arguments.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let answer = tokio::task::spawn_blocking(move || {
        control.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    });
    answer.await.context("trackerctl cannot be run")
}
