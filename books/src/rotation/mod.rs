//! The rotation of a passkey: a user gets a new one and keeps everything, while clients still announce with
//! the old one.
//!
//! First the alias is set, from which moment nothing is booked on the old passkey any more. Then snapshots,
//! presence and ledger rows move to the new one, piece by piece. Killed anywhere, the same call does the
//! rest. docs/rotation.md says why no byte is lost or counted twice in between.

pub mod hybrids;
mod notes;
mod snapshots;

use contract::{Keys, Passkey};
use redis::aio::MultiplexedConnection;
use redis::{RedisError, cmd};
use thiserror::Error;

pub use snapshots::{count_snapshots, fold_snapshots};

use crate::ledger::{Intent, Ledger, LedgerError, Rotated, Witness};
use crate::presence;

/// Why a rotation is not begun; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It would make a chain.
    #[error("the new passkey was itself rotated to another one")]
    NewWasRotated,
    /// It would make a fork.
    #[error("the old passkey was rotated to another one already")]
    OldWasRotated,
    /// Redis still notes that snapshots are being moved.
    #[error("another rotation with one of these passkeys was broken off: repeat that one first")]
    Unfinished,
    /// No user has the old passkey.
    #[error("the old passkey is neither on the whitelist nor in the ledger")]
    Unknown,
}

/// What stops a rotation. Unless it was refused, the same call again does the rest.
#[derive(Debug, Error)]
pub enum RotationError {
    /// The rotation may not begin, and nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The ledger failed, or refused it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Which passkey becomes which.
#[derive(Debug)]
pub struct Rotation<'a> {
    /// The site's keys.
    pub keys: &'a Keys,
    /// What snapshot keys begin with, the site's prefix included.
    pub snapshot_prefix: &'a str,
    /// The passkey in use.
    pub old: &'a Passkey,
    /// The one that takes its place.
    pub new: &'a Passkey,
}

/// What was moved, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Session snapshots.
    pub snapshots: u64,
    /// Sessions of the presence sets.
    pub sessions: u64,
    /// Rows of the ledger.
    pub ledger: Rotated,
}

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// So many of about so many keys were searched for snapshots.
    Snapshots(u64, u64),
    /// So many of so many of the ledger's torrents were moved.
    Ledger(u64, u64),
}

/// Called now and then with the stage that the rotation is in.
pub type Progress<'a> = &'a mut (dyn FnMut(Stage) + Send);

impl Rotation<'_> {
    /// What [`Rotation::act`] would do.
    ///
    /// # Errors
    /// As [`RotationError`] says.
    pub async fn look(
        &self,
        connection: &mut MultiplexedConnection,
        known: Rotated,
        progress: Progress<'_>,
    ) -> Result<Moved, RotationError> {
        notes::begin(connection, self.keys, (self.old, self.new), known.known, Intent::Look).await?;
        let mut searched = searched(connection, progress).await?;
        let snapshots = count_snapshots(connection, self.snapshot_prefix, self.old, &mut searched).await?;
        let sessions = presence::count_sessions(connection, self.keys, self.old).await?;
        Ok(Moved { snapshots, sessions, ledger: known })
    }

    /// Rotates. `known`: what [`Ledger::rotate`] would move.
    ///
    /// # Errors
    /// As [`RotationError`] says.
    pub async fn act(
        &self,
        connection: &mut MultiplexedConnection,
        ledger: &mut Ledger,
        known: Rotated,
        progress: Progress<'_>,
    ) -> Result<Moved, RotationError> {
        let pair = (self.old, self.new);
        notes::begin(connection, self.keys, pair, known.known, Intent::Act).await?;
        let mut told = searched(connection, progress).await?;
        let snapshots = fold_snapshots(connection, self.snapshot_prefix, pair, &mut told).await?;
        drop(told);
        let sessions = presence::rotate(connection, self.keys, pair).await?;
        let mut told = |done, total| progress(Stage::Ledger(done, total));
        let rotated = ledger.rotate(pair, Intent::Act, &mut told)?;
        // A copy from before the rotation is then found out as one.
        Witness::from(&ledger.mark()?).raise(self.keys).query_async::<()>(connection).await?;
        notes::finish(connection, self.keys, self.new).await?;
        Ok(Moved { snapshots, sessions, ledger: rotated })
    }
}

/// Tells how many of about all keys a search has looked at.
async fn searched<'a>(
    connection: &mut MultiplexedConnection,
    progress: &'a mut (dyn FnMut(Stage) + Send),
) -> Result<impl FnMut(u64) + Send + 'a, RedisError> {
    let total: u64 = cmd("DBSIZE").query_async(connection).await?;
    let mut done = 0;
    Ok(move |keys| {
        done += keys;
        progress(Stage::Snapshots(done, total));
    })
}
