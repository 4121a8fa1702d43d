//! Carries the plans of faults out: one injector for each process, link and disk that can fail, all at once.

use std::time::Duration;

use anyhow::Result;
use redis::RedisResult;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

use crate::context::{RunContext, connection};
use crate::disk::Disk;
use crate::fault::{Ending, Fault, Target};
use crate::flip::flip;
use crate::link::{Link, Mode};
use crate::managed_process::ManagedProcess;
use crate::operator::Operator;
use crate::plan::Step;
use crate::redis_pair::RedisPair;
use crate::site::SitePage;
use crate::tally::{Figure, Tally};
use crate::world::DECOY;

/// How often an injector looks whether its process ended by itself, and how long such a process stays down.
const LOOK: Duration = Duration::from_millis(100);
const RESTART: Duration = Duration::from_millis(300);
/// What Redis has confirmed is in its file by then, whatever its disk does.
const UNWRITTEN: Duration = Duration::from_millis(1500);

/// How long Redis is asked to write its file anew.
const REWRITE: Duration = Duration::from_secs(10);

/// What an injector makes fail.
#[derive(Debug)]
pub(crate) enum Victim {
    Process(Box<ManagedProcess>),
    Redis(Box<RedisPair>),
    Link(Link),
    Disk(Disk),
    Site(SitePage),
    Operator(Operator),
}

/// Makes one victim fail, step by step.
#[derive(Debug)]
pub(crate) struct FaultInjector {
    pub(crate) target: Target,
    pub(crate) victim: Victim,
    pub(crate) context: RunContext,
}

impl FaultInjector {
    /// Does the steps until they end or the run does, and gives back the victim in good order.
    pub(crate) async fn run(mut self, steps: Vec<Step>, stop: watch::Receiver<()>) -> Result<Victim> {
        for step in steps {
            if self.watch_for(step.after, &stop).await {
                break;
            }
            self.context.journal.write(&format!("{}: {}", self.target, step.fault));
            self.inject(step.fault).await?;
        }
        while !self.watch_for(Duration::from_secs(1), &stop).await {}
        Ok(self.victim)
    }

    /// Waits; meanwhile a process that ended by itself is started again. Whether the run is over.
    async fn watch_for(&mut self, time: Duration, stop: &watch::Receiver<()>) -> bool {
        let end = tokio::time::Instant::now() + time;
        loop {
            if !stop.has_changed().is_ok_and(|told| !told) {
                return true;
            }
            match &mut self.victim {
                Victim::Process(process) => restart_if_ended(process, &self.context).await,
                Victim::Redis(pair) => {
                    restart_if_ended(&mut pair.primary, &self.context).await;
                    restart_if_ended(&mut pair.replica, &self.context).await;
                }
                _ => {}
            }
            let next = tokio::time::Instant::now() + LOOK;
            sleep_until(next.min(end)).await;
            if next >= end {
                return false;
            }
        }
    }

    async fn inject(&mut self, fault: Fault) -> Result<()> {
        let tally = &self.context.world.tally;
        match &mut self.victim {
            Victim::Process(process) => fail_process(process, self.target, fault, &self.context).await,
            Victim::Redis(pair) => match fault {
                Fault::Forget { by, time } => pair.forget(by, time, &self.context).await?,
                fault => fail_process(&mut pair.primary, self.target, fault, &self.context).await,
            },
            Victim::Link(link) => fail_link(link, fault, tally).await,
            Victim::Site(page) => {
                if let Fault::Slow { delay, time } = fault {
                    tally.add(Figure::SlowPages);
                    page.takes(delay);
                    sleep(time).await;
                    page.takes(Duration::ZERO);
                }
            }
            Victim::Operator(operator) => operator.act(fault, &self.context).await,
            Victim::Disk(disk) => {
                if let Fault::Fill { time } = fault {
                    fill(disk, self.target, time, &self.context).await?;
                }
            }
        }
        Ok(())
    }
}

async fn fill(disk: &Disk, target: Target, time: Duration, context: &RunContext) -> Result<()> {
    // A file of Redis' that could not be written to its end may be cut off there when Redis starts again.
    let is_redis = target == Target::RedisDisk;
    let _what_is_forgotten_matters = if is_redis { Some(context.nobody_needs_redis().await) } else { None };
    let is_spool = matches!(target, Target::SpoolDisk(_));
    let tails = if is_spool { Some(context.tails.read().await) } else { None };
    context.world.tally.add(Figure::FullDisks);
    disk.fill()?;
    sleep(time).await;
    disk.free()?;
    if tails.is_some() {
        sleep(UNWRITTEN).await;
    }
    if is_redis {
        rewrite_file(context).await;
    }
    Ok(())
}

/// As an operator does after a disk was full. Whatever happens to Redis meanwhile, there is an end to it.
async fn rewrite_file(context: &RunContext) {
    let done = async {
        while rewritten(context).await.is_err() {
            sleep(LOOK).await;
        }
    };
    if timeout(REWRITE, done).await.is_err() {
        context.journal.write("redis' file is not written anew");
    }
}

