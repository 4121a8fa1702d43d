//! Carries a plan out: one lane for each thing that can fail, all at once.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::Trackerctl;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use crate::disk::Disk;
use crate::fault::{Ending, Fault, Target};
use crate::link::{Link, Mode};
use crate::managed_process::Actor;
use crate::plan::Step;
use crate::tally::{Figure, Tally};
use crate::world::World;

/// How often a lane looks whether its process ended by itself, and how long such a process stays down.
const LOOK: Duration = Duration::from_millis(100);
const RESTART: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_millis(500);

/// One line for each fault.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Mutex<File>,
    begin: Instant,
}

impl Journal {
    pub(crate) fn open(path: &Path, begin: Instant) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file: Mutex::new(file), begin })
    }

    pub(crate) fn write(&self, what: &str) {
        let at = self.begin.elapsed().as_secs_f64();
        // A journal that cannot be written costs its lines, not the run.
        writeln!(self.file.lock(), "{at:9.3} {what}").ok();
    }
}

/// What all lanes share.
#[derive(Debug, Clone)]
pub(crate) struct Crew {
    pub(crate) journal: Arc<Journal>,
    pub(crate) world: Arc<World>,
    pub(crate) control: Trackerctl,
}

/// What a lane makes fail.
#[derive(Debug)]
pub(crate) enum Victim {
    Process(Box<Actor>),
    Link(Link),
    Disk(Disk),
}

/// One lane.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) target: Target,
    pub(crate) victim: Victim,
    pub(crate) crew: Crew,
}

impl Lane {
    /// Does the steps until they end or the run does, and gives back the victim in good order.
    pub(crate) async fn run(mut self, steps: Vec<Step>, stop: watch::Receiver<()>) -> Result<Victim> {
        for step in steps {
            if self.tend_for(step.after, &stop).await {
                break;
            }
            self.crew.journal.write(&format!("{}: {}", self.target, step.fault));
            self.suffer(step.fault).await?;
        }
        while !self.tend_for(Duration::from_secs(1), &stop).await {}
        Ok(self.victim)
    }

    /// Waits; meanwhile a process that ended by itself is started again. Whether the run is over.
    async fn tend_for(&mut self, time: Duration, stop: &watch::Receiver<()>) -> bool {
        let end = tokio::time::Instant::now() + time;
        loop {
            if !stop.has_changed().is_ok_and(|told| !told) {
                return true;
            }
            if let Victim::Process(actor) = &mut self.victim {
                tend(actor, &self.crew).await;
            }
            let next = tokio::time::Instant::now() + LOOK;
            sleep_until(next.min(end)).await;
            if next >= end {
                return false;
            }
        }
    }

    async fn suffer(&mut self, fault: Fault) -> Result<()> {
        let tally = &self.crew.world.tally;
        match &mut self.victim {
            Victim::Process(actor) => suffer_process(actor, self.target, fault, &self.crew).await,
            Victim::Link(link) => suffer_link(link, fault, tally).await,
            Victim::Disk(disk) => {
                if let Fault::Fill { time } = fault {
                    tally.add(Figure::FullDisks);
                    disk.fill()?;
                    sleep(time).await;
                    disk.free()?;
                }
            }
        }
        Ok(())
    }
}

/// Starts a process again that ended by itself, as Redis does on a full disk.
pub(crate) async fn tend(actor: &mut Actor, crew: &Crew) {
    if let Some(status) = actor.ended() {
        crew.journal.write(&format!("{} ended by itself: {status}", actor.name()));
        crew.world.tally.add(Figure::EndedThemselves);
        sleep(RESTART).await;
        actor.start();
    }
}

async fn suffer_process(actor: &mut Actor, target: Target, fault: Fault, crew: &Crew) {
    let tally = &crew.world.tally;
    match fault {
        Fault::Kill { down } => {
            tally.add(match target {
                Target::Tracker(_) => Figure::TrackerKills,
                Target::Consumer(_) => Figure::ConsumerKills,
                _ => Figure::RedisKills,
            });
            actor.kill();
            sleep(down).await;
            actor.start();
        }
        Fault::Restart => {
            tally.add(Figure::Restarts);
            actor.terminate();
            actor.start();
        }
        Fault::Pause { time } => {
            tally.add(Figure::Pauses);
            actor.signal(Signal::STOP);
            sleep(time).await;
            actor.signal(Signal::CONT);
        }
        Fault::Clock { offset_ms, time } => step_clock(actor, offset_ms, time, crew).await,
        command => {
            tally.add(Figure::RedisCommands);
            if let Err(error) = command_redis(command, crew).await {
                crew.journal.write(&format!("{target}: {command}: {error}"));
            }
        }
    }
}

async fn step_clock(actor: &Actor, offset_ms: i64, time: Duration, crew: &Crew) {
    let Some(clock) = actor.clock() else { return };
    crew.world.tally.add(Figure::ClockJumps);
    let set = |offset_ms| {
        if let Err(error) = clock.set(offset_ms) {
            crew.journal.write(&format!("the clock of {} cannot be set: {error}", actor.name()));
        }
    };
    set(offset_ms);
    sleep(time).await;
    set(0);
}

/// A Redis that is away or paused does not obey, which is no matter.
async fn command_redis(fault: Fault, crew: &Crew) -> RedisResult<()> {
    if let Fault::Trim { keep } = fault {
        let (control, keep) = (crew.control.clone(), keep.to_string());
        let trimmed =
            tokio::task::spawn_blocking(move || control.run(&["stream", "trim", "--keep", &keep])).await;
        crew.journal
            .write(&format!("{fault}: {}", trimmed.map_or_else(|error| error.to_string(), |a| a.stdout)));
        return Ok(());
    }
    let mut redis = connection(&crew.world.redis).await?;
    let words: &[&str] = match fault {
        Fault::FlushScripts => &["SCRIPT", "FLUSH"],
        Fault::CutClients => &["CLIENT", "KILL", "TYPE", "normal"],
        _ => &["BGREWRITEAOF"],
    };
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]).exec_async(&mut redis).await
}

/// A connection around every proxy, for a run that must not wait for it.
pub(crate) async fn connection(client: &redis::Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn suffer_link(link: &Link, fault: Fault, tally: &Tally) {
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
