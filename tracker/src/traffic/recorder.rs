//! The recorder: reports queue here, and a client is answered once its report is in the stream.
//!
//! One batch is in flight at a time. While it travels the next one gathers, so batches grow with the load and leave at
//! once when idle, and a session's announces keep their order even when a batch must be sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contract::config::ServiceUrl;
use redis::RedisResult;
use service::redis::{Link, Timeouts};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::error;

use super::script::{Entry, Outcome, RecordScript, Rules};
use crate::announce::Report;
use crate::metrics::RecorderMetrics;

/// Reports that may wait at one time. Beyond it clients are told to come back, and lose nothing: counters are absolute.
const MAX_WAITING: usize = 65_536;
/// Reports in one call. Redis is busy for some 3 ms with so many; more would make its other users wait.
const MAX_BATCH: usize = 256;
/// How often an idle recorder looks whether a Redis that was away is back.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How the recorder is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The Redis that holds the stream.
    pub redis: ServiceUrl,
    /// How long to wait for Redis.
    pub timeouts: Timeouts,
    /// How deltas are computed.
    pub rules: Rules,
    /// How often a batch is sent again after an error before its clients are told to come back.
    pub retry_count: u32,
    /// How long to wait before it is sent again.
    pub retry_interval: Duration,
}

/// Why a report is not recorded. The client keeps its counters, so nothing is lost by refusing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// More reports wait than the recorder keeps.
    #[error("too many announces wait to be recorded")]
    Overloaded,
    /// Redis did not take it, however often it was asked.
    #[error("the announce could not be recorded")]
    Unavailable,
}

/// Called once, on the recorder's task, when a report's fate is known. Must not block.
pub type Recorded = Box<dyn FnOnce(Result<(), RecordError>) + Send>;

struct Job {
    report: Report,
    recorded: Recorded,
}

/// The way to the recorder. Dropping the last one lets the recorder finish what it has and end.
#[derive(Debug, Clone)]
pub struct Recorder {
    setup: Arc<Setup>,
    jobs: mpsc::Sender<Job>,
    is_up: Arc<AtomicBool>,
}

impl Recorder {
    /// Books a report; resolves when it is in the stream.
    ///
    /// # Errors
    /// [`RecordError`] when the client must come back later.
    pub async fn record(&self, report: Report) -> Result<(), RecordError> {
        let (answer, outcome) = oneshot::channel();
        self.submit(
            report,
            Box::new(move |recorded| {
                // A client that hung up meanwhile needs no answer.
                answer.send(recorded).ok();
            }),
        );
        outcome.await.unwrap_or(Err(RecordError::Unavailable))
    }

    /// Books a report and calls `recorded` when its fate is known; at once when too many wait already.
    pub fn submit(&self, report: Report, recorded: Recorded) {
        if let Err(refused) = self.jobs.try_send(Job { report, recorded }) {
            (refused.into_inner().recorded)(Err(RecordError::Overloaded));
        }
    }

    /// Whether Redis took the last batch, or answered the last probe.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// How it was set up.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }
}

/// Starts the recorder. The handle resolves when every [`Recorder`] is dropped and what was queued is booked.
///
/// # Errors
/// When the Redis URL cannot be read. Redis need not be there yet.
pub fn spawn(setup: Setup, metrics: RecorderMetrics) -> RedisResult<(Recorder, JoinHandle<()>)> {
    let (jobs, queue) = mpsc::channel(MAX_WAITING);
    let link = Link::new(&setup.redis, setup.timeouts)?;
    let script = RecordScript::new(RecordScript::random_tracker_id(), setup.rules.clone());
    let is_up = Arc::new(AtomicBool::new(false));
    let setup = Arc::new(setup);
    let writer = Writer { link, script, setup: setup.clone(), metrics, sequence: 0, is_up: is_up.clone() };
    Ok((Recorder { setup, jobs, is_up }, tokio::spawn(writer.run(queue))))
}

struct Writer {
    link: Link,
    script: RecordScript,
    setup: Arc<Setup>,
    metrics: RecorderMetrics,
    sequence: u64,
    /// While Redis is known to be away a batch is tried once, so that clients hear of it soon.
    is_up: Arc<AtomicBool>,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(MAX_BATCH);
        self.probe().await;
        while self.gather(&mut queue, &mut jobs).await > 0 {
            self.metrics.waiting.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
            let (batch, waiting): (Vec<Entry>, Vec<_>) = jobs.drain(..).map(|job| self.number(job)).unzip();
            let outcomes = self.commit(&batch).await;
            self.is_up.store(outcomes.is_some(), Ordering::Relaxed);
            self.answer(outcomes, waiting);
        }
    }

    /// Waits for reports; 0 when there will be no more. While Redis is away it also looks whether it is back: on a tracker
    /// that is taken out of service because it is not ready, no announce would find out.
    async fn gather(&mut self, queue: &mut mpsc::Receiver<Job>, jobs: &mut Vec<Job>) -> usize {
        loop {
            if self.is_up.load(Ordering::Relaxed) {
                return queue.recv_many(jobs, MAX_BATCH).await;
            }
            match tokio::time::timeout(PROBE_INTERVAL, queue.recv_many(jobs, MAX_BATCH)).await {
                Ok(count) => return count,
                Err(_elapsed) => self.probe().await,
            }
        }
    }

    async fn probe(&mut self) {
        let Ok(mut connection) = self.link.connection().await else { return };
        match redis::cmd("PING").query_async::<()>(&mut connection).await {
            Ok(()) => self.is_up.store(true, Ordering::Relaxed),
            Err(error) => self.link.lost(&error),
        }
    }

    fn number(&mut self, job: Job) -> (Entry, Recorded) {
        self.sequence += 1;
        (Entry { report: job.report, sequence: self.sequence }, job.recorded)
    }

    /// Sends the batch until it is booked; `None` when it was not within the configured retries.
    async fn commit(&mut self, batch: &[Entry]) -> Option<Vec<Outcome>> {
        let started = Instant::now();
        let attempts = if self.is_up.load(Ordering::Relaxed) { 1 + self.setup.retry_count } else { 1 };
        for attempt in 1..=attempts {
            match self.attempt(batch).await {
                Ok(outcomes) => {
                    self.metrics.committed(started.elapsed());
                    return Some(outcomes);
                }
                Err(error) => {
                    self.metrics.errors.inc();
                    self.link.lost(&error);
                }
            }
            if attempt < attempts {
                tokio::time::sleep(self.setup.retry_interval).await;
            }
        }
        None
    }

    async fn attempt(&mut self, batch: &[Entry]) -> RedisResult<Vec<Outcome>> {
        let mut connection = self.link.connection().await?;
        self.script.run(&mut connection, batch).await
    }

    fn answer(&self, outcomes: Option<Vec<Outcome>>, waiting: Vec<Recorded>) {
        let Some(outcomes) = outcomes else {
            self.metrics.refused.inc_by(waiting.len() as u64);
            for recorded in waiting {
                recorded(Err(RecordError::Unavailable));
            }
            return;
        };
        for (outcome, recorded) in outcomes.into_iter().zip(waiting) {
            self.metrics.count(&outcome);
            let verdict = match outcome {
                Outcome::Failed(reason) => {
                    error!(%reason, "Redis refused one announce; its client is told to come back");
                    Err(RecordError::Unavailable)
                }
                Outcome::Booked | Outcome::Idle | Outcome::Repeated | Outcome::Late => Ok(()),
            };
            recorded(verdict);
        }
    }
}
