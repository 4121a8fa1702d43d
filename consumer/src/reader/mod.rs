//! Reads batches of the stream as one consumer of a group: first what this consumer was given before and did
//! not finish, then what another consumer left behind, then what is new. [`Reader`] decides what Redis is
//! asked and what an answer means; [`RedisReader`] asks. The simulation asks a Redis of its own.
//!
//! A reader may be given up at any moment, and any answer may be lost: what Redis gave away is pending then
//! under this consumer's name. So after every failure, and after a question without an answer, it begins with
//! its own pending entries. Those that are in flight would come again, so the pump lets it look back only
//! with nothing in flight ([`Reader::looks_back`]).
//!
//! New entries come over a [`service::redis::Wire`], which a question may block for a second, and are read as
//! bytes (`service::redis::stream` says what that saves). Everything else is rare and goes over a connection
//! of the redis crate, which also reads what the wire choked on: it is pending then.

mod redis_reader;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use books::entry::EntryId;
use redis::{Cmd, RedisError, RedisResult, Value, cmd};
use service::redis::stream;
use tracing::{info, warn};

use crate::batch::Batch;

pub use redis_reader::RedisReader;

/// Whose entries to read and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Key of the traffic stream, prefix included.
    pub stream: String,
    /// Name of the consumer group.
    pub group: String,
    /// This consumer's name in the group.
    pub consumer: String,
    /// Entries read at once, at most.
    pub batch_size: usize,
    /// After so long unacknowledged, another consumer's entry is taken over.
    pub claim_idle: Duration,
}

/// How long one read waits for new entries. Well below the connection's response timeout: a read that timed
/// out would leave its entries pending unseen.
const BLOCK_MS: usize = 1000;

/// The command that Redis is to be sent next.
#[derive(Debug, Clone)]
pub enum Ask {
    /// One command.
    Command(Cmd),
    /// This packed command, which may wait for new entries, over a connection of its own.
    NewEntries(Arc<[u8]>),
}

/// Redis's answer to an [`Ask`].
#[derive(Debug)]
pub enum Answer {
    /// To a command.
    Reply(Value),
    /// New entries, read as they came.
    NewEntries(Batch),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// This consumer's own pending entries after an id.
    Own(EntryId),
    /// Entries that others left, from a cursor.
    Claim(EntryId),
    /// New entries.
    New,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    MakeGroup,
    Own,
    Claim,
    New,
}

/// One consumer's view of the stream.
#[derive(Debug)]
pub struct Reader {
    source: Source,
    new_entries: Arc<[u8]>,
    phase: Phase,
    group_is_there: bool,
    next_claim: Instant,
    /// Asked, and not answered yet.
    open: Option<Question>,
}

impl Reader {
    /// A reader that has asked nothing yet.
    #[must_use]
    pub fn new(source: Source, now: Instant) -> Self {
        Self {
            new_entries: new_entries(&source).get_packed_command().into(),
            source,
            phase: Phase::Own(EntryId::default()),
            group_is_there: false,
            next_claim: now,
            open: None,
        }
    }

    /// Whether the next read asks for entries that were given before, perhaps to this very consumer: those
    /// that it has in flight would come again.
    #[must_use]
    pub fn looks_back(&self, now: Instant) -> bool {
        self.phase != Phase::New || self.open.is_some() || self.next_claim <= now
    }

    /// What to ask next. Asked again without an answer in between, the earlier question was given up.
    pub fn poll(&mut self, now: Instant) -> Ask {
        if self.open.take().is_some() {
            self.phase = Phase::Own(EntryId::default());
        }
        if self.phase == Phase::New && self.next_claim <= now {
            self.phase = Phase::Claim(EntryId::default());
        }
        let (question, ask) = self.question();
        self.open = Some(question);
        ask
    }

    fn question(&self) -> (Question, Ask) {
        let source = &self.source;
        if !self.group_is_there {
            return (Question::MakeGroup, Ask::Command(make_group(source)));
        }
        match self.phase {
            Phase::Own(after) => (Question::Own, Ask::Command(own(source, after))),
            Phase::Claim(cursor) => (Question::Claim, Ask::Command(claim(source, cursor))),
            Phase::New => (Question::New, Ask::NewEntries(self.new_entries.clone())),
        }
    }

