//! The audit: every total added up again, from what was carried forward when events were pruned and from the
//! events that are left.
//!
//! The dialect shows the rows in the order of the totals' keys, so that memory holds one torrent and one user
//! at a time, and nothing is looked up.

use contract::{InfoHash, Passkey};

use super::dialect::{AccountKey, AuditedRow, Dialect};
use super::{Drift, LedgerError, Progress};
use crate::settlement::{SettledRow, Sums, TorrentAccount, UserAccount};

const PROGRESS_STEP: u64 = 10_000;

pub(super) fn verify(dialect: &mut dyn Dialect, progress: Progress<'_>) -> Result<Vec<Drift>, LedgerError> {
    let total = dialect.count_events(None, (i64::MIN, i64::MAX))?;
    let (mut audit, mut done) = (Audit::default(), 0);
    dialect.audit(&mut |row| {
        if matches!(row, AuditedRow::Event(_)) {
            done += 1;
            if done % PROGRESS_STEP == 0 || done == total {
                progress(done, total);
            }
        }
        audit.see(row);
    })?;
    let mut drifts = audit.finish();
    for (passkey, info_hash) in dialect.flags_without_events()? {
        let place = Place { table: "flagged_events", passkey, info_hash: Some(info_hash) };
        drifts.push(place.nothing_behind_it());
    }
    Ok(drifts)
}

#[derive(Default)]
struct Audit {
    drifts: Vec<Drift>,
    user: Option<(Passkey, UserAccount)>,
    torrent: Option<(AccountKey, TorrentAccount)>,
}

impl Audit {
    fn see(&mut self, row: AuditedRow) {
        match row {
            AuditedRow::Carried(key, carried) => self.begin(key, carried),
            AuditedRow::Event(row) => self.add(&row),
            AuditedRow::Torrent(key, recorded) => self.compare_torrent(key, &recorded),
            AuditedRow::User(passkey, recorded) => self.compare_user(passkey, &recorded),
        }
    }

    /// Begins a torrent with what was carried forward of it.
    fn begin(&mut self, key: AccountKey, carried: TorrentAccount) {
        self.close_others(&key);
        let (_, user) = self.user.get_or_insert_with(|| (key.0, UserAccount::default()));
        user.add_torrent(&carried);
        self.torrent = Some((key, carried));
    }

    fn add(&mut self, row: &SettledRow) {
        let key = (row.passkey, row.info_hash);
        self.close_others(&key);
        let (_, torrent) = self.torrent.get_or_insert_with(|| (key, TorrentAccount::default()));
        let (_, user) = self.user.get_or_insert_with(|| (row.passkey, UserAccount::default()));
        let gain = torrent.add(row);
        user.add(row, gain);
    }

    fn compare_torrent(&mut self, key: AccountKey, recorded: &TorrentAccount) {
        self.close_others(&key);
        let place = Place { table: "torrent_traffic", passkey: key.0, info_hash: Some(key.1) };
        let Some((_, recomputed)) = self.torrent.take() else {
            self.drifts.push(place.nothing_behind_it());
            return;
        };
        self.compare_sums(place, &recorded.sums, &recomputed.sums);
        self.compare(place, "left_bytes", &recorded.left_bytes, &recomputed.left_bytes);
        let completed = (shown(recorded.completed_at), shown(recomputed.completed_at));
        self.compare(place, "completed_at", &completed.0, &completed.1);
    }

    fn compare_user(&mut self, passkey: Passkey, recorded: &UserAccount) {
        self.close_torrent();
        self.close_user_unless(&passkey);
        let place = Place { table: "user_traffic", passkey, info_hash: None };
        let Some((_, recomputed)) = self.user.take() else {
            self.drifts.push(place.nothing_behind_it());
            return;
        };
        self.compare_sums(place, &recorded.sums, &recomputed.sums);
        self.compare(place, "completed", &recorded.completed, &recomputed.completed);
    }

    fn finish(mut self) -> Vec<Drift> {
        self.close_torrent();
        self.close_user();
        self.drifts
    }

    fn close_others(&mut self, key: &AccountKey) {
        if self.torrent.as_ref().is_some_and(|(open, _)| open != key) {
            self.close_torrent();
        }
        self.close_user_unless(&key.0);
    }

    fn close_user_unless(&mut self, passkey: &Passkey) {
        if self.user.as_ref().is_some_and(|(open, _)| open != passkey) {
            self.close_user();
        }
    }

    /// What is still open has met no total of its own.
    fn close_torrent(&mut self) {
        if let Some(((passkey, info_hash), _)) = self.torrent.take() {
            let place = Place { table: "torrent_traffic", passkey, info_hash: Some(info_hash) };
            self.drifts.push(place.drift("row", "missing", "present"));
        }
    }

    fn close_user(&mut self) {
        if let Some((passkey, _)) = self.user.take() {
            let place = Place { table: "user_traffic", passkey, info_hash: None };
            self.drifts.push(place.drift("row", "missing", "present"));
        }
    }

    fn compare_sums(&mut self, place: Place, recorded: &Sums, recomputed: &Sums) {
        for ((column, recorded), (_, recomputed)) in figures(recorded).into_iter().zip(figures(recomputed)) {
            self.compare(place, column, &recorded, &recomputed);
        }
    }

    fn compare<T: PartialEq + ToString>(
        &mut self,
        place: Place,
        column: &'static str,
        recorded: &T,
        recomputed: &T,
    ) {
        if recorded != recomputed {
            self.drifts.push(place.drift(column, &recorded.to_string(), &recomputed.to_string()));
        }
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
    fn nothing_behind_it(self) -> Drift {
        self.drift("row", "present", "nothing behind it")
    }

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
