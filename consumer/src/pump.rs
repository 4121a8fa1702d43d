//! The line: read a batch, show who is there, settle what they moved, put aside what is broken, acknowledge.
//!
//! Every step waits and repeats until it succeeds, one batch in hand and none in store, so nothing is lost and nothing
//! piles up; every step recognises what it has seen, so repeating is harmless. Only a wish to stop breaks it off, and
//! then the batch is still pending for the next consumer.

use std::sync::Arc;
use std::time::Duration;

use contract::Keys;
use redis::{RedisResult, Script, cmd};
use service::redis::{Backoff, Link};
use tracing::{debug, warn};

use crate::clock;
use crate::dead_letters::{self, Broken};
use crate::entry::{Entry, EntryId};
use crate::health::{Health, Need};
use crate::ledger::{LedgerError, LedgerHandle, Outcome};
use crate::metrics::Metrics;
use crate::presence::{self, Leases};
use crate::reader::{Batch, Reader, Source};
use crate::stop::{Stop, Stopped};

/// The parts of the line.
pub struct Pump {
    /// Where batches come from.
    pub reader: Reader,
    /// Whose entries they are.
    pub source: Source,
    /// Redis for everything but reading.
    pub link: Link,
    /// The site's keys.
    pub keys: Keys,
    /// How long peers stay.
    pub leases: Leases,
    /// Where batches are settled.
    pub ledger: LedgerHandle,
    /// Figures.
    pub metrics: Metrics,
    /// What is waited for.
    pub health: Health,
    /// When to stop.
    pub stop: Stop,
}

impl Pump {
    /// Runs until stopped; the batch in hand is finished if that is possible without waiting.
    pub async fn run(mut self) {
        let Err(Stopped) = self.pump().await;
        self.sign_off().await;
    }

    async fn pump(&mut self) -> Result<std::convert::Infallible, Stopped> {
        // Nothing is taken from the stream before there is a ledger to put it in.
        self.settle(Arc::new([])).await?;
        loop {
            self.stop.check()?;
            let batch = self.read().await?;
            if !batch.is_empty() {
                self.process(batch).await?;
            }
        }
    }

    async fn process(&mut self, batch: Batch) -> Result<(), Stopped> {
        let entries: Arc<[Entry]> = batch.entries.into();
        self.show_presence(&entries).await?;
        let refused = self.settle(entries.clone()).await?;
        for broken in batch.broken.iter().chain(&refused) {
            self.bury(broken).await?;
        }
        self.metrics.gone.inc_by(batch.gone.len() as u64);
        let finished = entries.iter().map(|entry| entry.id).chain(batch.gone);
        self.acknowledge(finished.collect()).await
    }

    async fn read(&mut self) -> Result<Batch, Stopped> {
        let mut backoff = Backoff::default();
        loop {
            match self.reader.read().await {
                Ok(batch) => {
                    self.health.met(Need::Redis);
                    self.metrics.lost.inc_by(batch.lost);
                    return Ok(batch);
                }
                Err(error) => self.wait_for_redis(&error, &mut backoff).await?,
            }
        }
    }

    async fn show_presence(&mut self, entries: &[Entry]) -> Result<(), Stopped> {
        let timer = self.metrics.presence_seconds.start_timer();
        let mut backoff = Backoff::default();
        loop {
            let attempt = match self.link.connection().await {
                Ok(mut redis) => {
                    presence::apply(&mut redis, &self.keys, self.leases, entries, clock::now()).await
                }
                Err(error) => Err(error),
            };
            if self.done(attempt, &mut backoff).await?.is_some() {
                timer.observe_duration();
                return Ok(());
            }
        }
    }

    /// Settles everything but what the ledger refuses, which is returned: halves of a refused part are tried until the
    /// guilty entries stand alone.
    async fn settle(&mut self, entries: Arc<[Entry]>) -> Result<Vec<Broken>, Stopped> {
        let (mut parts, mut refused) = (vec![entries], Vec::new());
        while let Some(part) = parts.pop() {
            match (self.settle_part(&part).await?, &*part) {
                (Ok(outcome), _) => self.count(&part, outcome),
                (Err(reason), [guilty]) => refused.push(refusal(guilty, reason)),
                (Err(_), []) => {}
                (Err(_), _) => {
                    let (older, newer) = part.split_at(part.len() / 2);
                    parts.extend([newer.into(), older.into()]);
                }
            }
        }
        Ok(refused)
    }

