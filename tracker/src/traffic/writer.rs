//! The recorder's task: reports to Redis in batches while it takes them, to the spool while it does not, and
//! from there to Redis before anything newer.
//!
//! One batch is in flight at a time. While it travels the next one gathers, so batches grow with the load and
//! leave at once when idle, and a session's announces keep their order even when a batch must be sent again.

use std::sync::Arc;

use redis::{ErrorKind, RedisError};
use tokio::sync::mpsc;
use tracing::warn;

use super::desk::{Desk, Job, Standing};
use super::failure::{Setback, Trouble};
use super::recorder::Setup;
use super::script::Receipt;
use super::sender::RedisSender;
use super::spool::{Batch, Spool};

/// Reports in one call. Redis is busy for some 3 ms with so many; more would make its other users wait.
const MAX_BATCH: usize = 256;
/// Spooled announces in one call: more than a live batch, so that the spool empties under full load.
const REPLAY_BATCH: u16 = 512;

pub(super) struct Writer {
    pub(super) sender: RedisSender,
    pub(super) desk: Desk,
    pub(super) setup: Arc<Setup>,
}

enum Next {
    /// The other way of working.
    Turn,
    /// Nobody reports any more.
    End,
}

/// What happens to new reports while spooled ones travel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Newcomers {
    Wait,
    AreSpooled,
}

/// What came of one attempt to move what waits.
struct Sent {
    batch: Option<Batch>,
    receipt: Result<Receipt, Setback>,
}

impl Writer {
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let spool = self.desk.spool.clone();
        let _turn = match &spool {
            Some(spool) => spool.turn().await,
            None => None,
        };
        while let Next::Turn = self.catch_up(&mut queue).await
            && let Next::Turn = self.deliver(&mut queue).await
        {}
        if let Some(spool) = spool.filter(|spool| !spool.is_empty()) {
            let (directory, records) = (spool.directory().display(), spool.records());
            warn!(%directory, records, "announces stay in the spool; the next start of a tracker with this spool.directory books them");
        }
    }

    /// Reports go straight to Redis, until it does not take a batch. That batch may be booked nevertheless:
    /// it keeps its numbers in the spool, by which Redis will know it.
    async fn deliver(&mut self, queue: &mut mpsc::Receiver<Job>) -> Next {
        let mut jobs = Vec::with_capacity(MAX_BATCH);
        while queue.recv_many(&mut jobs, MAX_BATCH).await > 0 {
            self.desk.show_waiting(queue.len());
            let (batch, waiting) = self.desk.number(&mut jobs);
            match self.sender.deliver(&batch, &self.setup).await {
                Ok(receipt) => self.desk.answer(receipt.outcomes, waiting),
                Err(setback) => {
                    self.desk.redis_failed(&setback);
                    self.desk.shelve(batch, waiting).await;
                    return Next::Turn;
                }
            }
        }
        Next::End
    }

    /// What is spooled goes to Redis, and new reports go behind it, until the spool is empty and Redis takes
    /// writes. Clients never wait for Redis here, except for the last batch: while it travels new reports
    /// wait for it, or the spool would never be empty under load.
    async fn catch_up(&mut self, queue: &mut mpsc::Receiver<Job>) -> Next {
        let starting = self.desk.standing() == Standing::Starting;
        let mut newcomers = if starting { Newcomers::Wait } else { Newcomers::AreSpooled };
        loop {
            let Some(sent) = self.send_while_spooling(queue, newcomers).await else { return Next::End };
            let taken = settle(&mut self.desk, sent).await;
            let remaining = self.desk.spool.as_ref().map_or(0, |spool| spool.records());
            newcomers = match (taken, remaining) {
                (true, 0) => {
                    self.desk.redis_is_back();
                    return Next::Turn;
                }
                (true, few) if few <= u64::from(REPLAY_BATCH) => Newcomers::Wait,
                (true, _) => Newcomers::AreSpooled,
                (false, _) => {
                    self.sender.rest();
                    Newcomers::AreSpooled
                }
            };
        }
    }

    /// One attempt at the oldest of the spool; `None` when nobody reports any more.
    async fn send_while_spooling(
        &mut self,
        queue: &mut mpsc::Receiver<Job>,
        newcomers: Newcomers,
    ) -> Option<Sent> {
        let Self { sender, desk, .. } = self;
        let attempt = attempt(sender, desk.spool.clone());
        tokio::pin!(attempt);
        let mut jobs = Vec::with_capacity(MAX_BATCH);
        loop {
            tokio::select! {
                biased;
                sent = &mut attempt => return Some(sent),
                count = queue.recv_many(&mut jobs, MAX_BATCH), if newcomers == Newcomers::AreSpooled => {
                    if count == 0 {
                        return None;
                    }
                    let (batch, waiting) = desk.number(&mut jobs);
                    desk.shelve(batch, waiting).await;
                }
            }
        }
    }
}

/// Sends the oldest spooled entries; an empty batch when there are none, to find out whether Redis takes
/// writes.
async fn attempt(sender: &mut RedisSender, spool: Option<Arc<Spool>>) -> Sent {
    let batch = match &spool {
        Some(spool) => spool.oldest(REPLAY_BATCH.into()).await,
        None => Ok(None),
    };
    let batch = match batch {
        Ok(batch) => batch,
        Err(error) => {
            let error = RedisError::from((ErrorKind::Io, "the spool cannot be read", error.to_string()));
            sender.rest();
            return Sent { batch: None, receipt: Err(Setback { trouble: Trouble::Puzzling, error }) };
        }
    };
    let receipt = match &batch {
        Some(batch) => sender.try_again(&batch.tracker_id, &batch.entries).await,
        None => sender.probe().await,
    };
    Sent { batch, receipt }
}

/// Whether Redis took what was sent, and the spool let go of it.
async fn settle(desk: &mut Desk, Sent { batch, receipt }: Sent) -> bool {
    match receipt {
        Ok(receipt) => match batch {
            Some(batch) => desk.booked(batch, &receipt.outcomes).await,
            None => true,
        },
        Err(setback) => {
            desk.redis_failed(&setback);
            false
        }
    }
}
