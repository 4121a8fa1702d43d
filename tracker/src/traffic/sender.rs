//! Sends the recorder's calls to Redis. Knows neither clients nor the disk, and repeats nothing by itself.

use std::time::Duration;

use redis::RedisError;
use service::redis::{Link, Timeouts};

use super::failure::{FailureKind, SendFailure};
use super::machine::Call;
use super::reply::Receipt;
use super::script::RecordScript;

#[derive(Debug)]
pub(super) struct RedisSender {
    link: Link,
    script: RecordScript,
    /// How many replicas must have what Redis booked.
    replicas: u32,
    /// How long they may take; then the batch is sent again, and recognised by its numbers.
    patience: Duration,
}

impl RedisSender {
    pub(super) fn new(link: Link, script: RecordScript, replicas: u32, timeouts: Timeouts) -> Self {
        // Redis must not seem silent while it waits for them.
        let patience = timeouts.response.unwrap_or(Duration::from_secs(2)) / 2;
        Self { link, script, replicas, patience }
    }

    pub(super) async fn send(&mut self, call: &Call) -> Result<Receipt, SendFailure> {
        match self.run(call).await {
            Ok((receipt, replicas)) if replicas >= self.replicas => {
                receipt.of_a_writable_stream().inspect_err(|_| self.link.forget())
            }
            Ok((_, replicas)) => {
                let reason = format!("{replicas} replicas have it, and wait_replicas is {}", self.replicas);
                Err(SendFailure { kind: FailureKind::ReadOnly, reason })
            }
            Err(error) => {
                let failure = SendFailure::from(&error);
                match failure.kind {
                    FailureKind::Unreachable => self.link.lost(&error),
                    // A new connection may find the new primary, or be let in.
                    _ => self.link.forget(),
                }
                Err(failure)
            }
        }
    }

    /// Redis' answer, and how many replicas have what it booked.
    async fn run(&mut self, call: &Call) -> Result<(Receipt, u32), RedisError> {
        let mut connection = self.link.connection().await?;
        let other = call.other_tracker_id().map(|tracker_id| self.script.on_behalf_of(tracker_id));
        let script = other.as_ref().unwrap_or(&self.script);
        let receipt = script.run(&mut connection, call.batch(), call.said()).await?;
        let replicas = match self.replicas {
            0 => 0,
            wanted => {
                let mut wait = redis::cmd("WAIT");
                wait.arg(wanted).arg(self.patience.as_millis().max(1)).query_async(&mut connection).await?
            }
        };
        Ok((receipt, replicas))
    }
}
