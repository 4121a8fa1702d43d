//! The second half of the line: settles batches, puts aside what is broken, acknowledges.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Script, cmd};
use service::redis::{Backoff, Link};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::batch::Batch;
use crate::clock;
use crate::health::Need;
use crate::pump::{Hand, Line, MOST_IN_HAND};
use crate::stop::Stopped;
use books::dead_letters::{self, Broken};
use books::entry::{Entry, EntryId};
use books::ledger::{LedgerError, LedgerHandle, Outcome};

/// Ids in one acknowledgement: a millisecond of Redis, which its other clients can wait.
const ACKNOWLEDGED_AT_ONCE: usize = 1000;

/// Where batches go.
pub struct Finish {
    /// What both halves know.
    pub line: Line,
    /// Redis for acknowledging.
    pub link: Link,
    /// Where they are settled.
    pub ledger: LedgerHandle,
}

impl Finish {
    /// Waits until the ledger is there.
    pub(crate) async fn open_ledger(&mut self) -> Result<(), Stopped> {
        self.settle(Arc::new([])).await.map(drop)
    }

    /// Runs until nothing more comes. What came while one transaction was under way is settled in the next,
    /// all of it together.
    pub(crate) async fn run(&mut self, mut waiting: mpsc::Receiver<Hand>) -> Result<(), Stopped> {
        let mut hands = Vec::with_capacity(MOST_IN_HAND);
        while waiting.recv_many(&mut hands, MOST_IN_HAND).await > 0 {
            let (mut batch, mut places) = (Batch::default(), Vec::with_capacity(hands.len()));
            for hand in hands.drain(..) {
                batch.append(hand.batch);
                places.push(hand.place);
            }
            self.process(batch).await?;
        }
        Ok(())
    }

    async fn process(&mut self, batch: Batch) -> Result<(), Stopped> {
        let entries: Arc<[Entry]> = batch.entries.into();
        let refused = self.settle(entries.clone()).await?;
        for broken in batch.broken.iter().chain(&refused) {
            self.bury(broken).await?;
        }
        self.line.metrics.gone.inc_by(batch.gone.len() as u64);
        let finished: Vec<EntryId> = entries.iter().map(|entry| entry.id).chain(batch.gone).collect();
        for some in finished.chunks(ACKNOWLEDGED_AT_ONCE) {
            self.acknowledge(some).await?;
        }
        Ok(())
    }

    /// Settles everything but what the ledger refuses, which is returned: halves of a refused part are tried
    /// until the guilty entries stand alone.
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
            let timer = self.line.metrics.commit_seconds.start_timer();
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
                    self.line.metrics.ledger_errors.inc();
                    self.line.metrics.ledger_up.set(0);
                    self.line.health.unmet(Need::Ledger, &error.to_string());
                    self.line.stop.unless(backoff.wait()).await?;
                }
            }
        }
    }

    fn ledger_answers(&self) {
        self.line.metrics.ledger_up.set(1);
        self.line.health.met(Need::Ledger);
    }

    fn count(&self, entries: &[Entry], outcome: Outcome) {
        if entries.is_empty() {
            return;
        }
        self.line.metrics.batch_size.observe(f64::from(u32::try_from(entries.len()).unwrap_or(u32::MAX)));
        self.line.metrics.settled.inc_by(outcome.settled);
        self.line.metrics.duplicates.inc_by(outcome.duplicates);
        self.line.metrics.flagged.inc_by(outcome.flagged);
        let now_ms = clock::now_ms();
        for entry in entries {
            // The id's milliseconds rather than the event's whole seconds: what is measured is mostly below
            // one.
            let waited = Duration::from_millis(now_ms.saturating_sub(entry.id.ms));
            self.line.metrics.end_to_end.observe(waited.as_secs_f64());
        }
    }

    async fn bury(&mut self, broken: &Broken) -> Result<(), Stopped> {
        warn!(entry = %broken.id, error = %broken.error, "moved an entry to the dead letters");
        let mut backoff = Backoff::default();
        loop {
            let place = (self.line.source.stream.as_str(), self.line.source.group.as_str());
            let attempt = match self.link.connection().await {
                Ok(mut redis) => {
                    dead_letters::bury(&mut redis, &self.line.keys, place, broken, clock::now()).await
                }
                Err(error) => Err(error),
            };
            if let Some(buried) = self.line.done(&mut self.link, attempt, &mut backoff).await? {
                self.line.metrics.dead.inc_by(u64::from(buried));
                return Ok(());
            }
        }
    }

    async fn acknowledge(&mut self, ids: &[EntryId]) -> Result<(), Stopped> {
        let acknowledge = acknowledgement((&self.line.source.stream, &self.line.source.group), ids);
        let mut backoff = Backoff::default();
        loop {
            let attempt = match self.link.connection().await {
                Ok(mut redis) => acknowledge.query_async::<()>(&mut redis).await,
                Err(error) => Err(error),
            };
            if self.line.done(&mut self.link, attempt, &mut backoff).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Leaves the group, so that names of stopped processes do not pile up in it, unless something is still
    /// pending.
    pub(crate) async fn sign_off(&mut self) {
        let script = Script::new(
            "if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
             return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])",
        );
        let Ok(mut connection) = self.link.connection().await else { return };
        let mut call = script.key(&self.line.source.stream);
        call.arg(&self.line.source.group).arg(&self.line.source.consumer);
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

/// The command that acknowledges entries of a stream and a group.
#[must_use]
pub fn acknowledgement((stream, group): (&str, &str), ids: &[EntryId]) -> Cmd {
    let mut acknowledge = cmd("XACK");
    acknowledge.arg(stream).arg(group);
    for id in ids {
        acknowledge.arg(id.text().as_str());
    }
    acknowledge
}
