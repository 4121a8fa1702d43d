//! The audit: every total added up again, from what was carried forward when events were pruned and from the
//! events that are left.
//!
//! Both are read in the order of the totals' keys, so that memory holds one torrent and one user at a time.

use contract::{InfoHash, Passkey};
use rusqlite::Connection;

use super::super::{Drift, Progress};
use super::rows;
use crate::settlement::{SettledRow, Sums, TorrentAccount, UserAccount};

const PROGRESS_STEP: u64 = 10_000;

pub(super) fn verify(connection: &Connection, progress: Progress<'_>) -> rusqlite::Result<Vec<Drift>> {
    let total =
        connection.query_row("SELECT count(*) FROM settled_events", [], |row| row.get::<_, i64>(0))?;
    let total = total.unsigned_abs();
    let mut audit = Audit { connection, drifts: Vec::new(), user: None, torrent: None };
    let sql = format!(
        "SELECT {} FROM {} ORDER BY e.passkey, e.infohash, e.ts",
        rows::EVENT_COLUMNS,
        rows::EVENTS_WITH_FLAGS
    );
    let mut carried_keys = connection.prepare(CARRIED_KEYS)?;
    let mut carried =
        carried_keys.query_map([], |row| Ok((rows::passkey(row, 0)?, InfoHash(row.get(1)?))))?;
    let mut next_carried = carried.next().transpose()?;
    let mut statement = connection.prepare(&sql)?;
    for (done, row) in (1..).zip(statement.query_map([], rows::event_of)?) {
        let row = row?;
        while let Some(key) = next_carried.filter(|key| ordered(key) <= (row.passkey.reveal(), row.info_hash))
        {
            audit.open_torrent(key)?;
            next_carried = carried.next().transpose()?;
        }
        audit.add(&row)?;
        if done % PROGRESS_STEP == 0 || done == total {
            progress(done, total);
        }
    }
    while let Some(key) = next_carried {
        audit.open_torrent(key)?;
        next_carried = carried.next().transpose()?;
    }
    audit.close_torrent()?;
    audit.close_user()?;
    audit.rows_without_events()?;
    Ok(audit.drifts)
}

const CARRIED_KEYS: &str = "SELECT passkey, infohash FROM carried_forward ORDER BY passkey, infohash";

/// The order in which the database sorts keys.
fn ordered((passkey, info_hash): &(Passkey, InfoHash)) -> (&str, InfoHash) {
    (passkey.reveal(), *info_hash)
}

struct Audit<'a> {
    connection: &'a Connection,
    drifts: Vec<Drift>,
    user: Option<(Passkey, UserAccount)>,
    torrent: Option<((Passkey, InfoHash), TorrentAccount)>,
}

