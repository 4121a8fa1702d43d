//! Reads batches of the stream as one consumer of a group: first what this consumer was given before and did not finish, then
//! what is new, and now and then what another consumer left behind.

use std::time::Instant;

use contract::config::ServiceUrl;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Value, cmd};
use service::redis::{Link, Timeouts};
use tracing::{info, warn};

use crate::dead_letters::{Broken, decode};
use crate::entry::{Entry, EntryId};
use crate::gaps::Watch;
use crate::reply::{self, RawEntry};

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

/// Entries that this consumer must finish: settle or bury, then acknowledge.
#[derive(Debug, Default)]
pub struct Batch {
    /// Traffic events.
    pub entries: Vec<Entry>,
    /// Entries that are none.
    pub broken: Vec<Broken>,
    /// Ids whose entries were deleted from the stream while they were pending.
    pub gone: Vec<EntryId>,
    /// Entries that were taken out of the stream before anybody was given them, noticed since the last batch.
    pub lost: u64,
}

impl Batch {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.broken.is_empty() && self.gone.is_empty()
    }

    fn of(raw: Vec<RawEntry>) -> Self {
        let mut batch = Self { entries: Vec::with_capacity(raw.len()), ..Self::default() };
        for RawEntry { id, fields } in raw {
            match fields.map(|fields| (decode(&fields), fields)) {
                None => batch.gone.push(id),
                Some((Ok(event), _)) => batch.entries.push(Entry { id, event }),
                Some((Err(error), fields)) => batch.broken.push(Broken { id, fields, error }),
            }
        }
        batch
    }
}

/// How long one read waits for new entries. Well below the connection's response timeout: a read that timed out would
/// leave its entries pending unseen.
const BLOCK_MS: usize = 1000;

enum Phase {
    /// This consumer's own pending entries after an id.
    Own(EntryId),
    /// Entries that others left, from a cursor.
    Claim(EntryId),
    /// New entries.
    New,
}

/// One consumer's view of the stream. Has a connection of its own, because a read blocks it.
pub struct Reader {
    link: Link,
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
        let link = Link::new(broker, Timeouts::default())?;
        Ok(Self {
            link,
            source,
            phase: Phase::Own(EntryId::default()),
            group_is_there: false,
            next_claim: Instant::now(),
            watch: Watch::default(),
            lost: 0,
        })
    }

    /// The next batch, or an empty one after about a second without entries.
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
        let mut connection = self.link.connection().await?;
        if !self.group_is_there {
            self.create_group(&mut connection).await?;
        }
        if matches!(self.phase, Phase::New) && self.next_claim <= Instant::now() {
            self.phase = Phase::Claim(EntryId::default());
        }
        let raw = match self.phase {
            Phase::Own(after) => self.own(&mut connection, after).await?,
            Phase::Claim(cursor) => self.claim(&mut connection, cursor).await?,
            Phase::New => {
                self.lost += self.watch.look(&mut connection, &self.source).await?;
                if self.lost > 0 {
                    // Told at once, and not after a read that may wait for an entry.
                    return Ok(Batch { lost: std::mem::take(&mut self.lost), ..Batch::default() });
                }
                let raw = self.xreadgroup(&mut connection, ">").await?;
                self.watch.given(&raw.iter().map(|entry| entry.id).collect::<Vec<_>>());
                raw
            }
        };
        Ok(Batch::of(raw))
    }

    async fn own(
        &mut self,
        connection: &mut MultiplexedConnection,
        after: EntryId,
    ) -> RedisResult<Vec<RawEntry>> {
        let raw = self.xreadgroup(connection, &after.to_string()).await?;
        self.phase = raw.last().map_or(Phase::New, |last| Phase::Own(last.id));
        Ok(raw)
    }

    async fn xreadgroup(
        &self,
        connection: &mut MultiplexedConnection,
        from: &str,
    ) -> RedisResult<Vec<RawEntry>> {
        let source = &self.source;
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(&source.group).arg(&source.consumer).arg("COUNT").arg(source.batch_size);
        read.arg("BLOCK").arg(BLOCK_MS).arg("STREAMS").arg(&source.stream).arg(from);
        let mut streams = reply::array(read.query_async::<Value>(connection).await?)?;
        if streams.len() == 1 {
            // Protocol 2 wraps the stream's name and entries once more.
            streams = reply::array(streams.remove(0))?;
        }
        streams.pop().map_or_else(|| Ok(Vec::new()), reply::entries)
    }

    async fn claim(
        &mut self,
        connection: &mut MultiplexedConnection,
        cursor: EntryId,
    ) -> RedisResult<Vec<RawEntry>> {
        let source = &self.source;
        let mut claim = cmd("XAUTOCLAIM");
        claim.arg(&source.stream).arg(&source.group).arg(&source.consumer);
        claim.arg(u64::try_from(source.claim_idle.as_millis()).unwrap_or(u64::MAX)).arg(cursor.to_string());
        claim.arg("COUNT").arg(source.batch_size);
        let mut parts = reply::array(claim.query_async::<Value>(connection).await?)?.into_iter();
        let next = parts.next().as_ref().and_then(reply::id).unwrap_or_default();
        let raw = parts.next().map_or_else(|| Ok(Vec::new()), reply::entries)?;
        self.phase = if next == EntryId::default() { Phase::New } else { Phase::Claim(next) };
        self.next_claim = Instant::now() + source.claim_idle / 2;
        if !raw.is_empty() {
            info!(entries = raw.len(), "took over entries that a consumer left unfinished");
        }
        Ok(raw)
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
        }
        self.group_is_there = false;
        self.phase = Phase::Own(EntryId::default());
    }
}
