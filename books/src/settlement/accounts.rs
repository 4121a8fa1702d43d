//! Rows folded into a user's and a torrent's totals. Every update commutes: sums, minima, maxima, a union of
//! seconds, and a last writer chosen by `(ts, entry id)`. Sums stop at `i64::MAX` instead of wrapping.

use super::lines::Lines;
use super::spans::Spans;
use super::{Event, SettledRow};
use crate::entry::EntryId;

/// What `user_traffic` and `torrent_traffic` both hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// Bytes uploaded, before factors.
    pub raw_up: i64,
    /// Bytes downloaded, before factors.
    pub raw_down: i64,
    /// Bytes of upload that count.
    pub credited_up: i64,
    /// Bytes of download that count.
    pub credited_down: i64,
    /// Seconds seeded, each second of a torrent once however many clients seeded it.
    pub seed_seconds: i64,
    /// Seconds leeched, counted the same way.
    pub leech_seconds: i64,
    /// Unix seconds of the oldest announce; `i64::MAX` before the first one.
    pub first_seen: i64,
    /// Unix seconds of the newest announce; `i64::MIN` before the first one.
    pub last_seen: i64,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            raw_up: 0,
            raw_down: 0,
            credited_up: 0,
            credited_down: 0,
            seed_seconds: 0,
            leech_seconds: 0,
            first_seen: i64::MAX,
            last_seen: i64::MIN,
        }
    }
}

impl Sums {
    fn add_sums(&mut self, other: &Self) {
        self.raw_up = self.raw_up.saturating_add(other.raw_up);
        self.raw_down = self.raw_down.saturating_add(other.raw_down);
        self.credited_up = self.credited_up.saturating_add(other.credited_up);
        self.credited_down = self.credited_down.saturating_add(other.credited_down);
        self.seed_seconds = self.seed_seconds.saturating_add(other.seed_seconds);
        self.leech_seconds = self.leech_seconds.saturating_add(other.leech_seconds);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
    }

    fn add(&mut self, row: &SettledRow, gain: Gain) {
        self.raw_up = self.raw_up.saturating_add(row.raw_up);
        self.raw_down = self.raw_down.saturating_add(row.raw_down);
        self.credited_up = self.credited_up.saturating_add(row.credited_up);
        self.credited_down = self.credited_down.saturating_add(row.credited_down);
        self.seed_seconds = self.seed_seconds.saturating_add(gain.seed_seconds);
        self.leech_seconds = self.leech_seconds.saturating_add(gain.leech_seconds);
        self.first_seen = self.first_seen.min(row.ts);
        self.last_seen = self.last_seen.max(row.ts);
    }
}

/// What a row brought its torrent that its siblings had not brought already; the user's totals grow by the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gain {
    seed_seconds: i64,
    leech_seconds: i64,
    completed: i64,
}

/// What two accounts had both counted, so that their sum holds it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overlap {
    seed_seconds: i64,
    leech_seconds: i64,
    completed: i64,
}

impl std::ops::AddAssign for Overlap {
    fn add_assign(&mut self, other: Self) {
        self.seed_seconds = self.seed_seconds.saturating_add(other.seed_seconds);
        self.leech_seconds = self.leech_seconds.saturating_add(other.leech_seconds);
        self.completed = self.completed.saturating_add(other.completed);
    }
}

/// One user on one torrent, over all of the user's clients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TorrentAccount {
    /// The totals.
    pub sums: Sums,
    /// Bytes still wanted, as the newest announce says.
    pub left_bytes: i64,
    /// The stream entry of that newest announce; breaks ties of `last_seen`.
    pub left_entry: EntryId,
    /// Unix seconds of the first `completed`.
    pub completed_at: Option<i64>,
    /// Seconds counted in `seed_seconds`.
    pub seed_spans: Spans,
    /// Seconds counted in `leech_seconds`.
    pub leech_spans: Spans,
    /// Bytes claimed of each session; nothing for what was carried forward.
    pub lines: Lines,
}

impl TorrentAccount {
    /// Adds one settled row and says what it brought.
    pub fn add(&mut self, row: &SettledRow) -> Gain {
        if (row.ts, row.entry_id) > (self.sums.last_seen, self.left_entry) {
            self.left_bytes = row.left_bytes;
            self.left_entry = row.entry_id;
        }
        let gain = Gain {
            seed_seconds: self.seed_spans.add(row.ts - row.seed_seconds, row.ts),
            leech_seconds: self.leech_spans.add(row.ts - row.leech_seconds, row.ts),
            completed: self.complete(row),
        };
        self.sums.add(row, gain);
        gain
    }

    /// Takes over another account of the same torrent and says what both had counted.
    pub fn merge(&mut self, other: &Self) -> Overlap {
        if (other.sums.last_seen, other.left_entry) > (self.sums.last_seen, self.left_entry) {
            self.left_bytes = other.left_bytes;
            self.left_entry = other.left_entry;
        }
        self.lines.merge(&other.lines);
        let seed_seconds = self.seed_spans.merge(&other.seed_spans);
        let leech_seconds = self.leech_spans.merge(&other.leech_spans);
        let overlap = Overlap {
            seed_seconds: other.sums.seed_seconds - seed_seconds,
            leech_seconds: other.sums.leech_seconds - leech_seconds,
            completed: i64::from(self.completed_at.is_some() && other.completed_at.is_some()),
        };
        self.completed_at = [self.completed_at, other.completed_at].into_iter().flatten().min();
        self.sums.add_sums(&Sums { seed_seconds, leech_seconds, ..other.sums.clone() });
        overlap
    }

    /// 1 when this row is the first `completed` that arrives; the oldest one gives the time.
    fn complete(&mut self, row: &SettledRow) -> i64 {
        if row.event != Event::Completed {
            return 0;
        }
        let before = self.completed_at;
        self.completed_at = Some(before.map_or(row.ts, |ts| ts.min(row.ts)));
        i64::from(before.is_none())
    }
}

/// One user over all torrents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserAccount {
    /// The totals.
    pub sums: Sums,
    /// Torrents completed.
    pub completed: i64,
}

impl UserAccount {
    /// Credited upload by credited download; `None` while nothing was downloaded.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let Sums { credited_up, credited_down, .. } = self.sums;
        #[expect(clippy::cast_precision_loss, reason = "a ratio is shown with three decimals")]
        (credited_down > 0).then(|| credited_up as f64 / credited_down as f64)
    }

    /// Adds what is known of a whole torrent.
    pub fn add_torrent(&mut self, torrent: &TorrentAccount) {
        self.sums.add_sums(&torrent.sums);
        self.completed = self.completed.saturating_add(i64::from(torrent.completed_at.is_some()));
    }

    /// Adds what another account holds.
    pub fn add_user(&mut self, gain: &Self) {
        self.sums.add_sums(&gain.sums);
        self.completed = self.completed.saturating_add(gain.completed);
    }

    /// What another user gains who takes this account over. `overlap`: what the torrents of both had counted.
    #[must_use]
    pub fn without(mut self, overlap: Overlap) -> Self {
        self.sums.seed_seconds -= overlap.seed_seconds;
        self.sums.leech_seconds -= overlap.leech_seconds;
        self.completed -= overlap.completed;
        self
    }

    /// Adds a row that brought its torrent `gain`.
    pub fn add(&mut self, row: &SettledRow, gain: Gain) {
        self.sums.add(row, gain);
        self.completed = self.completed.saturating_add(gain.completed);
    }
}