impl Audit<'_> {
    fn add(&mut self, row: &SettledRow) -> rusqlite::Result<()> {
        let key = (row.passkey, row.info_hash);
        self.close_others(&key)?;
        let (_, torrent) = self.torrent.get_or_insert_with(|| (key, TorrentAccount::default()));
        let (_, user) = self.user.get_or_insert_with(|| (row.passkey, UserAccount::default()));
        let gain = torrent.add(row);
        user.add(row, gain);
        Ok(())
    }

    /// Begins a torrent with what was carried forward of it.
    fn open_torrent(&mut self, key: (Passkey, InfoHash)) -> rusqlite::Result<()> {
        self.close_others(&key)?;
        let carried = rows::Accounts::carried(self.connection)?.load(&key.0, &key.1)?.unwrap_or_default();
        let (_, user) = self.user.get_or_insert_with(|| (key.0, UserAccount::default()));
        user.add_torrent(&carried);
        self.torrent = Some((key, carried));
        Ok(())
    }

    fn close_others(&mut self, key: &(Passkey, InfoHash)) -> rusqlite::Result<()> {
        if self.torrent.as_ref().is_some_and(|(open, _)| open != key) {
            self.close_torrent()?;
        }
        if self.user.as_ref().is_some_and(|(open, _)| *open != key.0) {
            self.close_user()?;
        }
        Ok(())
    }

    fn close_torrent(&mut self) -> rusqlite::Result<()> {
        let Some(((passkey, info_hash), recomputed)) = self.torrent.take() else { return Ok(()) };
        let row = Place { table: "torrent_traffic", passkey, info_hash: Some(info_hash) };
        let Some(recorded) = rows::Accounts::torrents(self.connection)?.load(&passkey, &info_hash)? else {
            self.drifts.push(row.drift("row", "missing", "present"));
            return Ok(());
        };
        self.compare_sums(row, &recorded.sums, &recomputed.sums);
        self.compare(row, "left_bytes", &recorded.left_bytes, &recomputed.left_bytes);
        self.compare(row, "completed_at", &shown(recorded.completed_at), &shown(recomputed.completed_at));
        Ok(())
    }

    fn close_user(&mut self) -> rusqlite::Result<()> {
        let Some((passkey, recomputed)) = self.user.take() else { return Ok(()) };
        let row = Place { table: "user_traffic", passkey, info_hash: None };
        let Some(recorded) = rows::load_user(self.connection, &passkey)? else {
            self.drifts.push(row.drift("row", "missing", "present"));
            return Ok(());
        };
        self.compare_sums(row, &recorded.sums, &recomputed.sums);
        self.compare(row, "completed", &recorded.completed, &recomputed.completed);
        Ok(())
    }

    fn compare_sums(&mut self, row: Place, recorded: &Sums, recomputed: &Sums) {
        for ((column, recorded), (_, recomputed)) in figures(recorded).into_iter().zip(figures(recomputed)) {
            self.compare(row, column, &recorded, &recomputed);
        }
    }

    fn compare<T: PartialEq + ToString>(
        &mut self,
        row: Place,
        column: &'static str,
        recorded: &T,
        recomputed: &T,
    ) {
        if recorded != recomputed {
            self.drifts.push(row.drift(column, &recorded.to_string(), &recomputed.to_string()));
        }
    }

    /// Totals and flags with nothing behind them.
    fn rows_without_events(&mut self) -> rusqlite::Result<()> {
        for (table, sql) in [
            (
                "torrent_traffic",
                "SELECT passkey, infohash FROM torrent_traffic EXCEPT SELECT passkey, infohash FROM settled_events
                 EXCEPT SELECT passkey, infohash FROM carried_forward",
            ),
            (
                "user_traffic",
                "SELECT passkey, NULL FROM user_traffic EXCEPT SELECT passkey, NULL FROM settled_events
                 EXCEPT SELECT passkey, NULL FROM carried_forward",
            ),
            (
                "flagged_events",
                "SELECT passkey, infohash FROM flagged_events f WHERE NOT EXISTS (SELECT 1 FROM settled_events e
                 WHERE e.ts = f.ts AND e.passkey = f.passkey AND e.infohash = f.infohash AND e.peer_id = f.peer_id)",
            ),
        ] {
            let mut statement = self.connection.prepare(sql)?;
            let places = statement.query_map([], |row| {
                let info_hash = row.get::<_, Option<[u8; 20]>>(1)?.map(InfoHash);
                Ok(Place { table, passkey: rows::passkey(row, 0)?, info_hash })
            })?;
            for place in places {
                self.drifts.push(place?.drift("row", "present", "nothing behind it"));
            }
        }
        Ok(())
    }
}

fn figures(sums: &Sums) -> [(&'static str, i64); 8] {
    [
        ("raw_up", sums.raw_up),
        ("raw_down", sums.raw_down),
        ("credited_up", sums.credited_up),
        ("credited_down", sums.credited_down),
        ("seed_seconds", sums.seed_seconds),
        ("leech_seconds", sums.leech_seconds),
        ("first_seen", sums.first_seen),
        ("last_seen", sums.last_seen),
    ]
}

#[derive(Clone, Copy)]
struct Place {
    table: &'static str,
    passkey: Passkey,
    info_hash: Option<InfoHash>,
}

impl Place {
    fn drift(self, column: &'static str, recorded: &str, recomputed: &str) -> Drift {
        Drift {
            table: self.table,
            passkey: self.passkey,
            info_hash: self.info_hash,
            column,
            recorded: recorded.to_owned(),
            recomputed: recomputed.to_owned(),
        }
    }
}

fn shown(time: Option<i64>) -> String {
    time.map_or_else(|| "never".to_owned(), |ts| ts.to_string())
}
