//! The way to the recorder: reports queue here, and a client is answered once its report is in the stream or
//! in the spool.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use contract::config::ServiceUrl;
use redis::RedisError;
use service::redis::durable::Durability;
use service::redis::{Link, Timeouts};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::booking::Booking;
use super::driver::{self, Heir, Work};
use super::machine::{Heritage, Limits, RecordError, RecorderMachine, RecorderState, Submission};
use super::metrics::RecorderMetrics;
use super::notices::{Notices, SharedState};
use super::options::SpoolOptions;
use super::script::{RecordScript, Rules};
use super::sender::RedisSender;
use super::site_clock::SharedClock;
use super::spool::{OpenError, Spool, TailLimits};
use crate::announce::Report;

/// Reports in one call. Redis is busy for some 3 ms with so many; more would make its other users wait.
const MAX_BATCH: usize = 256;
/// Spooled announces in one call: more than a live batch, so that the spool empties under full load.
const REPLAY_BATCH: usize = 512;
/// Reports that may wait at one time. Beyond it clients are told to come back, and lose nothing: counters are
/// absolute.
const MAX_WAITING: usize = 65_536;

/// How the recorder is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The Redis that holds the stream.
    pub redis: ServiceUrl,
    /// How long to wait for Redis.
    pub timeouts: Timeouts,
    /// How deltas are computed.
    pub rules: Rules,
    /// How often a batch is sent again after an error before it is spooled, or its clients are told to come
    /// back.
    pub retry_count: u32,
    /// How long to wait before it is sent again.
    pub retry_interval: Duration,
    /// What is kept of what Redis confirmed.
    pub tail: TailLimits,
    /// Do not start on a Redis that may lose what it confirmed without being asked to.
    pub require_durable_redis: bool,
    /// How many replicas must have a batch before its clients are answered.
    pub wait_replicas: u32,
    /// Where announces are kept while Redis is away; `None`: nowhere, they are refused.
    pub spool: Option<SpoolOptions>,
}

/// Why a recorder cannot be started.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The URL cannot be read.
    #[error("redis_broker: {0}")]
    Redis(#[from] RedisError),
    /// The spool's folder.
    #[error("spool.directory {0}: {1}")]
    Spool(String, #[source] OpenError),
    /// A reload must not leave answered announces behind.
    #[error(
        "spool.directory: {0} still holds {1} announces that are not in Redis; it can be changed once they are"
    )]
    SpoolNotEmpty(String, u64),
}

/// Called once, on the recorder's task, when a report's fate is known. Must not block.
pub type Recorded = Box<dyn FnOnce(Result<(), RecordError>) + Send>;

/// The way to the recorder. Dropping the last one lets the recorder finish what it has and end.
#[derive(Debug, Clone)]
pub struct Recorder {
    setup: Arc<Setup>,
    queue: mpsc::Sender<Submission<Recorded>>,
    state: Arc<SharedState>,
    spool: Option<Arc<Spool>>,
    /// Which tracker this is: paths through two trackers are two.
    identity: u64,
    clock: SharedClock,
    heir: Heir,
    durability: Durability,
}

impl Recorder {
    /// Books a report; resolves when it is in the stream or in the spool.
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
        let arrived = report.admitted.announce.arrived;
        let booking = Booking::new(report, 0, self.identity);
        if let Err(refused) = self.queue.try_send(Submission { booking, arrived, token: recorded }) {
            (refused.into_inner().token)(Err(RecordError::Overloaded));
        }
    }

    /// Whether Redis took what it was sent last.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state.get(), RecorderState::Direct | RecorderState::Replaying)
    }

    /// What stands between an announce and its record now; `None` when it would be recorded, be it in the
    /// spool.
    #[must_use]
    pub fn waits_for(&self) -> Option<&'static str> {
        match self.state.get() {
            RecorderState::Direct | RecorderState::Spooling | RecorderState::Replaying => None,
            RecorderState::Starting => Some("traffic push: Redis does not answer yet"),
            RecorderState::Refusing if self.spool.is_some() => {
                Some("traffic push: Redis does not take announces, and the spool takes none either")
            }
            RecorderState::Refusing => Some("traffic push: Redis does not take announces"),
        }
    }

    /// Whether Redis keeps what it confirms.
    #[must_use]
    pub fn durability(&self) -> &Durability {
        &self.durability
    }

    /// Whether what Redis confirmed to it is of use to a recorder of this setup.
    fn books_as(&self, setup: &Setup) -> bool {
        let keys = |rules: &Rules| (rules.stream_key.clone(), rules.snapshot_prefix.clone());
        self.setup.redis == setup.redis && keys(&self.setup.rules) == keys(&setup.rules)
    }

    /// Another recorder takes its place, and is left what Redis has confirmed lately.
    fn is_followed(&self) -> oneshot::Receiver<Heritage> {
        let (heir, heritage) = oneshot::channel();
        *self.heir.lock() = Some(heir);
        heritage
    }

    /// How it was set up.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }
}

