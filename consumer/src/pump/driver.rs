//! Carries out what a [`Pump`] decides: with Redis, the ledger's thread and the clock. Each half does one
//! thing at a time, and tells the other when something may have changed for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use books::dead_letters::{self, BrokenEntry};
use books::entry::{Entry, EntryId};
use books::ledger::{Delivery, LedgerError, LedgerHandle, Numbered, Numbers, Outcome, Receipt, Witness};
use books::presence::{self, Leases};
use books::site_clock::SiteClock;
use contract::Keys;
use redis::{Cmd, RedisError, RedisResult, Script, cmd, pipe};
use service::redis::Link;
use tokio::sync::{Notify, watch};
use tokio::time::sleep_until;
use tracing::{debug, error, warn};

use super::{Attempt, Entries, Next, Pump, Reading, Settled, Settling};
use crate::batch::Batch;
use crate::clock;
use crate::health::{Health, Need};
use crate::metrics::Metrics;
use crate::reader::{RedisReader, Source};
use crate::stop::Stop;

/// What both halves know.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Whose entries they are.
    pub source: Source,
    /// The site's keys.
    pub keys: Keys,
    /// Figures.
    pub metrics: Metrics,
    /// What is waited for.
    pub health: Health,
}

/// What reads and shows.
pub struct ReadingHalf {
    shared: Shared,
    reader: RedisReader,
    /// Redis for the sets.
    link: Link,
    leases: Leases,
    clock: SiteClock,
    /// Since when a batch is being shown, attempts that failed included.
    showing_since: Option<Instant>,
}

/// What settles and acknowledges.
pub struct SettlingHalf {
    /// What both halves know.
    pub shared: Shared,
    /// Redis for acknowledging.
    pub link: Link,
    /// Where batches are settled.
    pub ledger: LedgerHandle,
    /// Which entries the ledger has seen.
    pub numbers: watch::Sender<Numbers>,
    /// How far the ledger is, once it has taken a transaction.
    pub reached: Option<Witness>,
}

/// Runs until stopped; what is in flight is finished if that is possible without waiting.
pub async fn run(mut reading: ReadingHalf, mut settling: SettlingHalf, mut stop: Stop) {
    let pump = SharedPump::new(Pump::new(reading.shared.source.batch_size, rand::random()));
    let both = async { tokio::join!(reading.run(&pump), settling.run(&pump)) };
    let stops = async {
        stop.wished().await;
        pump.stop();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = stops => {}
        _ = both => {}
    }
    settling.sign_off().await;
}

/// The pump, and what wakes its halves.
struct SharedPump {
    machine: Mutex<Pump>,
    reading: Notify,
    settling: Notify,
}

impl SharedPump {
    fn new(pump: Pump) -> Self {
        Self { machine: Mutex::new(pump), reading: Notify::new(), settling: Notify::new() }
    }

    /// Nobody waits for the lock: both halves are one task. Nor is a pump half changed when a half panics.
    fn lock(&self) -> MutexGuard<'_, Pump> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stop();
        self.reading.notify_one();
        self.settling.notify_one();
    }
}

async fn wait(woken: &Notify, until: Option<Instant>) {
    match until {
        None => woken.notified().await,
        Some(until) => tokio::select! {
            () = woken.notified() => {}
            () = sleep_until(until.into()) => {}
        },
    }
}

impl ReadingHalf {
    /// Reads with `reader`; shows over `link`, with the leases that peers have.
    #[must_use]
    pub fn new(shared: Shared, reader: RedisReader, link: Link, leases: Leases) -> Self {
        Self { shared, reader, link, leases, clock: SiteClock::default(), showing_since: None }
    }

    async fn run(&mut self, pump: &SharedPump) {
        loop {
            let entries = if self.reader.looks_back() { Entries::GivenBefore } else { Entries::New };
            let next = pump.lock().poll_reading(entries, Instant::now());
            match next {
                Next::Do(action) => {
                    self.carry_out(action, pump).await;
                    pump.settling.notify_one();
                }
                Next::Wait(until) => wait(&pump.reading, until).await,
                Next::End => return pump.settling.notify_one(),
            }
        }
    }

    async fn carry_out(&mut self, action: Reading, pump: &SharedPump) {
        match action {
            Reading::Read => {
                let batch = self.read().await;
                pump.lock().read(batch, Instant::now());
            }
            Reading::Show(batch) => {
                let attempt = self.show(&batch.entries).await;
                pump.lock().shown(batch, attempt, Instant::now());
            }
        }
    }

