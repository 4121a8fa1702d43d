//! The ledger's own thread: it owns the database connection, so that a commit never holds up the event loop.

use tokio::sync::{mpsc, oneshot};

use super::keeper::Keeper;
use super::{Delivery, Findings, LedgerError, Location, Numbers, Receipt};
use crate::settlement::Rules;

type Answer<T> = oneshot::Sender<Result<T, LedgerError>>;

enum Request {
    Deliver(Delivery, Answer<Receipt>),
    Account(Findings, Answer<(u64, Numbers)>),
}

/// A way to settle from async code. Clones share the one thread, which ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct LedgerHandle {
    requests: mpsc::Sender<Request>,
}

/// The pump and the chores each wait for their answer, so more than two can never queue.
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
                match request {
                    Request::Deliver(delivery, answer) => drop(answer.send(keeper.deliver(&delivery))),
                    Request::Account(findings, answer) => drop(answer.send(keeper.account(&findings))),
                }
            }
        })?;
        Ok(Self { requests })
    }

    /// Settles entries in one transaction, see [`super::Ledger::deliver`]. With no entries it only sees that
    /// the ledger is there.
    ///
    /// # Errors
    /// As [`super::Ledger::deliver`].
    pub async fn deliver(&self, delivery: Delivery) -> Result<Receipt, LedgerError> {
        self.ask(|answer| Request::Deliver(delivery, answer)).await
    }

    /// Writes down what was found out about numbers, see [`super::Ledger::account`].
    ///
    /// # Errors
    /// As [`super::Ledger::account`].
    pub async fn account(&self, findings: Findings) -> Result<(u64, Numbers), LedgerError> {
        self.ask(|answer| Request::Account(findings, answer)).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, LedgerError> {
        let gone = || LedgerError::Unavailable("the ledger's thread has ended".into());
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
