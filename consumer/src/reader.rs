//! Reads batches of the stream as one consumer of a group: first what this consumer was given before and did
//! not finish, then what is new, and now and then what another consumer left behind.

use std::time::Instant;

use contract::config::ServiceUrl;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, RedisResult, Value, cmd};
use service::redis::stream::{self, NewEntries};
use service::redis::{Link, Timeouts, Wire};
use tracing::{info, warn};

use crate::batch::Batch;
use crate::gaps::Watch;
use books::entry::EntryId;

/// Whose entries to read and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The stream's key.
    pub stream: String,
    /// The group.
    pub group: String,
    /// This consumer's name in the group.
    pub consumer: String,
    /// Entries read at once, at most.
    pub batch_size: usize,
    /// After so long unacknowledged, another consumer's entry is taken over.
    pub claim_idle: std::time::Duration,
}

/// How long one read waits for new entries. Well below the connection's response timeout: a read that timed
/// out would leave its entries pending unseen.
const BLOCK_MS: usize = 1000;

enum Phase {
    /// This consumer's own pending entries after an id.
    Own(EntryId),
    /// Entries that others left, from a cursor.
    Claim(EntryId),
    /// New entries.
    New,
}

/// One consumer's view of the stream. New entries come over a [`Wire`], which a read blocks; everything else,
/// which is rare, over a connection of the redis crate's. That one also reads what a wire choked on: it is
/// pending then.
pub struct Reader {
    link: Link,
    broker: ServiceUrl,
    wire: Option<Wire>,
    /// What it is asked, packed.
    question: Vec<u8>,
    source: Source,
    phase: Phase,
    group_is_there: bool,
    next_claim: Instant,
    watch: Watch,
    /// Lost with a stream that was deleted, and not told yet.
    lost: u64,
}