    async fn read(&mut self) -> Option<Batch> {
        let batch = match self.reader.read().await {
            Ok(batch) => batch,
            Err(error) => {
                self.shared.redis_failed(&error);
                return None;
            }
        };
        self.shared.health.met(Need::Redis);
        self.shared.missed(&batch.gone);
        Some(batch)
    }

    async fn apply(&mut self, entries: &[Entry]) -> RedisResult<()> {
        let mut redis = self.link.connection().await?;
        let keys = &self.shared.keys;
        let now = self.clock.now(&mut redis, keys).await?;
        presence::apply(&mut redis, keys, self.leases, entries, now).await
    }

    async fn show(&mut self, entries: &[Entry]) -> Attempt {
        let since = *self.showing_since.get_or_insert_with(Instant::now);
        let attempt = self.apply(entries).await;
        if self.shared.done(&mut self.link, attempt).is_none() {
            return Attempt::Failed;
        }
        self.shared.metrics.presence_seconds.observe(since.elapsed().as_secs_f64());
        self.showing_since = None;
        Attempt::Done
    }
}

impl SettlingHalf {
    async fn run(&mut self, pump: &SharedPump) {
        loop {
            let next = pump.lock().poll_settling(Instant::now());
            match next {
                Next::Do(action) => {
                    // What gathered is taken, for which the other half may have waited.
                    pump.reading.notify_one();
                    self.carry_out(action, pump).await;
                    pump.reading.notify_one();
                }
                Next::Wait(until) => wait(&pump.settling, until).await,
                Next::End => return,
            }
        }
    }

    async fn carry_out(&mut self, action: Settling, pump: &SharedPump) {
        match action {
            Settling::Settle(entries) => {
                let settled = self.settle(entries).await;
                pump.lock().settled(settled, Instant::now());
            }
            Settling::Bury(broken) => {
                let attempt = self.bury(&broken).await;
                pump.lock().buried(attempt, Instant::now());
            }
            Settling::Acknowledge(ids) => {
                let attempt = self.acknowledge(&ids).await;
                pump.lock().acknowledged(attempt, Instant::now());
            }
        }
    }

    async fn settle(&mut self, entries: Arc<[Entry]>) -> Settled {
        let Some(witness) = self.witness().await else { return Settled::Unavailable };
        let timer = self.shared.metrics.commit_seconds.start_timer();
        let delivery = Delivery { entries: entries.clone(), witness, also_seen: Vec::new() };
        match self.ledger.deliver(delivery).await {
            Ok(receipt) => {
                timer.observe_duration();
                self.ledger_answers();
                self.count(&entries, receipt.outcome);
                self.keep(receipt);
                Settled::Committed
            }
            Err(LedgerError::Rejected(reason)) => {
                timer.stop_and_discard();
                self.ledger_answers();
                Settled::Refused(reason)
            }
            Err(error) => {
                timer.stop_and_discard();
                self.ledger_fails(&error);
                Settled::Unavailable
            }
        }
    }

    /// Which ledger Redis knows; `None` when Redis fails.
    async fn witness(&mut self) -> Option<Option<Witness>> {
        let attempt = match self.link.connection().await {
            Ok(mut redis) => Witness::read(&mut redis, &self.shared.keys).await,
            Err(error) => Err(error),
        };
        self.shared.done(&mut self.link, attempt)
    }

    fn keep(&mut self, receipt: Receipt) {
        if let Some(reused) = receipt.reused {
            self.shared.metrics.rollbacks.inc();
            error!(
                numbers_again = reused, stream = %self.shared.source.stream,
                "Redis went back to an earlier state: so many entries that the ledger has seen, or knows of, were gone from \
                 the stream; what was settled stays settled, and trackers send again what they still remember"
            );
        }
        self.reached = Some(Witness::from(&receipt.mark));
        self.numbers.send_replace(receipt.numbers);
    }

    fn ledger_fails(&self, error: &LedgerError) {
        self.shared.metrics.ledger_errors.inc();
        self.shared.metrics.ledger_up.set(0);
        self.shared.health.unmet(Need::Ledger, &error.to_string());
    }

    fn ledger_answers(&self) {
        self.shared.metrics.ledger_up.set(1);
        self.shared.health.met(Need::Ledger);
    }

