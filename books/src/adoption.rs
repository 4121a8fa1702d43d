//! Says that a ledger is the one that is meant: a copy from a backup, or a new one in the place of one that
//! was lost.
//!
//! What was rotated since the copy was made is rotated again, and the group is set back to where the copy
//! may begin to lack entries: everything from there on is delivered again, and what is in the copy already
//! changes nothing. Only then is Redis told, which lets consumers go on. The ledger gets a new name with
//! that, so that the one it takes the place of is not taken for it later.

use contract::Passkey;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, cmd};
use thiserror::Error;

use crate::entry::EntryId;
use crate::groups::groups;
use crate::ledger::{Intent, Ledger, LedgerError, Mark, Witness};
use crate::presence::aliases;
use crate::retention::Target;
use contract::Keys;

/// What stops an adoption. The same call again does the rest.
#[derive(Debug, Error)]
pub enum AdoptionError {
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Where from entries are delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Where the ledger may begin to lack some.
    Lacking,
    /// The oldest that the stream holds.
    Oldest,
}

/// What Redis and the ledger say, and what an adoption does, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// The ledger that Redis knows.
    pub known: Option<Witness>,
    /// The one that is to be adopted.
    pub ledger: Mark,
    /// Entries from here on are delivered again; `None` without a stream or a group, which is made anew.
    pub again_from: Option<EntryId>,
    /// Passkeys that Redis knows as rotated.
    pub rotated: u64,
}

/// What [`adopt`] would do.
///
/// # Errors
/// As [`AdoptionError`] says.
pub async fn look(
    redis: &mut MultiplexedConnection,
    ledger: &mut Ledger,
    keys: &Keys,
    (target, from): (Target<'_>, From),
) -> Result<Adoption, AdoptionError> {
    let settled_before = match from {
        From::Lacking => ledger.numbers()?.settled_before,
        From::Oldest => EntryId::default(),
    };
    let groups = groups(redis, target.stream).await?;
    let group = groups.iter().find(|group| group.name == target.group);
    Ok(Adoption {
        known: Witness::read(redis, keys).await?,
        ledger: ledger.mark()?,
        again_from: group.map(|group| settled_before.min(group.last_delivered.next())),
        rotated: aliases(redis, keys).await?.len() as u64,
    })
}

/// Adopts the ledger under the new name `id`.
///
/// # Errors
/// As [`AdoptionError`] says.
pub async fn adopt(
    redis: &mut MultiplexedConnection,
    ledger: &mut Ledger,
    keys: &Keys,
    (target, from): (Target<'_>, From),
    id: &str,
) -> Result<Adoption, AdoptionError> {
    let adoption = look(redis, ledger, keys, (target, from)).await?;
    rotate_again(ledger, aliases(redis, keys).await?.into_iter().collect())?;
    let mark = ledger.rename(id)?;
    if let Some(again_from) = adoption.again_from {
        let mut back = cmd("XGROUP");
        back.arg("SETID").arg(target.stream).arg(target.group).arg(before(again_from).to_string());
        back.query_async::<()>(redis).await?;
    }
    Witness::from(&mark).replace(keys).query_async::<()>(redis).await?;
    Ok(Adoption { ledger: mark, ..adoption })
}

/// A passkey that was rotated twice is refused until its second rotation is done.
fn rotate_again(ledger: &mut Ledger, mut left: Vec<(Passkey, Passkey)>) -> Result<(), LedgerError> {
    while !left.is_empty() {
        let (tried, mut refused) = (left.len(), None);
        let mut rotates =
            |(old, new): &(Passkey, Passkey)| match ledger.rotate((old, new), Intent::Act, &mut |_, _| {}) {
                Err(LedgerError::Rejected(reason)) => {
                    refused = Some(reason);
                    Ok(true)
                }
                outcome => outcome.map(|_| false),
            };
        let mut again = Vec::new();
        for pair in left {
            if rotates(&pair)? {
                again.push(pair);
            }
        }
        left = again;
        if let Some(reason) = refused.filter(|_| left.len() == tried) {
            return Err(LedgerError::Rejected(reason));
        }
    }
    Ok(())
}

/// The largest id that is smaller.
fn before(id: EntryId) -> EntryId {
    match (id.ms, id.seq) {
        (0, 0) => id,
        (ms, 0) => EntryId { ms: ms - 1, seq: u64::MAX },
        (ms, seq) => EntryId { ms, seq: seq - 1 },
    }
}