async fn rewritten(context: &RunContext) -> Result<()> {
    let mut redis = connection(&context.world.redis).await?;
    redis::cmd("BGREWRITEAOF").exec_async(&mut redis).await?;
    let is = |info: &redis::InfoDict, name: &str| info.get::<u64>(name) == Some(1);
    loop {
        sleep(LOOK).await;
        let info: redis::InfoDict = redis::cmd("INFO").arg("persistence").query_async(&mut redis).await?;
        if !is(&info, "aof_rewrite_in_progress") && !is(&info, "aof_rewrite_scheduled") {
            let status: Option<String> = info.get("aof_last_bgrewrite_status");
            anyhow::ensure!(status.as_deref() == Some("ok"), "the rewriting failed");
            return Ok(());
        }
    }
}

/// Starts a process again that ended by itself, as Redis does on a full disk.
pub(crate) async fn restart_if_ended(process: &mut ManagedProcess, context: &RunContext) {
    if let Some(status) = process.ended() {
        context.journal.write(&format!("{} ended by itself: {status}", process.name()));
        context.world.tally.add(Figure::EndedThemselves);
        match process.mend() {
            Ok(false) => {}
            Ok(true) => context.world.tally.add(Figure::Rollbacks),
            Err(error) => context.journal.write(&format!("{} cannot be mended: {error}", process.name())),
        }
        sleep(RESTART).await;
        process.start();
    }
}

async fn fail_process(process: &mut ManagedProcess, target: Target, fault: Fault, context: &RunContext) {
    let tally = &context.world.tally;
    match fault {
        Fault::Kill { down } => {
            tally.add(match target {
                Target::Tracker(_) => Figure::TrackerKills,
                Target::Consumer(_) => Figure::ConsumerKills,
                _ => Figure::RedisKills,
            });
            process.kill();
            sleep(down).await;
            process.start();
        }
        Fault::Flip => {
            tally.add(Figure::TrackerKills);
            process.kill();
            flip_spool(process, context);
            process.start();
        }
        Fault::Restart => {
            tally.add(Figure::Restarts);
            process.terminate();
            process.start();
        }
        Fault::Pause { time } => {
            tally.add(Figure::Pauses);
            process.signal(Signal::STOP);
            sleep(time).await;
            process.signal(Signal::CONT);
        }
        Fault::Clock { offset_ms, time } => step_clock(process, offset_ms, time, context).await,
        command => {
            tally.add(Figure::RedisCommands);
            if let Err(error) = command_redis(command, context).await {
                context.journal.write(&format!("{target}: {command}: {error}"));
            }
        }
    }
}

fn flip_spool(tracker: &ManagedProcess, context: &RunContext) {
    match tracker.spool().map_or(Ok(false), |folder| flip(folder, DECOY)) {
        Ok(true) => context.world.tally.add(Figure::Flips),
        Ok(false) => context.journal.write("nothing to flip"),
        Err(error) => context.journal.write(&format!("no bit flipped: {error}")),
    }
}

async fn step_clock(process: &ManagedProcess, offset_ms: i64, time: Duration, context: &RunContext) {
    let Some(clock) = process.clock() else { return };
    context.world.tally.add(Figure::ClockJumps);
    if !process.name().starts_with("consumer") {
        // There and back.
        context.world.tally.add_so_many(Figure::SteppedSeconds, offset_ms.unsigned_abs().div_ceil(500));
    }
    let set = |offset_ms| {
        if let Err(error) = clock.set(offset_ms) {
            context.journal.write(&format!("the clock of {} cannot be set: {error}", process.name()));
        }
    };
    set(offset_ms);
    sleep(time).await;
    set(0);
}

/// A Redis that is away or paused does not obey, which is no matter.
async fn command_redis(fault: Fault, context: &RunContext) -> RedisResult<()> {
    let mut redis = connection(&context.world.redis).await?;
    let words: &[&str] = match fault {
        Fault::FlushScripts => &["SCRIPT", "FLUSH"],
        Fault::CutClients => &["CLIENT", "KILL", "TYPE", "normal"],
        _ => &["BGREWRITEAOF"],
    };
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]).exec_async(&mut redis).await
}

async fn fail_link(link: &Link, fault: Fault, tally: &Tally) {
    let (figure, mode, time) = match fault {
        Fault::Cut { time } => (Figure::Cuts, Mode::Cut, time),
        Fault::Stall { way, time, .. } => (Figure::Stalls, Mode::Stalled(way), time),
        Fault::Slow { delay, time } => (Figure::SlowLinks, Mode::Slow(delay), time),
        _ => return,
    };
    tally.add(figure);
    link.set(mode);
    sleep(time).await;
    if let Fault::Stall { ending: Ending::Lost, .. } = fault {
        link.set(Mode::Cut);
        // Until every connection has seen it.
        sleep(LOOK).await;
    }
    link.set(Mode::Open);
}
