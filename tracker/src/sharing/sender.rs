//! The task that appends visits to the stream, in batches.
//!
//! A visit that comes after a quiet moment leaves at once; those that follow it gather until the next batch.
//! So entries stay few (readers wake for each one) and visits are never much older than one pause. A batch
//! that could not be sent is sent again: other trackers may be told of a visit twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::RedisResult;
use service::redis::{Backoff, Link};

use super::clock::RedisClock;
use super::codec::{AgedVisit, VisitBatch, WriterId};
use super::metrics::SharingMetrics;
use super::outbox::{Outbox, WaitingVisit};
use super::stream::VisitStream;

/// Visits in one entry, some 60 KB.
const MAX_BATCH: usize = 1024;
/// How long visits gather after a batch left, unless they fill one sooner.
const GATHER: Duration = Duration::from_millis(50);
/// A stream that nobody appends to for so long beyond its peers' lifetime goes away by itself.
const LINGER: Duration = Duration::from_secs(60);

pub(super) struct VisitSender {
    pub(super) link: Link,
    pub(super) outbox: Arc<Outbox>,
    pub(super) stream: Arc<VisitStream>,
    pub(super) writer: WriterId,
    pub(super) metrics: SharingMetrics,
}

impl VisitSender {
    /// Sends until the outbox is closed and empty, or closed while Redis is away.
    pub(super) async fn run(mut self) {
        let (mut clock, mut backoff) = (None, Backoff::default());
        loop {
            let waiting = self.outbox.next(MAX_BATCH).await;
            if waiting.is_empty() {
                return;
            }
            match self.append(&waiting, &mut clock).await {
                Ok(()) => {
                    backoff.reset();
                    if self.outbox.len() < MAX_BATCH && !self.outbox.is_closed() {
                        tokio::time::sleep(GATHER).await;
                    }
                }
                Err(error) => {
                    self.link.lost(&error);
                    clock = None;
                    self.outbox.put_back(waiting);
                    if self.outbox.is_closed() {
                        return;
                    }
                    backoff.wait().await;
                }
            }
        }
    }

    async fn append(&mut self, waiting: &[WaitingVisit], clock: &mut Option<RedisClock>) -> RedisResult<()> {
        let mut connection = self.link.connection().await?;
        let clock = match clock {
            Some(clock) if !clock.is_stale(Instant::now()) => clock,
            _ => clock.insert(RedisClock::read(&mut connection).await?),
        };
        let now = Instant::now();
        let visits = self.still_of_use(waiting, now);
        if visits.is_empty() {
            return Ok(());
        }
        let count = visits.len() as u64;
        let entry = VisitBatch { writer: self.writer, visits }.encode();
        let expiry = (self.stream.peer_lifetime + LINGER).as_millis();
        let mut pipe = redis::pipe();
        pipe.cmd("XADD")
            .arg(&self.stream.key)
            .arg("MINID")
            .arg("~")
            .arg(self.stream.oldest_wanted(clock.at(now)));
        pipe.arg("*").arg(super::stream::FIELD).arg(entry).ignore();
        pipe.cmd("PEXPIRE").arg(&self.stream.key).arg(u64::try_from(expiry).unwrap_or(u64::MAX)).ignore();
        pipe.query_async::<()>(&mut connection).await?;
        self.metrics.shared.inc_by(count);
        Ok(())
    }

    /// Visits with their ages, without those whose peers are gone by now.
    fn still_of_use(&self, waiting: &[WaitingVisit], now: Instant) -> Vec<AgedVisit> {
        let age = |at: Instant| now.saturating_duration_since(at);
        let fresh = waiting.iter().filter(|waiting| age(waiting.at) < self.stream.peer_lifetime);
        let shared = |waiting: &WaitingVisit| {
            let age_ms = u32::try_from(age(waiting.at).as_millis()).ok()?;
            Some(AgedVisit { sighting: waiting.sighting, age_ms })
        };
        fresh.filter_map(shared).collect()
    }
}
