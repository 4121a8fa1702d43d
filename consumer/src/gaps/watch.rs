//! One reader's eye on its stream: looks before it reads, and remembers what it saw in case the stream is
//! deleted.

use std::time::{Duration, Instant};

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tracing::{error, warn};

use super::{Look, look, settle_account};
use crate::batch::Batch;
use crate::reader::Source;

/// How often a stream is looked at while nothing comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// And while entries come: small batches must not each be preceded by a look that costs more than they do.
const LOOK_UNDER_LOAD_EVERY: Duration = Duration::from_millis(100);

/// What was seen last, and when to look again.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    last: Option<Look>,
    next: Option<Instant>,
}

impl Watch {
    /// Entries found to be lost, if it is time to look.
    pub(crate) async fn look(
        &mut self,
        connection: &mut MultiplexedConnection,
        source: &Source,
    ) -> RedisResult<u64> {
        if self.next.is_some_and(|next| Instant::now() < next) {
            return Ok(0);
        }
        self.next = Some(Instant::now() + LOOK_UNDER_LOAD_EVERY);
        let (stream, group) = (&source.stream, &source.group);
        let Some(seen) = look(connection, stream, group).await? else { return Ok(0) };
        let lost = settle_account(connection, stream, group, &seen).await?;
        self.last = Some(seen);
        if lost > 0 {
            error!(
                lost, stream = %stream, group = %group, after = %seen.delivered,
                "entries were taken out of the stream before any consumer was given them: what they carried is not in \
                 the ledger and cannot be known any more"
            );
        }
        Ok(lost)
    }

    /// The reader was given these entries.
    pub(crate) fn given(&mut self, batch: &Batch) {
        match batch.newest() {
            Some(newest) => self.last = self.last.map(|look| look.after(newest, batch.len() as u64)),
            None => self.next = Some(Instant::now() + LOOK_EVERY),
        }
    }

    /// The reader made the group: was there one before, and did the stream go with it? What was unread then
    /// is lost.
    pub(crate) async fn group_made(
        &mut self,
        connection: &mut MultiplexedConnection,
        source: &Source,
    ) -> RedisResult<u64> {
        let (stream, group) = (&source.stream, &source.group);
        let Some(now) = look(connection, stream, group).await? else { return Ok(0) };
        let before = self.last.replace(now).unwrap_or_default();
        if now.is_another_than(&before) {
            let lost = before.backlog();
            error!(
                stream = %stream, group = %group, at_least = lost, until = %before.last_generated,
                "the stream was deleted: the entries that nobody had been given are lost, those that came after the last \
                 look cannot be counted"
            );
            return Ok(lost);
        }
        if now.added > now.length {
            warn!(
                stream = %stream, group = %group, removed = now.added - now.length,
                "the stream held more entries before this group was made; whether they were settled cannot be known"
            );
        }
        Ok(0)
    }
}