    fn count(&self, entries: &[Entry], outcome: Outcome) {
        if entries.is_empty() {
            return;
        }
        let metrics = &self.shared.metrics;
        metrics.batch_size.observe(f64::from(u32::try_from(entries.len()).unwrap_or(u32::MAX)));
        metrics.settled.inc_by(outcome.settled);
        metrics.duplicates.inc_by(outcome.duplicates);
        metrics.flagged.inc_by(outcome.flagged);
        let now_ms = clock::now_ms();
        for entry in entries {
            // The id's milliseconds rather than the event's whole seconds: what is measured is mostly below
            // one.
            let waited = Duration::from_millis(now_ms.saturating_sub(entry.id.ms));
            metrics.end_to_end.observe(waited.as_secs_f64());
        }
    }

    /// Moves an entry to the dead letters; the ledger has seen its number then.
    async fn bury(&mut self, broken: &BrokenEntry) -> Attempt {
        if let Some(n) = number_of(broken) {
            let Some(witness) = self.witness().await else { return Attempt::Failed };
            let also_seen = vec![Numbered { n, id: broken.id }];
            match self.ledger.deliver(Delivery { also_seen, witness, ..Delivery::default() }).await {
                Ok(receipt) => self.keep(receipt),
                Err(error) => {
                    self.ledger_fails(&error);
                    return Attempt::Failed;
                }
            }
        }
        let Shared { source, keys, .. } = &self.shared;
        let place = (source.stream.as_str(), source.group.as_str());
        let attempt = match self.link.connection().await {
            Ok(mut redis) => dead_letters::bury(&mut redis, keys, place, broken, clock::now()).await,
            Err(error) => Err(error),
        };
        match self.shared.done(&mut self.link, attempt) {
            Some(buried) => {
                warn!(entry = %broken.id, error = %broken.error, "moved an entry to the dead letters");
                self.shared.metrics.dead.inc_by(u64::from(buried));
                Attempt::Done
            }
            None => Attempt::Failed,
        }
    }

    async fn acknowledge(&mut self, ids: &[EntryId]) -> Attempt {
        let mut both = pipe();
        both.atomic();
        // First how far the ledger is: of what is acknowledged, no copy without it may pass for the ledger.
        if let Some(reached) = &self.reached {
            both.add_command(reached.raise(&self.shared.keys)).ignore();
        }
        both.add_command(acknowledgement((&self.shared.source.stream, &self.shared.source.group), ids))
            .ignore();
        let attempt = match self.link.connection().await {
            Ok(mut redis) => both.query_async::<()>(&mut redis).await,
            Err(error) => Err(error),
        };
        match self.shared.done(&mut self.link, attempt) {
            Some(()) => Attempt::Done,
            None => Attempt::Failed,
        }
    }

    /// Leaves the group, so that names of stopped processes do not pile up in it, unless something is still
    /// pending.
    async fn sign_off(&mut self) {
        let script = Script::new(
            "if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
             return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])",
        );
        let Ok(mut connection) = self.link.connection().await else { return };
        let source = &self.shared.source;
        let mut call = script.key(&source.stream);
        call.arg(&source.group).arg(&source.consumer);
        if let Err(error) = call.invoke_async::<()>(&mut connection).await {
            debug!(%error, "this consumer's name stays in the group");
        }
    }
}

impl Shared {
    /// Entries that were given to a consumer, and deleted before one had finished them.
    fn missed(&self, gone: &[EntryId]) {
        let (Some(first), Some(last)) = (gone.first(), gone.last()) else { return };
        self.metrics.gone.inc_by(gone.len() as u64);
        error!(
            entries = gone.len(), %first, %last, stream = %self.source.stream,
            "entries were deleted from the stream before they were finished: unless they were settled already, what they \
             carried is lost; see that nothing but the consumer and `trackerctl stream trim` trims it, and that Redis may \
             not evict (maxmemory-policy noeviction)"
        );
    }

    /// The attempt's result; `None` after a failure, which is counted.
    fn done<T>(&self, link: &mut Link, attempt: RedisResult<T>) -> Option<T> {
        match attempt {
            Ok(result) => {
                self.health.met(Need::Redis);
                Some(result)
            }
            Err(error) => {
                link.lost(&error);
                self.redis_failed(&error);
                None
            }
        }
    }

    fn redis_failed(&self, error: &RedisError) {
        self.metrics.redis_errors.inc();
        self.health.unmet(Need::Redis, &format!("Redis: {error}"));
    }
}

/// The number of an entry that could not be settled, if it can be read.
fn number_of(broken: &BrokenEntry) -> Option<u64> {
    let (_, n) = broken.fields.iter().find(|(name, _)| name == b"n")?;
    std::str::from_utf8(n).ok()?.parse().ok()
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
