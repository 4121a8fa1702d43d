//! The line: read a batch, show who is there, settle what they moved, put aside what is broken, acknowledge.
//!
//! It has two halves that work side by side: the [`Intake`] reads and shows, the [`Finish`] settles and
//! acknowledges. Between reading and acknowledging are at most [`MOST_IN_HAND`] batches: under load they
//! gather while the ledger commits and are settled together, so that transactions grow with the load; without
//! load there is one.
//!
//! Every step waits and repeats until it succeeds, so nothing is lost; every step recognises what it has
//! seen, so repeating is harmless. Only a wish to stop breaks it off, and then what is in hand is still
//! pending for the next consumer.

use std::sync::Arc;

use contract::Keys;
use redis::{RedisError, RedisResult};
use service::redis::{Backoff, Link};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::batch::Batch;
use crate::finish::Finish;
use crate::health::{Health, Need};
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::reader::Source;
use crate::stop::{Stop, Stopped};

/// Batches that are read and not acknowledged.
pub const MOST_IN_HAND: usize = 8;

/// What both halves know.
#[derive(Debug, Clone)]
pub struct Line {
    /// Whose entries they are.
    pub source: Source,
    /// The site's keys.
    pub keys: Keys,
    /// Figures.
    pub metrics: Metrics,
    /// What is waited for.
    pub health: Health,
    /// When to stop.
    pub stop: Stop,
}

/// Both halves.
pub struct Pump {
    /// Reads and shows.
    pub intake: Intake,
    /// Settles and acknowledges.
    pub finish: Finish,
}

/// A batch on its way from one half to the other, and the place that it takes until it is acknowledged.
pub(crate) struct Hand {
    pub(crate) batch: Batch,
    pub(crate) place: OwnedSemaphorePermit,
}

impl Pump {
    /// Runs until stopped; what is in hand is finished if that is possible without waiting.
    pub async fn run(mut self) {
        // Nothing is taken from the stream before there is a ledger to put it in.
        if self.finish.open_ledger().await.is_ok() {
            let (store, waiting) = mpsc::channel(MOST_IN_HAND);
            let places = Arc::new(Semaphore::new(MOST_IN_HAND));
            // Either ends with a wish to stop: the first at once, the second when it has finished what the
            // first had read.
            let _ = tokio::join!(self.intake.run(store, places), self.finish.run(waiting));
        }
        self.finish.sign_off().await;
    }
}

impl Line {
    /// The attempt's result; after a failure `None`, once it is time for the next attempt.
    pub(crate) async fn done<T>(
        &mut self,
        link: &mut Link,
        attempt: RedisResult<T>,
        backoff: &mut Backoff,
    ) -> Result<Option<T>, Stopped> {
        match attempt {
            Ok(result) => {
                self.health.met(Need::Redis);
                Ok(Some(result))
            }
            Err(error) => {
                link.lost(&error);
                self.wait_for_redis(&error, backoff).await?;
                Ok(None)
            }
        }
    }

    pub(crate) async fn wait_for_redis(
        &mut self,
        error: &RedisError,
        backoff: &mut Backoff,
    ) -> Result<(), Stopped> {
        self.metrics.redis_errors.inc();
        self.health.unmet(Need::Redis, &format!("Redis: {error}"));
        self.stop.unless(backoff.wait()).await
    }
}