    /// Takes the answer to what was asked last. A batch, perhaps an empty one, ends the read; without one
    /// there is more to ask.
    ///
    /// # Errors
    /// Redis's own, or that the answer makes no sense. The next question begins with this consumer's own
    /// pending entries.
    pub fn answered(&mut self, answer: RedisResult<Answer>, now: Instant) -> RedisResult<Option<Batch>> {
        let outcome = match self.open.take() {
            Some(question) => self.take(question, answer, now),
            None => Ok(None),
        };
        if let Err(error) = &outcome {
            self.start_over(error);
        }
        outcome
    }

    fn take(
        &mut self,
        question: Question,
        answer: RedisResult<Answer>,
        now: Instant,
    ) -> RedisResult<Option<Batch>> {
        match (question, answer) {
            (Question::MakeGroup, answer) => self.group_made(answer.map(drop)).map(|()| None),
            (Question::Own, answer) => self.own_entries(&reply(answer?)).map(Some),
            (Question::Claim, answer) => self.claimed(&reply(answer?), now).map(Some),
            (Question::New, answer) => match answer? {
                Answer::NewEntries(batch) => Ok(Some(batch)),
                Answer::Reply(_) => Ok(None),
            },
        }
    }

    fn group_made(&mut self, made: RedisResult<()>) -> RedisResult<()> {
        match made {
            Ok(()) => {
                info!(stream = %self.source.stream, group = %self.source.group, "created the consumer group");
            }
            Err(error) if error.code() == Some("BUSYGROUP") => {}
            Err(error) => return Err(error),
        }
        self.group_is_there = true;
        Ok(())
    }

    fn own_entries(&mut self, reply: &Value) -> RedisResult<Batch> {
        let (mut batch, mut last) = (Batch::default(), None);
        stream::read(reply, |id, fields| {
            batch.add(id, fields);
            last = Some(id);
        })?;
        self.phase = last.map_or(Phase::New, Phase::Own);
        Ok(batch)
    }

    fn claimed(&mut self, reply: &Value, now: Instant) -> RedisResult<Batch> {
        let mut batch = Batch::default();
        let next = stream::claimed(reply, |id, fields| batch.add(id, fields))?;
        self.phase = if next == EntryId::default() { Phase::New } else { Phase::Claim(next) };
        self.next_claim = now + self.source.claim_idle / 2;
        if !batch.is_empty() {
            info!(entries = batch.len(), "took over entries that a consumer left unfinished");
        }
        Ok(batch)
    }

    fn start_over(&mut self, error: &RedisError) {
        if group_is_gone(error) {
            warn!(
                stream = %self.source.stream, group = %self.source.group,
                "the stream or its group was deleted; creating it again and reading from the first entry that is left"
            );
        }
        self.group_is_there = false;
        self.phase = Phase::Own(EntryId::default());
    }
}

/// Redis answers, but the stream or the group is not there any more: no reason to connect again.
fn group_is_gone(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOGROUP" | "UNBLOCKED"))
}

fn reply(answer: Answer) -> Value {
    match answer {
        Answer::Reply(value) => value,
        Answer::NewEntries(_) => Value::Nil,
    }
}

/// From entry 0, so that a consumer started late settles what came before it.
fn make_group(source: &Source) -> Cmd {
    let mut create = cmd("XGROUP");
    create.arg("CREATE").arg(&source.stream).arg(&source.group).arg("0").arg("MKSTREAM");
    create
}

fn own(source: &Source, after: EntryId) -> Cmd {
    let mut read = xreadgroup(source);
    read.arg("STREAMS").arg(&source.stream).arg(after.to_string());
    read
}

fn claim(source: &Source, cursor: EntryId) -> Cmd {
    let idle_ms = u64::try_from(source.claim_idle.as_millis()).unwrap_or(u64::MAX);
    let mut claim = cmd("XAUTOCLAIM");
    claim.arg(&source.stream).arg(&source.group).arg(&source.consumer);
    claim.arg(idle_ms).arg(cursor.to_string()).arg("COUNT").arg(source.batch_size);
    claim
}

fn new_entries(source: &Source) -> Cmd {
    let mut read = xreadgroup(source);
    read.arg("BLOCK").arg(BLOCK_MS).arg("STREAMS").arg(&source.stream).arg(">");
    read
}

fn xreadgroup(source: &Source) -> Cmd {
    let mut read = cmd("XREADGROUP");
    read.arg("GROUP").arg(&source.group).arg(&source.consumer).arg("COUNT").arg(source.batch_size);
    read
}
