//! Chores, done now and then beside the pump: silent peers leave the sets, old entries are trimmed, dead
//! letters get another try, sets and ledger are compared, and the distance to the stream's end is measured. A
//! chore that fails is done again at its next time.

mod drift;

use std::time::Duration;

use contract::Keys;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use service::redis::Link;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{info, warn};

use self::drift::Sample;
use crate::clock;
use crate::config::Config;
use crate::metrics::Metrics;
use books::dead_letters::{self, DeadLetters, Retried, Retrier, RetryError};
use books::groups::backlog;
use books::ledger::LedgerHandle;
use books::presence::{self, Leases};
use books::retention::{self, Keep, Target, Unsettled};

/// How often the backlog is measured: more often than anybody scrapes.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// Dead letters tried again in one turn.
const LETTERS_A_TURN: usize = 100;

/// The chores' own connection and what they need to know.
pub(crate) struct Chores {
    link: Link,
    keys: Keys,
    stream: String,
    group: String,
    leases: Leases,
    ledger: LedgerHandle,
    metrics: Metrics,
    retry_max: u32,
    retry_every: Duration,
    sweep_every: Duration,
    trim_every: Duration,
    keep: Keep,
    sample: Sample,
    compare_every: Duration,
}

impl Chores {
    /// Chores as configured.
    pub(crate) fn new(config: &Config, link: Link, ledger: LedgerHandle, metrics: Metrics) -> Self {
        Self {
            link,
            keys: config.keys(),
            stream: config.stream(),
            group: config.group.clone(),
            leases: config.leases(),
            ledger,
            metrics,
            retry_max: config.retry_max,
            retry_every: config.retry_interval.0,
            sweep_every: config.presence.sweep_interval.0,
            trim_every: config.retention.interval.0,
            keep: Keep::Days(config.retention.days),
            sample: Sample {
                stream: config.stream(),
                group: config.group.clone(),
                keys: config.keys(),
                leases: config.leases(),
                database: config.database.clone(),
                users: config.drift.users,
            },
            compare_every: config.drift.interval.0,
        }
    }

    /// Runs until the future is dropped, which is harmless at any moment.
    pub(crate) async fn run(mut self) {
        let mut measure = every(MEASURE_EVERY);
        let mut sweep = every(self.sweep_every);
        let mut trim = every(self.trim_every);
        let mut retry = every(self.retry_every);
        let mut compare = every(self.compare_every);
        loop {
            let chore = tokio::select! {
                _ = measure.tick() => Chore::Measure,
                _ = sweep.tick() => Chore::Sweep,
                _ = trim.tick() => Chore::Trim,
                _ = retry.tick() => Chore::Retry,
                _ = compare.tick() => Chore::Compare,
            };
            if let Err(error) = self.turn(chore).await {
                self.metrics.redis_errors.inc();
                self.link.lost(&error);
            }
        }
    }

    async fn turn(&mut self, chore: Chore) -> RedisResult<()> {
        let mut connection = self.link.connection().await?;
        match chore {
            Chore::Measure => self.measure(&mut connection).await,
            Chore::Sweep => self.sweep(&mut connection).await,
            Chore::Trim => self.trim(&mut connection).await,
            Chore::Retry => self.retry(&mut connection).await,
            Chore::Compare => self.compare(&mut connection).await,
        }
    }

    async fn measure(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let backlog = backlog(connection, &self.stream, &self.group).await?;
        self.metrics.lag.set(figure(backlog.undelivered));
        self.metrics.pending.set(figure(backlog.pending));
        self.metrics.lag_seconds.set(backlog.lag_seconds(clock::now_ms()));
        let waiting = dead_letters::count(connection, &self.keys, DeadLetters::Waiting).await?;
        self.metrics.dead_waiting.set(figure(waiting));
        let failed = dead_letters::count(connection, &self.keys, DeadLetters::Failed).await?;
        self.metrics.dead_failed.set(figure(failed));
        Ok(())
    }

    async fn sweep(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        // The clock first: an entry that arrives after it was read cannot be older than it.
        let now = clock::now();
        let horizon = backlog(connection, &self.stream, &self.group).await?.horizon(now);
        let swept = presence::sweep(connection, &self.keys, self.leases, horizon).await?;
        self.metrics.expired_peers.inc_by(swept.expired);
        Ok(())
    }

    async fn trim(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let target = Target { stream: &self.stream, group: &self.group };
        let now_ms = clock::now_ms();
        let trimmed =
            retention::trim(connection, target, self.keep, Unsettled::Keep, now_ms, &mut |_| {}).await?;
        self.metrics.trimmed.inc_by(trimmed);
        Ok(())
    }

    async fn compare(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let census = presence::census(connection, &self.keys).await?;
        self.metrics.seeding.set(figure(census.seeding));
        self.metrics.leeching.set(figure(census.leeching));
        if self.sample.users > 0 {
            let drifts = drift::measure(connection, &self.sample, clock::now()).await?;
            self.metrics.drift_users.inc_by(drifts.users);
            self.metrics.drift_sets.set(figure(drifts.sets));
            // While the ledger cannot be read, the last figure stands; `ledger_up` says so.
            drifts.ledger.iter().for_each(|drift| self.metrics.drift_ledger.set(figure(*drift)));
        }
        Ok(())
    }

    async fn retry(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let retrier = Retrier {
            keys: &self.keys,
            ledger: &self.ledger,
            leases: self.leases,
            retry_max: self.retry_max,
        };
        let letters =
            dead_letters::list(connection, &self.keys, DeadLetters::Waiting, None, LETTERS_A_TURN).await?;
        for letter in letters {
            match dead_letters::retry(connection, &retrier, DeadLetters::Waiting, &letter, clock::now()).await
            {
                Ok(Retried::Settled) => info!(entry = ?letter.entry_id, "a dead letter was settled"),
                Ok(Retried::StillDead) => {}
                Ok(Retried::GivenUp) => {
                    warn!(entry = ?letter.entry_id, error = %letter.error, "gave up a dead letter");
                }
                Err(RetryError::Redis(error)) => return Err(error),
                // The line waits for the ledger already and says so; the letters wait with it.
                Err(RetryError::Ledger(_)) => return Ok(()),
            }
        }
        Ok(())
    }
}

enum Chore {
    Measure,
    Sweep,
    Trim,
    Retry,
    Compare,
}

fn figure(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    // After a long outage one turn is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
