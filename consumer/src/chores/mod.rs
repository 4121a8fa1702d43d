//! Chores, done now and then beside the pump: silent peers leave the sets, old entries are trimmed, dead
//! letters get another try, sets and ledger are compared, the ledger is told of torrents' second names, and
//! the distance to the stream's end is measured. A chore that fails is done again at its next time.

mod drift;
mod hybrids;
mod missing;

use std::time::Duration;

use contract::Keys;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisResult};
use service::redis::Link;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{debug, error, info, warn};

use crate::clock;
use crate::metrics::Metrics;

use books::dead_letters::{self, DeadLetters, Retried, Retrier, RetryError};
use books::groups::{backlog, groups};
use books::ledger::{Findings, LedgerHandle, Location, Numbers, Witness};
use books::presence::{self, Judgement, Leases};
use books::retention::{self, Keep, Target, Unsettled};
use books::site_clock::SiteClock;
pub(crate) use hybrids::Told;
pub(crate) use missing::Missing;
use missing::Position;

/// How often the backlog is measured: more often than anybody scrapes.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// How often missing numbers are looked into.
const ACCOUNT_EVERY: Duration = Duration::from_secs(1);
/// How often the ledger is told of new second names of torrents: until then the same bytes may count under
/// both.
const NAME_EVERY: Duration = Duration::from_secs(2);
/// Dead letters tried again in one turn.
const LETTERS_A_TURN: usize = 100;

/// What the chores work on, how often, and how much at a time.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The stream's key.
    pub stream: String,
    /// The group whose consumers keep sets and ledger.
    pub group: String,
    /// The site's keys.
    pub keys: Keys,
    /// How long peers stay.
    pub leases: Leases,
    /// The ledger that sets are compared with.
    pub database: Location,
    /// Retries of a dead letter before it is given up.
    pub retry_max: u32,
    /// How often dead letters are tried again.
    pub retry_every: Duration,
    /// How often silent peers are looked for.
    pub sweep_every: Duration,
    /// What the stream keeps of settled entries.
    pub keep: Keep,
    /// How often the rest is trimmed.
    pub trim_every: Duration,
    /// Users whose sets are compared at a time, at most; 0: none.
    pub compared_users: usize,
    /// How often.
    pub compare_every: Duration,
}

/// The chores, with a connection of their own.
pub(crate) struct Chores {
    pub(crate) setup: Setup,
    pub(crate) link: Link,
    pub(crate) ledger: LedgerHandle,
    pub(crate) metrics: Metrics,
    pub(crate) clock: SiteClock,
    /// Which entries the ledger has seen.
    pub(crate) seen: watch::Receiver<Numbers>,
    pub(crate) missing: Missing,
    pub(crate) told: Told,
}

