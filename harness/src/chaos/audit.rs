//! The end: everything comes to rest, and then the ledger and the sets must be the truth.

use std::fs;
use std::time::{Duration, Instant};

use contract::{Keys, Passkey};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use crate::books::{Bytes, ClientState, Members};
use crate::injector::{RunContext, connection, restart_if_ended};
use crate::managed_process::ManagedProcess;
use crate::watch::{backlog, settled};

/// How long everything may take to come to rest.
const DEADLINE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(200);
const SHOWN_LINES: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What clients were told is recorded.
    pub(crate) truth: Bytes,
    /// By how much the ledger differs from it, over all users.
    pub(crate) difference: u64,
    /// What is wrong, one line each.
    pub(crate) violations: Vec<String>,
    /// Users whose bytes differ.
    pub(crate) users: Vec<usize>,
}

/// Waits until spools are empty and everything is settled and acknowledged. What did not happen in time, if
/// anything.
pub(crate) async fn drain(processes: &mut [ManagedProcess], context: &RunContext) -> Result<(), String> {
    let end = Instant::now() + DEADLINE;
    loop {
        for process in &mut *processes {
            restart_if_ended(process, context).await;
        }
        let Err(waits_for) = at_rest(processes, context).await else { return Ok(()) };
        if Instant::now() > end {
            return Err(format!("not at rest within {DEADLINE:?}: {waits_for}"));
        }
        sleep(PAUSE).await;
    }
}

async fn at_rest(processes: &[ManagedProcess], context: &RunContext) -> Result<(), String> {
    for process in processes.iter().filter(|process| process.name().starts_with("tracker")) {
        let page = metrics(process).await;
        for line in
            ["seedbook_tracker_spool_records 0", "seedbook_tracker_recorder_state{state=\"direct\"} 1"]
        {
            if !page.lines().any(|shown| shown == line) {
                return Err(format!("{}: {line}", process.name()));
            }
        }
    }
    match backlog(&context.world).await {
        Some(backlog) if backlog.entries() == 0 => Ok(()),
        backlog => Err(format!("the stream is settled: {backlog:?}")),
    }
}

async fn metrics(process: &ManagedProcess) -> String {
    let url = process.metrics().unwrap_or_default().to_owned();
    let page = tokio::task::spawn_blocking(move || harness::page(&url)).await;
    page.ok().flatten().unwrap_or_default()
}

/// Compares everything with the truth.
pub(crate) async fn audit(context: &RunContext) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.violations.append(&mut context.world.complaints.lock());
    for user in 0..context.world.users.len() {
        balance(user, context, &mut verdict).await;
    }
    match connection(&context.world.redis).await {
        Ok(redis) => compare_sets(redis, context, &mut verdict).await,
        Err(error) => verdict.violations.push(format!("Redis does not answer at the end: {error}")),
    }
    let verify = context.control.run(&["ledger", "verify"]);
    if verify.code != 0 {
        verdict.violations.push(format!("trackerctl ledger verify: {}{}", verify.stdout, verify.stderr));
    }
    verdict
}

/// What no service may ever have logged: a passkey, a panic, or that Redis lost what it had confirmed.
pub(crate) fn read_logs(processes: &[ManagedProcess], context: &RunContext) -> Vec<String> {
    let passkeys = context.world.users.iter().map(Passkey::reveal);
    let never: Vec<&str> = passkeys.chain(["panicked at", "announces that it had confirmed"]).collect();
    let mut found = Vec::new();
    for process in processes.iter().filter(|process| process.metrics().is_some()) {
        let log = match fs::read_to_string(process.log()) {
            Ok(log) => log,
            Err(error) => {
                found.push(format!("the log of {} cannot be read: {error}", process.name()));
                continue;
            }
        };
        let guilty = log.lines().filter(|line| never.iter().any(|text| line.contains(text)));
        found.extend(guilty.take(SHOWN_LINES).map(|line| format!("the log of {}: {line}", process.name())));
    }
    found
}

async fn balance(user: usize, context: &RunContext, verdict: &mut Verdict) {
    let truth = context.world.books.earned(user);
    verdict.truth += truth;
    let Some(settled) = settled(&context.control, context.world.users[user].reveal()).await else {
        verdict.violations.push(format!("user {user} cannot be looked up in the ledger"));
        return;
    };
    if settled != truth {
        verdict.difference += settled.distance(truth);
        verdict.users.push(user);
        verdict
            .violations
            .push(format!("user {user} has {settled:?} in the ledger, and the truth is {truth:?}"));
    }
}

async fn compare_sets(mut redis: MultiplexedConnection, context: &RunContext, verdict: &mut Verdict) {
    let keys = Keys::default();
    for letters in [keys.dead_letters(), keys.failed()] {
        match redis.xlen::<_, u64>(&letters).await {
            Ok(0) => {}
            other => verdict.violations.push(format!("{letters} is not empty: {other:?}")),
        }
    }
    for (user, passkey) in context.world.users.iter().enumerate() {
        for state in [ClientState::Seeds, ClientState::Leeches] {
            let truth = context.world.books.members(user, state);
            match members(&mut redis, passkey, state).await {
                Ok(shown) if shown == truth => {}
                shown => verdict
                    .violations
                    .push(format!("user {user} {state:?} {shown:?}, and the truth is {truth:?}")),
            }
        }
    }
}

async fn members(
    redis: &mut MultiplexedConnection,
    passkey: &Passkey,
    state: ClientState,
) -> Result<Members, String> {
    let (keys, text) = (Keys::default(), |error: redis::RedisError| error.to_string());
    let torrents = if state == ClientState::Seeds { keys.seeding(passkey) } else { keys.leeching(passkey) };
    let mut members = Members::new();
    for torrent in redis.smembers::<_, Vec<String>>(torrents).await.map_err(text)? {
        let info_hash = torrent.parse().map_err(|_| format!("no info hash: {torrent}"))?;
        let clients = if state == ClientState::Seeds {
            keys.seeding_members(passkey, &info_hash)
        } else {
            keys.leeching_members(passkey, &info_hash)
        };
        for client in redis.smembers::<_, Vec<String>>(clients).await.map_err(text)? {
            let peer_id = client.parse().map_err(|_| format!("no peer id: {client}"))?;
            members.entry(info_hash).or_default().insert(peer_id);
        }
    }
    Ok(members)
}
