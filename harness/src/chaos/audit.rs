//! The end: everything comes to rest, and then the ledger and the sets must be the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use contract::{InfoHash, Keys, Passkey, PeerId};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamRangeReply};
use tokio::time::sleep;

use crate::announce::Bytes;
use crate::books::{Bounds, ClientState, Truth};
use crate::context::{RunContext, connection};
use crate::injector::restart_if_ended;
use crate::managed_process::ManagedProcess;
use crate::operator::NOBODY;
use crate::tally::Figure;
use crate::watch::{Settled, backlog, settled};
use crate::world::User;

/// How long everything may take to come to rest.
const DEADLINE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(200);
const SHOWN_LINES: usize = 5;
/// What seeding may differ for each run besides a tenth of it: whole seconds, and announces that arrived
/// and were never answered.
const SPARE_SECONDS: u64 = 4;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What clients were told is recorded, and what they said.
    pub(crate) truth: Bounds,
    /// By how much the ledger has less than was answered or more than was said, over all users.
    pub(crate) difference: u64,
    /// Seconds of seeding that the announces prove, and that the ledger has.
    pub(crate) seeding: [u64; 2],
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

/// What no service may ever have logged: a passkey or a panic.
pub(crate) fn read_logs(processes: &[ManagedProcess], context: &RunContext) -> Vec<String> {
    let passkeys: Vec<Passkey> = context.world.users.iter().flat_map(User::names).collect();
    let never: Vec<&str> = passkeys.iter().map(Passkey::reveal).chain(["panicked at"]).collect();
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
    let truth = expected(user, context);
    verdict.truth += truth.raw;
    let Some(settled) = settled(&context.control, context.world.users[user].name().reveal()).await else {
        verdict.violations.push(format!("user {user} cannot be looked up in the ledger"));
        return;
    };
    verdict.seeding[0] += truth.seeding.at_least / 1000;
    verdict.seeding[1] += settled.seed_seconds;
    let missed = truth.raw.missed_by(settled.raw);
    verdict.difference += missed;
    let stepped = context.world.tally.get(Figure::SteppedSeconds);
    let wrong = differences(&truth, &settled, stepped);
    if !wrong.is_empty() {
        if missed > 0 {
            verdict.users.push(user);
        }
        verdict.violations.extend(wrong.into_iter().map(|wrong| format!("user {user} {wrong}")));
    }
}

/// Of the user whose records may be damaged nothing is expected but that it has not too much.
fn expected(user: usize, context: &RunContext) -> Truth {
    let mut truth = context.world.books.truth(user);
    if context.world.users[user].is_decoy {
        (truth.raw.answered, truth.credited.answered) = (Bytes::default(), Bytes::default());
        (truth.completions[0], truth.seeding.at_least) = (0, 0);
    }
    truth
}

/// `stepped`: seconds by which clocks were set, together. Each run may have got as many, or lack them.
fn differences(truth: &Truth, settled: &Settled, stepped: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    if truth.raw.missed_by(settled.raw) > 0 {
        wrong.push(format!("has {:?} in the ledger, and the truth is {:?}", settled.raw, truth.raw));
    } else if truth.credited.missed_by(settled.credited) > 0 {
        wrong.push(format!("is credited {:?}, and the truth is {:?}", settled.credited, truth.credited));
    }
    let [least, most] = truth.completions;
    if !(least..=most).contains(&settled.completions) {
        wrong.push(format!("completed {}, and the truth is {least} to {most}", settled.completions));
    }
    let seeding = truth.seeding;
    let spare = seeding.runs * (SPARE_SECONDS + stepped);
    let least = (seeding.at_least / 1000 * 9 / 10).saturating_sub(spare);
    let most = seeding.at_most.div_ceil(1000) * 11 / 10 + spare;
    if !(least..=most).contains(&settled.seed_seconds) {
        wrong.push(format!("seeded {} s, and the truth is {least} to {most}", settled.seed_seconds));
    }
    wrong
}

async fn compare_sets(mut redis: MultiplexedConnection, context: &RunContext, verdict: &mut Verdict) {
    let keys = Keys::default();
    for letters in [keys.dead_letters(), keys.failed()] {
        match redis.xrange_all::<_, StreamRangeReply>(&letters).await {
            Ok(dead) => {
                verdict
                    .violations
                    .extend(dead.ids.iter().filter_map(|letter| wrongly_dead(&letters, letter)));
            }
            Err(error) => verdict.violations.push(format!("{letters}: {error}")),
        }
    }
    for user in 0..context.world.users.len() {
        match shown(&mut redis, &context.world.users[user].name()).await {
            Ok(shown) => verdict.violations.extend(misplaced(user, &shown, context)),
            Err(error) => verdict.violations.push(format!("the sets of user {user}: {error}")),
        }
    }
}

/// What nobody can read is nobody's, and may have been buried several times: a Redis that goes back, and a
/// ledger that is put back, deliver it again.
fn wrongly_dead(stream: &str, letter: &StreamId) -> Option<String> {
    let passkey: Option<String> = letter.get("passkey");
    (passkey.as_deref() != Some(NOBODY)).then(|| format!("{stream} holds {}, which can be read", letter.id))
}

/// The states in which the sets show a user's sessions.
type Shown = BTreeMap<(InfoHash, PeerId), BTreeSet<ClientState>>;

fn misplaced(user: usize, shown: &Shown, context: &RunContext) -> Vec<String> {
    if context.world.users[user].is_decoy {
        return Vec::new();
    }
    let truth = context.world.books.states(user);
    let nowhere = BTreeSet::from([ClientState::Gone]);
    let mut wrong = Vec::new();
    for (session, states) in &truth {
        let seen = shown.get(session).unwrap_or(&nowhere);
        if seen.len() != 1 || !seen.is_subset(states) {
            wrong.push(format!("user {user} {session:?} is shown as {seen:?}, and the truth is {states:?}"));
        }
    }
    let unknown = shown.keys().filter(|session| !truth.contains_key(session));
    wrong.extend(unknown.map(|session| format!("user {user} {session:?} is shown, and was never there")));
    wrong
}

async fn shown(redis: &mut MultiplexedConnection, passkey: &Passkey) -> Result<Shown, String> {
    let (keys, text) = (Keys::default(), |error: redis::RedisError| error.to_string());
    let mut shown = Shown::new();
    for state in [ClientState::Seeds, ClientState::Leeches] {
        let seeds = state == ClientState::Seeds;
        let torrents = if seeds { keys.seeding(passkey) } else { keys.leeching(passkey) };
        for torrent in redis.smembers::<_, Vec<String>>(torrents).await.map_err(text)? {
            let info_hash = torrent.parse().map_err(|_| format!("no info hash: {torrent}"))?;
            let members = if seeds {
                keys.seeding_members(passkey, &info_hash)
            } else {
                keys.leeching_members(passkey, &info_hash)
            };
            for client in redis.smembers::<_, Vec<String>>(members).await.map_err(text)? {
                let peer_id = client.parse().map_err(|_| format!("no peer id: {client}"))?;
                shown.entry((info_hash, peer_id)).or_default().insert(state);
            }
        }
    }
    Ok(shown)
}
