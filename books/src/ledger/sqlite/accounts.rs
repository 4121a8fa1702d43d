//! `user_traffic`, `torrent_traffic` and `carried_forward`. The last two have the same columns.

use contract::{InfoHash, Passkey};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::super::dialect::{AccountKey, Accounts};
use super::rows;
use crate::settlement::{TorrentAccount, UserAccount};

const LOAD_USER: &str =
    "SELECT raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds, first_seen,
    last_seen, completed FROM user_traffic WHERE passkey = ?1";
/// The sums stop at the largest number, as [`crate::settlement::Sums`] do.
const ADD_TO_USER: &str = "INSERT INTO user_traffic (passkey, raw_up, raw_down, credited_up, credited_down,
    seed_seconds, leech_seconds, first_seen, last_seen, completed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT (passkey) DO UPDATE SET
    raw_up = ?2 + min(raw_up, 9223372036854775807 - ?2),
    raw_down = ?3 + min(raw_down, 9223372036854775807 - ?3),
    credited_up = ?4 + min(credited_up, 9223372036854775807 - ?4),
    credited_down = ?5 + min(credited_down, 9223372036854775807 - ?5),
    seed_seconds = ?6 + min(seed_seconds, 9223372036854775807 - ?6),
    leech_seconds = ?7 + min(leech_seconds, 9223372036854775807 - ?7),
    first_seen = min(first_seen, ?8), last_seen = max(last_seen, ?9),
    completed = ?10 + min(completed, 9223372036854775807 - ?10)";

/// The statements of one of the two tables.
struct Statements {
    load: &'static str,
    load_all: &'static str,
    save: &'static str,
    delete: &'static str,
    delete_one: &'static str,
    users_of: &'static str,
}

macro_rules! statements {
    ($table:literal) => {
        Statements {
            load: concat!(
                "SELECT raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds, first_seen,
                last_seen, left_bytes, left_entry, completed_at, seed_spans, leech_spans, claims FROM ",
                $table,
                " WHERE passkey = ?1 AND infohash = ?2"
            ),
            load_all: concat!(
                "SELECT raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds, first_seen,
                last_seen, left_bytes, left_entry, completed_at, seed_spans, leech_spans, claims, infohash FROM ",
                $table,
                " WHERE passkey = ?1"
            ),
            save: concat!(
                "INSERT OR REPLACE INTO ",
                $table,
                " (passkey, infohash, raw_up, raw_down, credited_up, credited_down, seed_seconds, leech_seconds,
                first_seen, last_seen, left_bytes, left_entry, completed_at, seed_spans, leech_spans, claims)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
            ),
            delete: concat!("DELETE FROM ", $table, " WHERE passkey = ?1"),
            delete_one: concat!("DELETE FROM ", $table, " WHERE passkey = ?1 AND infohash = ?2"),
            users_of: concat!("SELECT passkey FROM ", $table, " WHERE infohash = ?1"),
        }
    };
}

const TOTALS: Statements = statements!("torrent_traffic");
const CARRIED_FORWARD: Statements = statements!("carried_forward");

const fn of_table(table: Accounts) -> &'static Statements {
    match table {
        Accounts::Totals => &TOTALS,
        Accounts::CarriedForward => &CARRIED_FORWARD,
    }
}

pub(super) fn load(
    connection: &Connection,
    table: Accounts,
    keys: &[AccountKey],
) -> rusqlite::Result<Vec<Option<TorrentAccount>>> {
    let mut load = connection.prepare_cached(of_table(table).load)?;
    let account = |(passkey, info_hash): &AccountKey| {
        load.query_row((passkey.reveal(), info_hash.0), rows::torrent_of).optional()
    };
    keys.iter().map(account).collect()
}

pub(super) fn load_all(
    connection: &Connection,
    table: Accounts,
    passkey: &Passkey,
) -> rusqlite::Result<Vec<(InfoHash, TorrentAccount)>> {
    let mut load = connection.prepare_cached(of_table(table).load_all)?;
    let account = |row: &Row<'_>| Ok((InfoHash(row.get(14)?), rows::torrent_of(row)?));
    let accounts = load.query_map([passkey.reveal()], account)?;
    accounts.collect()
}

pub(super) fn save(
    connection: &Connection,
    table: Accounts,
    accounts: &[(AccountKey, TorrentAccount)],
) -> rusqlite::Result<()> {
    let mut save = connection.prepare_cached(of_table(table).save)?;
    accounts.iter().try_for_each(|(key, account)| save_one(&mut save, key, account))
}

fn save_one(
    save: &mut CachedStatement<'_>,
    (passkey, info_hash): &AccountKey,
    account: &TorrentAccount,
) -> rusqlite::Result<()> {
    let sums = &account.sums;
    save.execute(params![
        passkey.reveal(),
        info_hash.0,
        sums.raw_up,
        sums.raw_down,
        sums.credited_up,
        sums.credited_down,
        sums.seed_seconds,
        sums.leech_seconds,
        sums.first_seen,
        sums.last_seen,
        account.left_bytes,
        account.left_entry.text().as_str(),
        account.completed_at,
        account.seed_spans.to_bytes(),
        account.leech_spans.to_bytes(),
        account.lines.to_bytes(),
    ])?;
    Ok(())
}

pub(super) fn users_of(
    connection: &Connection,
    table: Accounts,
    info_hash: &InfoHash,
) -> rusqlite::Result<Vec<Passkey>> {
    let mut select = connection.prepare_cached(of_table(table).users_of)?;
    let users = select.query_map([info_hash.0], |row| rows::passkey(row, 0))?;
    users.collect()
}

pub(super) fn delete_one(
    connection: &Connection,
    table: Accounts,
    (passkey, info_hash): &AccountKey,
) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached(of_table(table).delete_one)?;
    delete.execute((passkey.reveal(), info_hash.0)).map(drop)
}

pub(super) fn user(connection: &Connection, passkey: &Passkey) -> rusqlite::Result<Option<UserAccount>> {
    connection.prepare_cached(LOAD_USER)?.query_row([passkey.reveal()], rows::user_of).optional()
}

pub(super) fn add_to_users(
    connection: &Connection,
    gains: &[(Passkey, UserAccount)],
) -> rusqlite::Result<()> {
    let mut add = connection.prepare_cached(ADD_TO_USER)?;
    for (passkey, UserAccount { sums, completed }) in gains {
        add.execute(params![
            passkey.reveal(),
            sums.raw_up,
            sums.raw_down,
            sums.credited_up,
            sums.credited_down,
            sums.seed_seconds,
            sums.leech_seconds,
            sums.first_seen,
            sums.last_seen,
            completed,
        ])?;
    }
    Ok(())
}

pub(super) fn delete_user(connection: &Connection, passkey: &Passkey) -> rusqlite::Result<()> {
    let user = "DELETE FROM user_traffic WHERE passkey = ?1";
    for sql in [user, TOTALS.delete, CARRIED_FORWARD.delete] {
        connection.prepare_cached(sql)?.execute([passkey.reveal()])?;
    }
    Ok(())
}
