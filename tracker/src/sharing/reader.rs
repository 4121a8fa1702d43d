//! The task that reads the visits that all trackers appended, and takes those of other trackers into the
//! swarms of this one. It begins with the oldest retained entry, so that a tracker that has just started
//! knows every peer of the site.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::EntryId;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};
use service::redis::{Backoff, Link, stream};
use tracing::{info, warn};

use super::clock::RedisClock;
use super::codec::{VisitBatch, WriterId};
use super::metrics::SharingMetrics;
use super::retained::Retained;
use super::stream::{VisitEntry, VisitStream};
use crate::swarm::Sighting;

/// Entries in one answer: at most some 4 MB.
const MAX_ENTRIES: usize = 64;
/// How long Redis may keep a read waiting for something new.
pub(super) const BLOCK: Duration = Duration::from_secs(1);

pub(super) struct VisitReader<Learn> {
    link: Link,
    learn: Learn,
    stream: Arc<VisitStream>,
    writer: WriterId,
    metrics: SharingMetrics,
    /// Everything up to this entry is read.
    read_to: EntryId,
    read_at: Instant,
    retained: Retained,
    backoff: Backoff,
    complained: bool,
}

impl<Learn: Fn(&Sighting, Duration) -> bool> VisitReader<Learn> {
    pub(super) fn new(
        link: Link,
        learn: Learn,
        stream: Arc<VisitStream>,
        writer: WriterId,
        metrics: SharingMetrics,
    ) -> Self {
        Self {
            link,
            learn,
            stream,
            writer,
            metrics,
            read_to: EntryId::default(),
            read_at: Instant::now(),
            retained: Retained::default(),
            backoff: Backoff::default(),
            complained: false,
        }
    }

    /// Reads until it is aborted.
    pub(super) async fn run(mut self) {
        loop {
            let Err(error) = self.follow().await;
            self.link.lost(&error);
            self.metrics.lag_seconds.set(self.read_at.elapsed().as_secs_f64());
            self.backoff.wait().await;
        }
    }

    async fn follow(&mut self) -> RedisResult<Infallible> {
        let mut connection = self.link.connection().await?;
        let mut clock = RedisClock::read(&mut connection).await?;
        self.find_place(&mut connection, clock).await?;
        loop {
            let news = self.read(&mut connection).await?;
            self.backoff.reset();
            self.read_at = Instant::now();
            if news.is_empty() || clock.is_stale(self.read_at) {
                clock = RedisClock::read(&mut connection).await?;
            }
            self.take_in(news, clock).await;
        }
    }

    /// Goes on where the last connection ended; from the beginning when that place is later than anything in
    /// Redis, which then lost entries, or is another Redis.
    async fn find_place(
        &mut self,
        connection: &mut MultiplexedConnection,
        clock: RedisClock,
    ) -> RedisResult<()> {
        let mut newest = redis::cmd("XREVRANGE");
        newest.arg(&self.stream.key).arg("+").arg("-").arg("COUNT").arg(1);
        let mut end = None;
        stream::range(&newest.query_async(connection).await?, |id, _| end = Some(id))?;
        let now_ms = clock.at(Instant::now());
        let end = end.unwrap_or(EntryId { ms: now_ms, seq: u64::MAX });
        let beginning = EntryId::at_ms(self.stream.horizon(now_ms));
        if self.read_to > end || self.read_to < beginning {
            info!(stream = self.stream.key, "reading what other trackers saw, from the beginning");
            (self.read_to, self.retained) = (beginning, Retained::default());
        }
        Ok(())
    }

    async fn read(&self, connection: &mut MultiplexedConnection) -> RedisResult<Vec<VisitEntry>> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(MAX_ENTRIES).arg("BLOCK").arg(u64::try_from(BLOCK.as_millis()).unwrap_or(0));
        read.arg("STREAMS").arg(&self.stream.key).arg(self.read_to.to_string());
        let mut news = Vec::new();
        let reply = read.query_async::<Value>(connection).await?;
        stream::read(&reply, |id, fields| news.push(VisitEntry::new(id, fields)))?;
        Ok(news)
    }

    async fn take_in(&mut self, news: Vec<VisitEntry>, clock: RedisClock) {
        let all = news.len() < MAX_ENTRIES;
        for VisitEntry { id, batch } in news {
            self.read_to = id;
            let waited = Duration::from_millis(clock.at(Instant::now()).saturating_sub(id.ms));
            self.metrics.lag_seconds.set(waited.as_secs_f64());
            let batch = batch.unwrap_or_default();
            self.retained.add(id.ms, batch.len());
            match VisitBatch::decode(&batch) {
                Ok(batch) if batch.writer == self.writer => {}
                Ok(batch) => self.pass_on(&batch, waited),
                Err(error) => self.complain(id, &error),
            }
            // A large batch takes a millisecond: others on this runtime may want their turn.
            tokio::task::yield_now().await;
        }
        if all {
            self.metrics.lag_seconds.set(0.0);
        }
        let now_ms = clock.at(Instant::now());
        let horizon = self.stream.horizon(now_ms);
        self.stream.set_full_since(self.retained.trim(horizon, self.stream.max_bytes));
        self.metrics.stream_bytes.set(i64::try_from(self.retained.bytes()).unwrap_or(i64::MAX));
    }

    fn pass_on(&self, batch: &VisitBatch, waited: Duration) {
        for visit in &batch.visits {
            let age = waited + Duration::from_millis(visit.age_ms.into());
            let fresh = age < self.stream.peer_lifetime;
            if fresh && (self.learn)(&visit.sighting, age) {
                self.metrics.received.inc();
            } else {
                self.metrics.outdated.inc();
            }
        }
    }

    fn complain(&mut self, id: EntryId, error: &super::codec::Unreadable) {
        self.metrics.malformed.inc();
        if !std::mem::replace(&mut self.complained, true) {
            warn!(stream = self.stream.key, %id, %error, "an entry of the shared stream was skipped; others like it will be counted only");
        }
    }
}
