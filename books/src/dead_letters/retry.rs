//! Another try for a dead letter. It succeeds after an upgrade that can decode the entry, or once the ledger
//! takes it.

use std::sync::{Arc, LazyLock};

use contract::Keys;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Script};
use thiserror::Error;

use super::{DeadLetter, DeadLetters, add_fields, discard};
use crate::entry::{Entry, decode};
use crate::ledger::{Delivery, LedgerError, LedgerHandle, Witness};
use crate::presence::{self, Leases};

/// Moves a letter to the end of a stream with new fields, unless somebody else took it.
static MOVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return 0 end
         redis.call('XADD', KEYS[2], '*', unpack(ARGV, 2))
         redis.call('XDEL', KEYS[1], ARGV[1])
         return 1",
    )
});

/// With which ledger and limits letters are tried again.
#[derive(Debug)]
pub struct Retrier<'a> {
    /// The site's keys.
    pub keys: &'a Keys,
    /// The ledger that letters are settled into.
    pub ledger: &'a LedgerHandle,
    /// How long a peer stays whose entry was settled late.
    pub leases: Leases,
    /// Retries before a letter is given up.
    pub retry_max: u32,
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// Settled (or it had been already), and gone from its stream.
    Settled,
    /// Still wrong; it waits for its next retry.
    StillDead,
    /// Still wrong after the last retry; now on [`DeadLetters::Failed`].
    GivenUp,
}

/// Why a letter could not be tried at all. It stays as it was.
#[derive(Debug, Error)]
pub enum RetryError {
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The ledger is not available.
    #[error(transparent)]
    Ledger(LedgerError),
}

/// Tries one letter again under its original entry id. `now` is in unix seconds.
///
/// # Errors
/// [`RetryError`]: nothing was decided, and the letter's count did not rise.
pub async fn retry(
    connection: &mut MultiplexedConnection,
    retrier: &Retrier<'_>,
    stream: DeadLetters,
    letter: &DeadLetter,
    now: u64,
) -> Result<Retried, RetryError> {
    match settle(connection, retrier, letter, now).await? {
        Ok(()) => {
            discard(connection, retrier.keys, stream, &[letter.id]).await?;
            Ok(Retried::Settled)
        }
        Err(error) => put_back(connection, retrier, stream, letter, &error, now).await,
    }
}

/// The inner error is the letter's fault.
async fn settle(
    connection: &mut MultiplexedConnection,
    retrier: &Retrier<'_>,
    letter: &DeadLetter,
    now: u64,
) -> Result<Result<(), String>, RetryError> {
    let entry = match decoded(letter) {
        Ok(entry) => entry,
        Err(error) => return Ok(Err(error)),
    };
    let entries: Arc<[Entry]> = Arc::new([entry]);
    let witness = Witness::read(connection, retrier.keys).await?;
    let delivery = Delivery { entries: entries.clone(), witness, ..Delivery::default() };
    match retrier.ledger.deliver(delivery).await {
        // What the letter's removal makes final, Redis must know of first.
        Ok(receipt) => Witness::from(&receipt.mark).raise(retrier.keys).query_async::<()>(connection).await?,
        Err(error @ LedgerError::Rejected(_)) => return Ok(Err(error.to_string())),
        Err(error) => return Err(RetryError::Ledger(error)),
    }
    presence::apply(connection, retrier.keys, retrier.leases, &entries, now).await?;
    Ok(Ok(()))
}

fn decoded(letter: &DeadLetter) -> Result<Entry, String> {
    let id = letter.entry_id.ok_or("the letter does not say which entry it was")?;
    let event = decode(&letter.fields)?;
    Ok(Entry { id, event })
}

async fn put_back(
    connection: &mut MultiplexedConnection,
    retrier: &Retrier<'_>,
    stream: DeadLetters,
    letter: &DeadLetter,
    error: &str,
    now: u64,
) -> Result<Retried, RetryError> {
    let count = letter.count.saturating_add(1);
    let (to, outcome) = match stream {
        DeadLetters::Waiting if count < retrier.retry_max => (DeadLetters::Waiting, Retried::StillDead),
        _ => (DeadLetters::Failed, Retried::GivenUp),
    };
    let mut call = MOVE.prepare_invoke();
    call.key(stream.key(retrier.keys)).key(to.key(retrier.keys)).arg(letter.id.to_string());
    add_fields(&mut call, &letter.fields, letter.entry_id, error, (count, now));
    call.invoke_async::<bool>(connection).await?;
    Ok(outcome)
}