/// Starts the recorder. The handle resolves when every [`Recorder`] is dropped and what was queued is booked
/// or spooled.
///
/// `predecessor`: the recorder that this one replaces. A spool in the same folder is handed on, and this one
/// begins when the other has finished, so that a session's announces keep their order.
///
/// # Errors
/// [`SpawnError`]: what the operator must change. Redis need not be there yet.
pub fn spawn(
    setup: Setup,
    metrics: RecorderMetrics,
    predecessor: Option<&Recorder>,
) -> Result<(Recorder, JoinHandle<()>), SpawnError> {
    let (sender, queue) = mpsc::channel(MAX_WAITING);
    let link = Link::new(&setup.redis, setup.timeouts)?;
    let spool = spool_of(&setup, &metrics, predecessor)?;
    let script = RecordScript::new(RecordScript::random_tracker_id(), setup.rules.clone());
    if let Some(spool) = &spool {
        spool.set_tail_limits(setup.tail);
    }
    // Without a folder to keep it in the tracker is another one after each start, which costs each session a
    // path.
    let of_this_run = || predecessor.map_or_else(rand::random, |recorder| recorder.identity);
    let identity = spool.as_ref().map_or_else(of_this_run, |spool| spool.identity());
    let durability = Durability::watch(&setup.redis, setup.timeouts, metrics.doubts.clone())?;
    let state = Arc::new(SharedState::default());
    let directory = spool.as_ref().map(|spool| spool.directory().to_owned());
    let clock = predecessor.map_or_else(|| first_clock(spool.as_deref()), |last| last.clock.clone());
    let heir = Heir::default();
    let work = Work {
        machine: RecorderMachine::new(
            script.tracker_id().to_owned(),
            setup.limits(),
            setup.rules.clone(),
            (clock.clone(), Instant::now()),
        ),
        queue,
        spool: spool.clone(),
        notices: Notices::new(metrics, state.clone(), directory),
        taken: Vec::with_capacity(MAX_BATCH),
        disk: None,
        heritage: predecessor.filter(|last| last.books_as(&setup)).map(Recorder::is_followed),
        heir: heir.clone(),
    };
    let task =
        tokio::spawn(driver::run(RedisSender::new(link, script, setup.wait_replicas, setup.timeouts), work));
    let setup = Arc::new(setup);
    Ok((Recorder { setup, queue: sender, state, spool, identity, clock, heir, durability }, task))
}

impl Setup {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            batch: MAX_BATCH,
            replay_batch: REPLAY_BATCH,
            retry_count: self.retry_count,
            retry_interval: self.retry_interval,
            has_spool: self.spool.is_some(),
            tail: self.tail,
        }
    }
}

fn spool_of(
    setup: &Setup,
    metrics: &RecorderMetrics,
    predecessor: Option<&Recorder>,
) -> Result<Option<Arc<Spool>>, SpawnError> {
    let last = predecessor.and_then(|recorder| recorder.spool.as_ref());
    let wanted = setup.spool.as_ref();
    if let Some((last, wanted)) =
        last.zip(wanted).filter(|(last, wanted)| last.directory() == wanted.directory)
    {
        last.set_limit(wanted.max_bytes);
        return Ok(Some(last.clone()));
    }
    if let Some(last) = last.filter(|last| !last.is_empty()) {
        return Err(SpawnError::SpoolNotEmpty(last.directory().display().to_string(), last.records()));
    }
    let open = |wanted: &SpoolOptions| {
        Spool::open(&wanted.directory, wanted.max_bytes, metrics.spool.clone())
            .map_err(|error| SpawnError::Spool(wanted.directory.display().to_string(), error))
    };
    wanted.map(open).transpose()
}

/// Before Redis has told the time. What was stamped in an earlier run came before.
pub(super) fn first_clock(spool: Option<&Spool>) -> SharedClock {
    let left_ms = spool.and_then(Spool::newest_ms).unwrap_or_default();
    SharedClock::guessed(unix_milliseconds(), left_ms, Instant::now())
}

pub(super) fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
