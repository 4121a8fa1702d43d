//! The world of one schedule: everybody in it, the time, the messages under way, and Redis. What each of them
//! does is in the room of its name, above this one: an `impl World` that only the rooms further up know of.

mod client;
mod consumer;
mod message;
mod tracker;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use books::EntryId;
use books::ledger::LedgerError;
use books::presence;
use contract::{Event, Keys, PeerId};

pub(crate) use client::{Client, Endpoint, Life};
pub(crate) use consumer::{CLAIM_IDLE_MS, Chore, Connection, Consumer, Task};
pub(crate) use message::{Flight, Message, What};
pub(crate) use tracker::{Recording, Tracker};

use crate::dice::Dice;
use crate::figures::Figures;
use crate::ledger::{Key, Ledger, SessionKey};
use crate::mutation::{Mutation, Scripts};
use crate::oracle::Truth;
use crate::redis::{Bytes, Keyspace, Reply, Server, words};
use crate::scenario::Scenario;
use crate::trace::Trace;

pub(crate) const STREAM: &str = "tracker:traffic";
pub(crate) const GROUP: &str = "site";
/// Unix milliseconds at which every schedule begins.
pub(crate) const T0_MS: u64 = 1_700_000_000_000;

/// A promise that was broken, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

pub(crate) type Checked = Result<(), Violation>;

/// One announce that a client sent, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Fact {
    pub(crate) client: usize,
    pub(crate) endpoint: usize,
    pub(crate) session: usize,
    pub(crate) run: u32,
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) event: Event,
    /// The client was told that it counts.
    pub(crate) answered: bool,
    /// Redis booked it.
    pub(crate) heard: bool,
    /// A newer announce of the same run took its place in a spool.
    pub(crate) replaced_by: Option<usize>,
}

/// A session and what it has really earned.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    pub(crate) truth: Truth,
}

/// Redis, and what of it survives a crash.
pub(crate) struct RedisHost<'a> {
    pub(crate) server: &'a Server,
    pub(crate) up: bool,
    pub(crate) skew_ms: i64,
    /// The file, when it lags behind the memory.
    pub(crate) disk: Option<Keyspace>,
    /// Sessions booked since the file was written.
    pub(crate) unwritten: BTreeSet<usize>,
    /// Entries looked at up to here.
    pub(crate) seen: EntryId,
    /// Whether a confirmed entry was ever lost.
    pub(crate) lost_entries: bool,
    /// Whether its file was ever behind when it crashed: then presence may lack what was acknowledged.
    pub(crate) rolled_back: bool,
}

/// Everything.
pub(crate) struct World<'a> {
    pub(crate) dice: Dice,
    pub(crate) trace: Trace,
    pub(crate) scenario: Scenario,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) scripts: &'a Scripts,
    pub(crate) keys: Keys,
    pub(crate) now_ms: u64,
    /// When that was [`T0_MS`], for what reckons in instants: only their distances count.
    pub(crate) epoch: Instant,
    /// The end: no faults, no losses, everybody finishes.
    pub(crate) settling: bool,
    pub(crate) redis: RedisHost<'a>,
    pub(crate) trackers: Vec<Tracker>,
    pub(crate) clients: Vec<Client>,
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) messages: Vec<Message>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) ledger: Ledger,
    /// Every key that was ever in the stream.
    pub(crate) event_keys: BTreeSet<Key>,
    /// Every entry that was ever in the stream and was not lost with Redis's file.
    pub(crate) history: Vec<books::Entry>,
    /// The latest unix second that any consumer took for the present.
    pub(crate) latest_now: u64,
    pub(crate) figures: Figures,
}

impl World<'_> {
    /// Unix milliseconds on a clock that is `skew_ms` ahead.
    pub(crate) fn clock(&self, skew_ms: i64) -> u64 {
        self.now_ms.saturating_add_signed(skew_ms)
    }

    /// What clocks show that never jump: those by which recorders and consumers wait.
    pub(crate) fn instant(&self) -> Instant {
        self.epoch + Duration::from_millis(self.now_ms - T0_MS)
    }

    /// Lets time pass.
    pub(crate) fn pass_time(&mut self, ms: u64) {
        self.now_ms += ms;
        self.set_redis_clock();
    }

    pub(crate) fn tell<T: std::fmt::Display>(&mut self, line: impl FnOnce() -> T) {
        self.trace.tell(self.now_ms - T0_MS, line);
    }

    pub(crate) fn new_session(&mut self, user: usize, torrent: usize) -> (usize, PeerId) {
        let mut id = [b'-'; 20];
        id[1..7].copy_from_slice(b"SB0001");
        id[12..].copy_from_slice(&(self.sessions.len() as u64 + 1).to_be_bytes());
        let peer_id = PeerId(id);
        let key = (self.scenario.users[user], self.scenario.torrents[torrent], peer_id);
        self.sessions.push(Session { key, truth: Truth::default() });
        (self.sessions.len() - 1, peer_id)
    }

    pub(crate) fn session_of(&self, key: &SessionKey) -> Option<usize> {
        self.sessions.iter().position(|session| session.key == *key)
    }

    /// Never more than the truth: what is settled of a session is at most what its client moved (and what
    /// Redis lost after it had confirmed it, which is then counted twice).
    pub(crate) fn no_more_than_the_truth(&self, session: usize) -> Checked {
        let Session { key, truth } = &self.sessions[session];
        let (up, down) = self.ledger.session(key);
        for (word, settled, meter, lost) in
            [("up", up, &truth.up, truth.lost.0), ("down", down, &truth.down, truth.lost.1)]
        {
            let most = if truth.lost_reports { meter.reported() + lost } else { meter.earned() };
            if settled.unsigned_abs() > most {
                return violation(format!(
                    "session {session} has {settled} bytes {word} in the ledger, and earned {most}"
                ));
            }
        }
        Ok(())
    }

    /// Runs a command; a script that Redis has forgotten is taught again first.
    pub(crate) fn ask(&self, script: &str, args: &[Bytes]) -> Reply {
        let reply = self.redis.server.run(args);
        if !reply.is_error("NOSCRIPT") {
            return reply;
        }
        self.redis.server.run(&words(&["SCRIPT", "LOAD", script]));
        self.redis.server.run(args)
    }

    pub(crate) fn set_redis_clock(&self) {
        self.redis.server.keyspace().now_ms = self.clock(self.redis.skew_ms);
    }

    pub(crate) fn bases(&self) -> Vec<String> {
        presence::bases(&self.keys).to_vec()
    }

    pub(crate) fn run_script(&self, script: &str, args: &[String]) -> Result<Reply, Violation> {
        let mut command: Vec<Bytes> = words(&["EVALSHA", &Server::sha(script), "0"]);
        command.extend(args.iter().map(|arg| arg.as_bytes().to_vec()));
        match self.ask(script, &command) {
            Reply::Error(error) => Err(Violation(format!("a presence script failed: {error}"))),
            reply => Ok(reply),
        }
    }
}

/// A broken promise.
pub(crate) fn violation(what: impl Into<String>) -> Checked {
    Err(Violation(what.into()))
}

/// The ledger in memory has no reason to fail.
impl From<LedgerError> for Violation {
    fn from(error: LedgerError) -> Self {
        Self(format!("the ledger failed: {error}"))
    }
}
