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
use contract::{Keys, PeerId, TrafficEvent};

pub(crate) use client::{Client, Endpoint, Life};
pub(crate) use consumer::{CLAIM_IDLE_MS, Chore, Connection, Consumer, Task};
pub(crate) use message::{Flight, Message, What};
pub(crate) use tracker::{Recording, Tracker};

use crate::dice::Dice;
pub(crate) use crate::fact::{Arrival, Fact};
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

/// An announce on its way to a tracker, or there and not yet handed to its recorder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) fact: usize,
    pub(crate) arrived_ms: u64,
    /// A look-up keeps it waiting.
    pub(crate) lingers: bool,
}

/// A session and what it has really earned.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    pub(crate) truth: Truth,
    /// The line on which its newest entry claims.
    pub(crate) born_ms: Option<u64>,
}

/// Redis, and what of it survives a crash.
pub(crate) struct RedisHost<'a> {
    pub(crate) server: &'a Server,
    pub(crate) up: bool,
    pub(crate) skew_ms: i64,
    /// The file, when it lags behind the memory.
    pub(crate) disk: Option<Keyspace>,
    /// What was booked since the file was written, oldest first.
    pub(crate) unwritten: Vec<Booked>,
    /// What it lost and is to be told again.
    pub(crate) owed: Vec<Booked>,
    /// Entries looked at up to here.
    pub(crate) seen: EntryId,
    /// Whether it ever came back older than it was.
    pub(crate) went_back: bool,
}

/// An announce that Redis booked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Booked {
    pub(crate) fact: usize,
    /// Where it can be had again.
    pub(crate) tail: Tail,
    pub(crate) at_ms: u64,
}

/// Whose tail it is: which of a tracker's recorders has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) slot: usize,
    /// `None`: it is gone.
    pub(crate) number: Option<u32>,
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
    pub(crate) travelling: Vec<Visit>,
    /// Trackers' identities given so far.
    pub(crate) identities: u32,
    pub(crate) sessions: Vec<Session>,
    pub(crate) ledger: Ledger,
    /// The key of every entry in the history.
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
        self.instant_of(self.now_ms)
    }

    pub(crate) fn instant_of(&self, true_ms: u64) -> Instant {
        self.epoch + Duration::from_millis(true_ms - T0_MS)
    }

    /// Lets time pass.
    pub(crate) fn pass_time(&mut self, ms: u64) {
        self.redis_writes_before(self.now_ms + ms);
        self.now_ms += ms;
        self.set_redis_clock();
        self.announces_arrive();
    }

    pub(crate) fn tell<T: std::fmt::Display>(&mut self, line: impl FnOnce() -> T) {
        self.trace.tell(self.now_ms - T0_MS, line);
    }

    pub(crate) fn new_session(&mut self, user: usize, torrent: usize) -> usize {
        let mut id = [b'-'; 20];
        id[1..7].copy_from_slice(b"SB0001");
        id[12..].copy_from_slice(&(self.sessions.len() as u64 + 1).to_be_bytes());
        let key = (self.scenario.users[user], self.scenario.torrents[torrent], PeerId(id));
        self.sessions.push(Session { key, truth: Truth::default(), born_ms: None });
        self.sessions.len() - 1
    }

    pub(crate) fn session_of(&self, key: &SessionKey) -> Option<usize> {
        self.sessions.iter().position(|session| session.key == *key)
    }

    /// Never more than the truth: what is settled of a session is at most what its client moved.
    pub(crate) fn no_more_than_the_truth(&self, session: usize) -> Checked {
        let Session { key, truth, .. } = &self.sessions[session];
        let (up, down) = self.ledger.session(key);
        for (word, settled, meter) in [("up", up, &truth.up), ("down", down, &truth.down)] {
            let most = meter.most();
            if settled.unsigned_abs() > most {
                return violation(format!(
                    "session {session} has {settled} bytes {word} in the ledger, and its client moved {most}"
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

/// An event's key in the ledger.
pub(crate) fn key_of(event: &TrafficEvent) -> Key {
    (event.passkey, event.info_hash, event.peer_id, i64::try_from(event.ts).unwrap_or(i64::MAX))
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