    /// The inner error is the data's fault; for a ledger that is away this waits.
    async fn settle_part(&mut self, entries: &Arc<[Entry]>) -> Result<Result<Outcome, String>, Stopped> {
        let mut backoff = Backoff::default();
        loop {
            let timer = self.metrics.commit_seconds.start_timer();
            match self.ledger.settle(entries.clone()).await {
                Ok(outcome) => {
                    timer.observe_duration();
                    self.ledger_answers();
                    return Ok(Ok(outcome));
                }
                Err(LedgerError::Rejected(reason)) => {
                    timer.stop_and_discard();
                    self.ledger_answers();
                    return Ok(Err(reason));
                }
                Err(error) => {
                    timer.stop_and_discard();
                    self.metrics.ledger_errors.inc();
                    self.metrics.ledger_up.set(0);
                    self.health.unmet(Need::Ledger, &error.to_string());
                    self.stop.unless(backoff.wait()).await?;
                }
            }
        }
    }

    fn ledger_answers(&self) {
        self.metrics.ledger_up.set(1);
        self.health.met(Need::Ledger);
    }

    fn count(&self, entries: &[Entry], outcome: Outcome) {
        if entries.is_empty() {
            return;
        }
        self.metrics.batch_size.observe(f64::from(u32::try_from(entries.len()).unwrap_or(u32::MAX)));
        self.metrics.settled.inc_by(outcome.settled);
        self.metrics.duplicates.inc_by(outcome.duplicates);
        self.metrics.flagged.inc_by(outcome.flagged);
        let now_ms = clock::now_ms();
        for entry in entries {
            // The id's milliseconds rather than the event's whole seconds: what is measured is mostly below one.
            let waited = Duration::from_millis(now_ms.saturating_sub(entry.id.ms));
            self.metrics.end_to_end.observe(waited.as_secs_f64());
        }
    }

    async fn bury(&mut self, broken: &Broken) -> Result<(), Stopped> {
        warn!(entry = %broken.id, error = %broken.error, "moved an entry to the dead letters");
        let mut backoff = Backoff::default();
        loop {
            let place = (self.source.stream.as_str(), self.source.group.as_str());
            let attempt = match self.link.connection().await {
                Ok(mut redis) => {
                    dead_letters::bury(&mut redis, &self.keys, place, broken, clock::now()).await
                }
                Err(error) => Err(error),
            };
            if let Some(buried) = self.done(attempt, &mut backoff).await? {
                self.metrics.dead.inc_by(u64::from(buried));
                return Ok(());
            }
        }
    }

    async fn acknowledge(&mut self, ids: Vec<EntryId>) -> Result<(), Stopped> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut acknowledge = cmd("XACK");
        acknowledge.arg(&self.source.stream).arg(&self.source.group);
        for id in ids {
            acknowledge.arg(id.to_string());
        }
        let mut backoff = Backoff::default();
        loop {
            let attempt = match self.link.connection().await {
                Ok(mut redis) => acknowledge.query_async::<()>(&mut redis).await,
                Err(error) => Err(error),
            };
            if self.done(attempt, &mut backoff).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// The attempt's result; after a failure `None`, once it is time for the next attempt.
    async fn done<T>(
        &mut self,
        attempt: RedisResult<T>,
        backoff: &mut Backoff,
    ) -> Result<Option<T>, Stopped> {
        match attempt {
            Ok(result) => {
                self.health.met(Need::Redis);
                Ok(Some(result))
            }
            Err(error) => {
                self.link.lost(&error);
                self.wait_for_redis(&error, backoff).await?;
                Ok(None)
            }
        }
    }

    async fn wait_for_redis(
        &mut self,
        error: &redis::RedisError,
        backoff: &mut Backoff,
    ) -> Result<(), Stopped> {
        self.metrics.redis_errors.inc();
        self.health.unmet(Need::Redis, &format!("Redis: {error}"));
        self.stop.unless(backoff.wait()).await
    }

    /// Leaves the group, so that names of stopped processes do not pile up in it, unless something is still pending.
    async fn sign_off(&mut self) {
        let script = Script::new(
            "if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
             return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])",
        );
        let Ok(mut connection) = self.link.connection().await else { return };
        let mut call = script.key(&self.source.stream);
        call.arg(&self.source.group).arg(&self.source.consumer);
        if let Err(error) = call.invoke_async::<()>(&mut connection).await {
            debug!(%error, "this consumer's name stays in the group");
        }
    }
}

fn refusal(entry: &Entry, error: String) -> Broken {
    let fields = entry.event.to_fields();
    let fields = fields.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value.into_bytes()));
    Broken { id: entry.id, fields: fields.collect(), error }
}
