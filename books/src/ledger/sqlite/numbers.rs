//! The numbers of the entries that were seen: one row.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use super::super::{Numbered, Numbers};
use super::rows;
use crate::entry::EntryId;

const LOAD: &str = "SELECT seen, newest, newest_entry, anew, anew_after, lost, rollbacks, settled_before FROM stream_numbers";
const SAVE: &str =
    "UPDATE stream_numbers SET seen = ?1, newest = ?2, newest_entry = ?3, anew = ?4, anew_after = ?5,
    lost = ?6, rollbacks = ?7, settled_before = ?8";

pub(super) fn load(connection: &Connection) -> rusqlite::Result<Numbers> {
    connection.prepare_cached(LOAD)?.query_row([], |row| {
        let newest: Option<u64> = number(row, 1)?;
        let newest_entry = entry(row, 2)?;
        Ok(Numbers {
            seen: rows::text(row, 0, Numbers::read_runs)?,
            newest: newest.map(|n| Numbered { n, id: newest_entry }),
            anew: Numbered { n: number(row, 3)?.unwrap_or(0), id: entry(row, 4)? },
            lost: number(row, 5)?.unwrap_or(0),
            rollbacks: number(row, 6)?.unwrap_or(0),
            settled_before: entry(row, 7)?,
        })
    })
}

pub(super) fn save(connection: &Connection, numbers: &Numbers) -> rusqlite::Result<()> {
    let newest = numbers.newest.unwrap_or_default();
    let entries = [newest.id, numbers.anew.id, numbers.settled_before].map(EntryId::text);
    let row = params![
        numbers.runs(),
        numbers.newest.map(|newest| signed(newest.n)),
        entries[0].as_str(),
        signed(numbers.anew.n),
        entries[1].as_str(),
        signed(numbers.lost),
        signed(numbers.rollbacks),
        entries[2].as_str(),
    ];
    connection.prepare_cached(SAVE)?.execute(row).map(drop)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let number: Option<i64> = row.get(column)?;
    let read = |number: i64| {
        u64::try_from(number).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error))
        })
    };
    number.map(read).transpose()
}

fn entry(row: &Row<'_>, column: usize) -> rusqlite::Result<EntryId> {
    rows::text(row, column, |text| text.parse().ok())
}