impl Reader {
    /// A reader that is not connected yet.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn new(broker: &ServiceUrl, source: Source) -> RedisResult<Self> {
        Ok(Self {
            link: Link::new(broker, Timeouts::default())?,
            broker: broker.clone(),
            wire: None,
            question: question(&source).get_packed_command(),
            source,
            phase: Phase::Own(EntryId::default()),
            group_is_there: false,
            next_claim: Instant::now(),
            watch: Watch::default(),
            lost: 0,
        })
    }

    /// Whether the next read asks for entries that were given before, perhaps to this very consumer: those
    /// that it has in hand would come again.
    #[must_use]
    pub fn looks_back(&self) -> bool {
        let given_up = self.wire.as_ref().is_some_and(|wire| !wire.is_sound());
        !matches!(self.phase, Phase::New) || given_up || self.next_claim <= Instant::now()
    }

    /// The next batch, or an empty one after about a second without entries. A read that was given up is no
    /// loss: what it may have been given comes again.
    ///
    /// # Errors
    /// Redis's own. Wait and read again: what the failed read may have been given comes again.
    pub async fn read(&mut self) -> RedisResult<Batch> {
        let outcome = self.step().await;
        if let Err(error) = &outcome {
            self.start_over(error);
        }
        outcome
    }

    async fn step(&mut self) -> RedisResult<Batch> {
        self.turn();
        let mut connection = self.link.connection().await?;
        if !self.group_is_there {
            self.create_group(&mut connection).await?;
        }
        match self.phase {
            Phase::Own(after) => self.own(&mut connection, after).await,
            Phase::Claim(cursor) => self.claim(&mut connection, cursor).await,
            Phase::New => {
                self.lost += self.watch.look(&mut connection, &self.source).await?;
                if self.lost > 0 {
                    // Told at once, and not after a read that may wait for an entry.
                    return Ok(Batch { lost: std::mem::take(&mut self.lost), ..Batch::default() });
                }
                self.new_entries().await
            }
        }
    }

    /// Chooses what is asked for next.
    fn turn(&mut self) {
        if matches!(self.phase, Phase::New) && self.wire.as_ref().is_some_and(|wire| !wire.is_sound()) {
            // A read was given up: what it was given is pending.
            self.wire = None;
            self.phase = Phase::Own(EntryId::default());
        }
        if matches!(self.phase, Phase::New) && self.next_claim <= Instant::now() {
            self.phase = Phase::Claim(EntryId::default());
        }
    }

    async fn own(&mut self, connection: &mut MultiplexedConnection, after: EntryId) -> RedisResult<Batch> {
        let mut read = xreadgroup(&self.source);
        read.arg("STREAMS").arg(&self.source.stream).arg(after.to_string());
        let mut batch = Batch::default();
        let mut last = None;
        stream::read(&read.query_async::<Value>(connection).await?, |id, fields| {
            batch.add(id, fields);
            last = Some(id);
        })?;
        self.phase = last.map_or(Phase::New, Phase::Own);
        Ok(batch)
    }

    async fn new_entries(&mut self) -> RedisResult<Batch> {
        let wire = match &mut self.wire {
            Some(wire) => wire,
            none => none.insert(Wire::open(&self.broker, Timeouts::default()).await?),
        };
        let (mut reply, mut batch) = (NewEntries::default(), Batch::default());
        wire.ask(&self.question, |bytes| reply.read(bytes, |id, fields| batch.add(id, fields))).await?;
        self.watch.given(&batch);
        Ok(batch)
    }

    async fn claim(&mut self, connection: &mut MultiplexedConnection, cursor: EntryId) -> RedisResult<Batch> {
        let source = &self.source;
        let mut claim = cmd("XAUTOCLAIM");
        claim.arg(&source.stream).arg(&source.group).arg(&source.consumer);
        claim.arg(u64::try_from(source.claim_idle.as_millis()).unwrap_or(u64::MAX)).arg(cursor.to_string());
        claim.arg("COUNT").arg(source.batch_size);
        let mut batch = Batch::default();
        let reply = claim.query_async::<Value>(connection).await?;
        let next = stream::claimed(&reply, |id, fields| batch.add(id, fields))?;
        self.phase = if next == EntryId::default() { Phase::New } else { Phase::Claim(next) };
        self.next_claim = Instant::now() + source.claim_idle / 2;
        if !batch.is_empty() {
            info!(entries = batch.len(), "took over entries that a consumer left unfinished");
        }
        Ok(batch)
    }

    /// From entry 0, so that a consumer started late settles what came before it.
    async fn create_group(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(&self.source.stream).arg(&self.source.group).arg("0").arg("MKSTREAM");
        match create.query_async::<()>(connection).await {
            Ok(()) => {
                info!(stream = %self.source.stream, group = %self.source.group, "created the consumer group");
                self.lost += self.watch.group_made(connection, &self.source).await?;
            }
            Err(error) if error.code() == Some("BUSYGROUP") => {}
            Err(error) => return Err(error),
        }
        self.group_is_there = true;
        Ok(())
    }

    fn start_over(&mut self, error: &RedisError) {
        if matches!(error.code(), Some("NOGROUP" | "UNBLOCKED")) {
            warn!(
                stream = %self.source.stream, group = %self.source.group,
                "the stream or its group was deleted; creating it again and reading from the first entry that is left"
            );
        } else {
            self.link.lost(error);
            self.wire = None;
        }
        self.group_is_there = false;
        self.phase = Phase::Own(EntryId::default());
    }
}

fn xreadgroup(source: &Source) -> Cmd {
    let mut read = cmd("XREADGROUP");
    read.arg("GROUP").arg(&source.group).arg(&source.consumer).arg("COUNT").arg(source.batch_size);
    read
}

/// Asks for new entries.
fn question(source: &Source) -> Cmd {
    let mut read = xreadgroup(source);
    read.arg("BLOCK").arg(BLOCK_MS).arg("STREAMS").arg(&source.stream).arg(">");
    read
}