impl Chores {
    /// Runs until the future is dropped, which is harmless at any moment.
    pub(crate) async fn run(mut self) {
        let mut measure = every(MEASURE_EVERY);
        let mut name = every(NAME_EVERY);
        let mut account = every(ACCOUNT_EVERY);
        let mut sweep = every(self.setup.sweep_every);
        let mut trim = every(self.setup.trim_every);
        let mut retry = every(self.setup.retry_every);
        let mut compare = every(self.setup.compare_every);
        loop {
            let chore = tokio::select! {
                _ = measure.tick() => Chore::Measure,
                _ = name.tick() => Chore::Name,
                _ = account.tick() => Chore::Account,
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
            Chore::Name => hybrids::tell(&mut connection, &self.setup, &mut self.told).await,
            Chore::Account => self.account(&mut connection).await,
            Chore::Sweep => self.sweep(&mut connection).await,
            Chore::Trim => self.trim(&mut connection).await,
            Chore::Retry => self.retry(&mut connection).await,
            Chore::Compare => self.compare(&mut connection).await,
        }
    }

    async fn measure(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let backlog = backlog(connection, &self.setup.stream, &self.setup.group).await?;
        self.metrics.lag.set(figure(backlog.undelivered));
        self.metrics.pending.set(figure(backlog.pending));
        self.metrics.lag_seconds.set(backlog.lag_seconds(clock::now_ms()));
        let waiting = dead_letters::count(connection, &self.setup.keys, DeadLetters::Waiting).await?;
        self.metrics.dead_waiting.set(figure(waiting));
        let failed = dead_letters::count(connection, &self.setup.keys, DeadLetters::Failed).await?;
        self.metrics.dead_failed.set(figure(failed));
        Ok(())
    }

    /// Which of the numbers that did not come cannot come any more.
    async fn account(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let numbers = self.seen.borrow().clone();
        if numbers.newest.is_none() {
            return Ok(());
        }
        // Before the group: what was numbered by now and is not unfinished then is settled, or lost.
        let given: Option<u64> = connection.hget(self.setup.keys.head(), "n").await?;
        let groups = groups(connection, &self.setup.stream).await?;
        let Some(group) = groups.into_iter().find(|group| group.name == self.setup.group) else {
            return Ok(());
        };
        let unread = backlog(connection, &self.setup.stream, &self.setup.group).await?.oldest.is_some();
        let position = Position { delivered: group.last_delivered, pending: group.oldest_pending, unread };
        let lost = self.missing.look(&numbers, position, given);
        if lost.is_empty() {
            return Ok(());
        }
        self.write_down(connection, Findings { lost, ..Findings::default() }).await
    }

    async fn write_down(
        &mut self,
        connection: &mut MultiplexedConnection,
        findings: Findings,
    ) -> RedisResult<()> {
        let witness = Witness::read(connection, &self.setup.keys).await?;
        match self.ledger.account(Findings { witness, ..findings.clone() }).await {
            Ok((0, _)) => {}
            Ok((lost, _)) => {
                self.metrics.lost.inc_by(lost);
                error!(
                    lost, numbers = ?findings.lost, stream = %self.setup.stream,
                    "entries are gone that nobody was given, or that were deleted before they were settled: what they carried \
                     is not in the ledger; see that nothing else trims the stream, and that Redis may not evict"
                );
            }
            // The line waits for the ledger already and says so.
            Err(error) => debug!(%error, "what is missing could not be written down"),
        }
        Ok(())
    }

    async fn sweep(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        // The clock first: an entry that arrives after it was read cannot be older than it.
        let now = self.clock.now(connection, &self.setup.keys).await?;
        let horizon = backlog(connection, &self.setup.stream, &self.setup.group).await?.horizon(now);
        let swept =
            presence::sweep(connection, &self.setup.keys, self.setup.leases, Judgement { now, horizon })
                .await?;
        self.metrics.expired_peers.inc_by(swept.expired);
        Ok(())
    }

    async fn trim(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let target = Target { stream: &self.setup.stream, group: &self.setup.group };
        let now_ms = clock::now_ms();
        let trimmed =
            retention::trim(connection, target, self.setup.keep, Unsettled::Keep, now_ms, &mut |_| {})
                .await?;
        self.metrics.trimmed.inc_by(trimmed);
        self.note_what_is_settled(connection).await
    }

    /// A copy of the ledger that is made from now on lacks nothing from before this entry.
    async fn note_what_is_settled(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let groups = groups(connection, &self.setup.stream).await?;
        let Some(group) = groups.into_iter().find(|group| group.name == self.setup.group) else {
            return Ok(());
        };
        let Some(dead) = dead_letters::oldest_entry(connection, &self.setup.keys).await? else {
            return Ok(());
        };
        let settled_before = group.needs_from().min(dead);
        self.write_down(connection, Findings { settled_before, ..Findings::default() }).await
    }

    async fn compare(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let census = presence::census(connection, &self.setup.keys).await?;
        self.metrics.seeding.set(figure(census.seeding));
        self.metrics.leeching.set(figure(census.leeching));
        if self.setup.compared_users > 0 {
            let now = self.clock.now(connection, &self.setup.keys).await?;
            let drifts = drift::measure(connection, &self.setup, now).await?;
            self.metrics.drift_users.inc_by(drifts.users);
            self.metrics.drift_sets.set(figure(drifts.sets));
            // While the ledger cannot be read, the last figure stands; `ledger_up` says so.
            drifts.ledger.iter().for_each(|drift| self.metrics.drift_ledger.set(figure(*drift)));
        }
        Ok(())
    }

    async fn retry(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let now = self.clock.now(connection, &self.setup.keys).await?;
        let retrier = Retrier {
            keys: &self.setup.keys,
            ledger: &self.ledger,
            leases: self.setup.leases,
            retry_max: self.setup.retry_max,
        };
        let letters =
            dead_letters::list(connection, &self.setup.keys, DeadLetters::Waiting, None, LETTERS_A_TURN)
                .await?;
        for letter in letters {
            match dead_letters::retry(connection, &retrier, DeadLetters::Waiting, &letter, now).await {
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
    Name,
    Account,
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
