//! What Redis knows of the ledger: which it is, and how far it had come when entries were last acknowledged.
//!
//! An empty or older ledger takes transactions as readily as the right one, and what was acknowledged before
//! is then missing from the books. Redis remembers across restarts and for all consumers; the settling
//! transaction compares, so that no moment is left in which a ledger can be exchanged unnoticed.

use contract::Keys;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, cmd};

use super::{LedgerError, Mark};

/// Which ledger was settled into, and how many of its transactions were acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// [`Mark::id`].
    pub id: String,
    /// [`Mark::batches`].
    pub batches: i64,
}

impl From<&Mark> for Witness {
    fn from(mark: &Mark) -> Self {
        Self { id: mark.id.clone(), batches: mark.batches }
    }
}

/// Notes a ledger if Redis knows none, or how far the known one has come.
const RAISE: &str = "local id = redis.call('HGET', KEYS[1], 'id')
if not id or (id == ARGV[1] and tonumber(redis.call('HGET', KEYS[1], 'batches')) < tonumber(ARGV[2])) then
  redis.call('HSET', KEYS[1], 'id', ARGV[1], 'batches', ARGV[2])
end";

impl Witness {
    /// What Redis says; `None` when it knows of no ledger yet.
    ///
    /// # Errors
    /// Redis's own.
    pub async fn read(redis: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<Option<Self>> {
        let mut ask = cmd("HMGET");
        ask.arg(keys.ledger()).arg("id").arg("batches");
        let (id, batches): (Option<String>, Option<i64>) = ask.query_async(redis).await?;
        Ok(id.map(|id| Self { id, batches: batches.unwrap_or(0) }))
    }

    /// The command by which Redis learns how far the ledger has come. It must be sent before what was settled
    /// is acknowledged: else a copy from just before would pass for the ledger.
    #[must_use]
    pub fn raise(&self, keys: &Keys) -> Cmd {
        let mut raise = cmd("EVAL");
        raise.arg(RAISE).arg(1).arg(keys.ledger()).arg(&self.id).arg(self.batches);
        raise
    }

    /// The command by which Redis is told that this is the ledger, whatever it knew before.
    #[must_use]
    pub fn replace(&self, keys: &Keys) -> Cmd {
        let mut set = cmd("HSET");
        set.arg(keys.ledger()).arg("id").arg(&self.id).arg("batches").arg(self.batches);
        set
    }

    /// Only the ledger itself, no older than it was, may be settled into.
    pub(super) fn recognise(&self, found: &Mark) -> Result<(), LedgerError> {
        let refuse = |what: String| {
            Err(LedgerError::Unavailable(format!(
                "{what}: put the right one back, or say that this one is meant with `trackerctl ledger adopt`"
            )))
        };
        if self.id != found.id {
            return refuse("another ledger is in the place of the one that was settled into".into());
        }
        if found.batches < self.batches {
            let missing = self.batches - found.batches;
            return refuse(format!("the ledger is an older copy, which lacks {missing} transactions"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EntryId;

    fn mark(id: &str, batches: i64) -> Mark {
        Mark { id: id.into(), batches, pruned_before: EntryId::default() }
    }

    #[test]
    fn only_the_same_ledger_no_older_than_before_is_gone_on_with() {
        let witness = Witness::from(&mark("a", 5));
        assert_eq!(witness.recognise(&mark("a", 5)), Ok(()));
        assert_eq!(witness.recognise(&mark("a", 9)), Ok(()), "what is not acknowledged yet comes again");
        let text = |found| witness.recognise(&found).unwrap_err().to_string();
        assert!(text(mark("b", 9)).contains("another ledger"));
        assert!(text(mark("a", 3)).contains("lacks 2 transactions"));
    }
}
