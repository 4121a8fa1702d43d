//! The way to Redis: sends batches and judges what comes back. Knows neither clients nor the disk.

use std::time::Duration;

use service::redis::Link;
use tokio::time::Instant;
use tracing::error;

use super::booking::Entry;
use super::failure::{Setback, Trouble, unwritable};
use super::metrics::RecorderMetrics;
use super::recorder::Setup;
use super::script::{Receipt, RecordScript};

/// How long Redis is left alone after it failed.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct RedisSender {
    link: Link,
    script: RecordScript,
    metrics: RecorderMetrics,
    /// The highest number of this process that Redis is known to have booked.
    confirmed: u64,
    failed_at: Option<Instant>,
}

impl RedisSender {
    pub(super) fn new(link: Link, script: RecordScript, metrics: RecorderMetrics) -> Self {
        Self { link, script, metrics, confirmed: 0, failed_at: None }
    }

    /// The id under which this process books.
    pub(super) fn tracker_id(&self) -> &str {
        self.script.tracker_id()
    }

    /// Sends this process's newest batch, again if that may help, within the operator's retries.
    pub(super) async fn deliver(&mut self, batch: &[Entry], setup: &Setup) -> Result<Receipt, Setback> {
        let started = Instant::now();
        let patience = setup.retry_interval * setup.retry_count;
        loop {
            match self.attempt(None, batch).await {
                Ok(receipt) => {
                    self.metrics.committed(started.elapsed());
                    return Ok(receipt);
                }
                // With the retries' time gone a spool is the better answer: a slow Redis must not keep
                // clients waiting.
                Err(setback) if !setback.trouble.may_pass_soon() || started.elapsed() >= patience => {
                    return Err(setback);
                }
                Err(_) => tokio::time::sleep(setup.retry_interval).await,
            }
        }
    }

    /// Sends spooled entries once, under the id of the process that numbered them.
    pub(super) async fn try_again(
        &mut self,
        tracker_id: &str,
        entries: &[Entry],
    ) -> Result<Receipt, Setback> {
        self.pause().await;
        let other = (tracker_id != self.script.tracker_id()).then(|| self.script.on_behalf_of(tracker_id));
        self.attempt(other.as_ref(), entries).await
    }

    /// Sends nothing, to find out whether Redis takes writes.
    pub(super) async fn probe(&mut self) -> Result<Receipt, Setback> {
        self.pause().await;
        self.attempt(None, &[]).await
    }

    /// Something failed: the next attempt comes after a pause.
    pub(super) fn rest(&mut self) {
        self.failed_at = Some(Instant::now());
    }

    async fn pause(&self) {
        if let Some(failed_at) = self.failed_at {
            tokio::time::sleep_until(failed_at + PAUSE).await;
        }
    }

    async fn attempt(&mut self, other: Option<&RecordScript>, batch: &[Entry]) -> Result<Receipt, Setback> {
        let sent = self.send(other, batch).await;
        match &sent {
            Ok(receipt) => {
                self.failed_at = None;
                let own = if other.is_none() { batch.last() } else { None };
                self.confirm(own.map(|entry| entry.sequence), receipt);
            }
            Err(setback) => {
                self.metrics.errors.inc();
                self.rest();
                match setback.trouble {
                    Trouble::Away => self.link.lost(&setback.error),
                    // A new connection may find the new primary, or be let in.
                    _ => self.link.forget(),
                }
            }
        }
        sent
    }

    async fn send(&mut self, other: Option<&RecordScript>, batch: &[Entry]) -> Result<Receipt, Setback> {
        let mut connection = self.link.connection().await?;
        let (script, confirmed) = other.map_or((&self.script, self.confirmed), |other| (other, 0));
        let receipt = script.run(&mut connection, batch, confirmed).await?;
        match unwritable(&receipt.outcomes) {
            Some(setback) => Err(setback),
            None => Ok(receipt),
        }
    }

    /// A Redis that booked less than it confirmed has lost snapshots: what their sessions moved since cannot
    /// be known, and counting begins anew for them.
    fn confirm(&mut self, booked_to: Option<u64>, receipt: &Receipt) {
        if receipt.lost > 0 {
            self.metrics.lost_reports.inc_by(receipt.lost);
            error!(
                reports = receipt.lost,
                "Redis lost announces that it had confirmed: it restarted without its data, or a replica that lagged took over. \
                 Sessions without a snapshot begin at a new baseline, and what they moved before it is not credited"
            );
        }
        self.confirmed = self.confirmed.max(booked_to.unwrap_or(0));
    }
}
