//! One run: everybody starts, things fail for a while, everything comes to rest, the books are compared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::audit::{self, Verdict};
use crate::client::Client;
use crate::context::{Journal, RunContext};
use crate::deployment::{Deployment, Place};
use crate::fault::{Kind, Target};
use crate::injector::{FaultInjector, Victim, restart_if_ended};
use crate::managed_process::ManagedProcess;
use crate::plan::plan;
use crate::redis_pair::RedisPair;
use crate::tally::Figure;
use crate::world::{Scale, World};
use crate::{report, watch as look};

/// How long after the last fault every client must have its answer.
const LAST_ANSWERS: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(200);

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How long things failed.
    pub(crate) length: Duration,
    pub(crate) world: Arc<World>,
    pub(crate) verdict: Verdict,
    /// Of the sessions that differ.
    pub(crate) story: String,
}

/// Plays a run; stops early at Ctrl-C, and compares the books then, too.
pub(crate) async fn play(scale: Scale, place: &Place<'_>) -> Result<Outcome> {
    let announces = scale.length.as_secs() * u64::from(scale.rate);
    let mut deployment = Deployment::build(place, announces).await?;
    let world = Arc::new(World::new(scale, &deployment.endpoints)?);
    deployment.start(&world).await?;
    let journal = Arc::new(Journal::open(&place.folder.join("faults.log"), world.begin)?);
    let control = deployment.endpoints.control.clone();
    let context =
        RunContext { journal, world: world.clone(), control, desk: Arc::default(), tails: Arc::default() };
    let (failing, fail_until) = watch::channel(());
    let (announcing, announce_until) = watch::channel(());
    let endpoints = deployment.endpoints.clone();
    let injectors = start_injectors(deployment, (scale, place.without), &context, &fail_until);
    let clients = start_clients(scale, &world, &announce_until);
    let looking = tokio::spawn(look::look(world.clone(), endpoints, announce_until));
    progress(scale, &world).await?;
    let length = world.begin.elapsed();
    failing.send_replace(());
    let (mut processes, _others) = join_injectors(injectors).await?;
    announcing.send_replace(());
    let mut late = join_clients(clients, &mut processes, &context).await;
    looking.await.context("the onlooker failed")?;
    late.extend(audit::drain(&mut processes, &context).await.err());
    let mut verdict = audit::audit(&context).await;
    verdict.violations.extend(late);
    verdict.violations.extend(audit::read_logs(&processes, &context));
    let story = report::story(&verdict, &context);
    Ok(Outcome { length, world, verdict, story })
}

fn start_injectors(
    deployment: Deployment,
    (scale, without): (Scale, &[Kind]),
    context: &RunContext,
    until: &watch::Receiver<()>,
) -> JoinSet<Result<Victim>> {
    let mut running = JoinSet::new();
    for (target, victim) in victims(deployment) {
        let injector = FaultInjector { target, victim, context: context.clone() };
        running.spawn(injector.run(plan(scale.seed, target, scale.length, without), until.clone()));
    }
    running
}

fn victims(deployment: Deployment) -> Vec<(Target, Victim)> {
    let Deployment {
        redis, trackers, consumers, tracker_links, consumer_links, disks, site, operator, ..
    } = deployment;
    let mut victims = vec![
        (Target::Redis, Victim::Redis(redis.into())),
        (Target::SitePage, Victim::Site(site)),
        (Target::Operator, Victim::Operator(operator)),
    ];
    let number = |target: fn(usize) -> Target| (0..).map(target);
    let process = |(target, process)| (target, Victim::Process(Box::new(process)));
    let link = |(target, link)| (target, Victim::Link(link));
    victims.extend(number(Target::Tracker).zip(trackers).map(process));
    victims.extend(number(Target::Consumer).zip(consumers).map(process));
    victims.extend(number(Target::TrackerLink).zip(tracker_links).map(link));
    victims.extend(number(Target::ConsumerLink).zip(consumer_links).map(link));
    if let Some(disks) = disks {
        victims.extend(
            number(Target::SpoolDisk).zip(disks.spools).map(|(target, disk)| (target, Victim::Disk(disk))),
        );
        victims.push((Target::LedgerDisk, Victim::Disk(disks.ledger)));
        victims.push((Target::RedisDisk, Victim::Disk(disks.redis)));
    }
    victims
}

/// The processes, which go on running, and what they need for that.
async fn join_injectors(
    mut injectors: JoinSet<Result<Victim>>,
) -> Result<(Vec<ManagedProcess>, Vec<Victim>)> {
    let (mut processes, mut others) = (Vec::new(), Vec::new());
    while let Some(injector) = injectors.join_next().await {
        match injector.context("an injector failed")?? {
            Victim::Process(process) => processes.push(*process),
            Victim::Redis(pair) => {
                let RedisPair { primary, replica, link, .. } = *pair;
                processes.extend([primary, replica]);
                others.push(Victim::Link(link));
            }
            other => others.push(other),
        }
    }
    Ok((processes, others))
}

fn start_clients(scale: Scale, world: &Arc<World>, until: &watch::Receiver<()>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for number in 0..scale.clients {
        let mut dice = ChaCha8Rng::seed_from_u64(scale.seed);
        // The first streams are the injectors'.
        dice.set_stream(1000 + u64::from(number));
        clients.spawn(Client::new(world.clone(), dice).live(until.clone()));
    }
    clients
}

/// Waits until every client's last announce is answered. What did not happen in time, if anything.
async fn join_clients(
    mut clients: JoinSet<()>,
    processes: &mut [ManagedProcess],
    context: &RunContext,
) -> Vec<String> {
    let end = Instant::now() + LAST_ANSWERS;
    let mut wrong = Vec::new();
    while !clients.is_empty() && Instant::now() < end {
        for process in &mut *processes {
            restart_if_ended(process, context).await;
        }
        while let Ok(Some(ended)) = timeout(TICK, clients.join_next()).await {
            wrong.extend(ended.err().map(|error| format!("a client failed: {error}")));
        }
    }
    if !clients.is_empty() {
        wrong.push(format!("{} clients had no answer {LAST_ANSWERS:?} after the last fault", clients.len()));
    }
    wrong
}

/// On a terminal a bar shows how it goes.
async fn progress(scale: Scale, world: &World) -> Result<()> {
    let bar = ProgressBar::with_draw_target(Some(scale.length.as_secs()), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("[{bar:40}] {eta} left, {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let shown = async {
        while world.begin.elapsed() < scale.length {
            sleep(TICK).await;
            let (kills, answered) = (world.tally.kills(), world.tally.get(Figure::Answered));
            bar.set_position(world.begin.elapsed().as_secs());
            bar.set_message(format!("{kills} kills, {answered} announces answered"));
        }
    };
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        () = shown => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    bar.finish_and_clear();
    Ok(())
}
