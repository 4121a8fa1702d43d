//! The rows of several tables as one sequence, user after user and torrent after torrent, so that the audit
//! holds one of each in memory.

use contract::{InfoHash, Passkey};

use super::LedgerError;
use super::dialect::AuditedRow;

/// Rows of one table in the order of their places.
pub(super) type Source<'a> = Box<dyn Iterator<Item = Result<AuditedRow, LedgerError>> + 'a>;
/// Passkey, whether it is the user's own row, info hash, table.
pub(super) type Place = (Passkey, bool, InfoHash, u8);

impl AuditedRow {
    /// Where the audit meets a row: by passkey and info hash, both compared as bytes; within one torrent what
    /// was carried forward comes first, then the events, then their total; a user's total comes after all of
    /// the user's torrents.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Carried((passkey, info_hash), _) => (*passkey, false, *info_hash, 0),
            Self::Event(row) => (row.passkey, false, row.info_hash, 1),
            Self::Torrent((passkey, info_hash), _) => (*passkey, false, *info_hash, 2),
            Self::User(passkey, _) => (*passkey, true, InfoHash([0; 20]), 3),
        }
    }
}

/// Shows the rows of all sources in the order of their places.
pub(super) fn merged(
    mut sources: Vec<Source<'_>>,
    visit: &mut dyn FnMut(AuditedRow),
) -> Result<(), LedgerError> {
    let mut heads = Vec::with_capacity(sources.len());
    for source in &mut sources {
        heads.push(head(source)?);
    }
    loop {
        let places = heads.iter().enumerate().filter_map(|(at, head)| Some((head.as_ref()?.0, at)));
        let Some((_, first)) = places.min() else { return Ok(()) };
        let next = head(&mut sources[first])?;
        if let Some((_, row)) = std::mem::replace(&mut heads[first], next) {
            visit(row);
        }
    }
}

fn head(source: &mut Source<'_>) -> Result<Option<(Place, AuditedRow)>, LedgerError> {
    Ok(source.next().transpose()?.map(|row| (row.place(), row)))
}
