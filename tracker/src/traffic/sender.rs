//! Sends the recorder's calls to Redis. Knows neither clients nor the disk, and repeats nothing by itself.

use redis::RedisError;
use service::redis::Link;

use super::failure::{FailureKind, SendFailure};
use super::machine::Call;
use super::reply::Receipt;
use super::script::RecordScript;

#[derive(Debug)]
pub(super) struct RedisSender {
    link: Link,
    script: RecordScript,
}

impl RedisSender {
    pub(super) fn new(link: Link, script: RecordScript) -> Self {
        Self { link, script }
    }

    pub(super) async fn send(&mut self, call: &Call) -> Result<Receipt, SendFailure> {
        match self.run(call).await {
            Ok(receipt) => receipt.of_a_writable_stream().inspect_err(|_| self.link.forget()),
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

    async fn run(&mut self, call: &Call) -> Result<Receipt, RedisError> {
        let mut connection = self.link.connection().await?;
        let other = call.other_tracker_id().map(|tracker_id| self.script.on_behalf_of(tracker_id));
        let script = other.as_ref().unwrap_or(&self.script);
        script.run(&mut connection, call.batch(), call.said()).await
    }
}
