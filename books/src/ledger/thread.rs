//! The ledger's own thread: it owns the database connection, so that a commit never holds up the event loop.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::keeper::Keeper;
use super::{LedgerError, Location, Outcome};
use crate::entry::Entry;
use crate::settlement::Rules;

struct Request {
    entries: Arc<[Entry]>,
    reply: oneshot::Sender<Result<Outcome, LedgerError>>,
}

/// A way to settle from async code. Clones share the one thread, which ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct LedgerHandle {
    requests: mpsc::Sender<Request>,
}

/// The pump and the dead letters' retry each wait for their answer, so more than two can never queue.
const QUEUE: usize = 2;

impl LedgerHandle {
    /// Starts the thread. The database is opened and migrated at the first request, and again after it was
    /// unavailable.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn spawn(location: Location, rules: Rules) -> std::io::Result<Self> {
        let (requests, mut inbox) = mpsc::channel::<Request>(QUEUE);
        std::thread::Builder::new().name("ledger".into()).spawn(move || {
            let mut keeper = Keeper::new(location, rules);
            while let Some(request) = inbox.blocking_recv() {
                // Whoever asked may have been told to stop meanwhile; what was settled is settled.
                drop(request.reply.send(keeper.settle(&request.entries)));
            }
        })?;
        Ok(Self { requests })
    }

    /// Settles entries in one transaction, see [`super::Ledger::settle`]. With no entries it only sees that
    /// the ledger is there.
    ///
    /// # Errors
    /// As [`super::Ledger::settle`].
    pub async fn settle(&self, entries: Arc<[Entry]>) -> Result<Outcome, LedgerError> {
        let gone = || LedgerError::Unavailable("the ledger's thread has ended".into());
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { entries, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
