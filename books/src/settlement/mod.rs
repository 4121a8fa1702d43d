//! The credit for one traffic event: pure arithmetic over the event, the promotions and the rules.
//!
//! Nothing here depends on other events, so rows may be settled in any order and on any consumer. What does
//! depend on several events (bytes claimed once, time earned once, the first completion) is folded
//! commutatively in [`TorrentAccount`].

mod accounts;
mod flags;
mod lines;
mod promotions;
mod spans;
mod varint;

use contract::{Event, InfoHash, Passkey, PeerId, TrafficEvent};

pub use accounts::{Gain, Overlap, Sums, TorrentAccount, UserAccount};
pub use flags::{Flag, FlagReason};
pub use lines::{Gain as Claimed, Lines, Twice};
pub use promotions::{Factors, Promotion, PromotionError, Promotions, Scope};
pub use spans::Spans;

use crate::entry::EntryId;

/// The largest count of bytes that a Redis script can carry exactly (its numbers are doubles). More is no
/// real delta.
pub const MAX_EXACT_BYTES: u64 = (1 << 53) - 1;

/// What an operator may set about settling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Bytes per second and direction above which an event is flagged and credited nothing; 0 switches this
    /// off.
    pub max_rate_bytes_per_s: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { max_rate_bytes_per_s: 1_250_000_000 }
    }
}

/// One settled event: a row of `settled_events`, and of `flagged_events` when it carries a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledRow {
    /// Unix seconds of the announce. With the next three, the key that is unique for ever.
    pub ts: i64,
    /// The user, by canonical passkey.
    pub passkey: Passkey,
    /// The torrent, by canonical info hash.
    pub info_hash: InfoHash,
    /// The client that announced.
    pub peer_id: PeerId,
    /// Where the stream held it.
    pub entry_id: EntryId,
    /// Bytes uploaded, before factors.
    pub raw_up: i64,
    /// Bytes downloaded, before factors.
    pub raw_down: i64,
    /// Bytes of upload that count.
    pub credited_up: i64,
    /// Bytes of download that count.
    pub credited_down: i64,
    /// Seconds before `ts` that this session claims as seeding, whatever its siblings claim.
    pub seed_seconds: i64,
    /// Seconds before `ts` that this session claims as leeching.
    pub leech_seconds: i64,
    /// What the client said happened.
    pub event: Event,
    /// Bytes the client still wanted.
    pub left_bytes: i64,
    /// The promotion that gave the upload factor.
    pub promotion_id: Option<i64>,
    /// The promotion that gave the download factor, when it was another one.
    pub down_promotion_id: Option<i64>,
    /// Film id of the credential.
    pub fd: Option<String>,
    /// Playlist id of the credential.
    pub pd: Option<String>,
    /// Why the event was credited nothing.
    pub flag: Option<Flag>,
    /// The passkey that the stream entry named, where it was rotated since.
    pub announced_as: Option<Passkey>,
}

/// What is unique for ever: one client announces one torrent once in a second. In the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey {
    /// Unix seconds of the announce.
    pub ts: i64,
    /// The user, by canonical passkey.
    pub passkey: Passkey,
    /// The torrent, by canonical info hash.
    pub info_hash: InfoHash,
    /// The client that announced.
    pub peer_id: PeerId,
}

impl SettledRow {
    /// The row's place in the table.
    #[must_use]
    pub fn key(&self) -> EventKey {
        EventKey { ts: self.ts, passkey: self.passkey, info_hash: self.info_hash, peer_id: self.peer_id }
    }

    /// Adds another event of the same client, torrent and second: bytes add up, time is claimed once, the
    /// newer entry says how things stand.
    pub fn fold(&mut self, other: &Self) {
        self.raw_up = self.raw_up.saturating_add(other.raw_up);
        self.raw_down = self.raw_down.saturating_add(other.raw_down);
        self.credited_up = self.credited_up.saturating_add(other.credited_up);
        self.credited_down = self.credited_down.saturating_add(other.credited_down);
        self.seed_seconds = self.seed_seconds.max(other.seed_seconds);
        self.leech_seconds = self.leech_seconds.max(other.leech_seconds);
        let newer = if other.entry_id > self.entry_id { other } else { &*self };
        let (entry_id, left_bytes, event) = (newer.entry_id, newer.left_bytes, newer.event);
        let completed = self.event == Event::Completed || other.event == Event::Completed;
        self.event = if completed { Event::Completed } else { event };
        (self.entry_id, self.left_bytes) = (entry_id, left_bytes);
    }
}

/// Settles one event by itself: raw bytes, factors, credit, claimed time, flag.
#[must_use]
pub fn settle(entry_id: EntryId, event: &TrafficEvent, promotions: &Promotions, rules: &Rules) -> SettledRow {
    settle_claimed(entry_id, event, |event| Lines::default().claim(event), promotions, rules)
}

/// Settles what `claim` says that an event brings, which is asked unless its figures are absurd.
#[must_use]
pub fn settle_claimed(
    entry_id: EntryId,
    event: &TrafficEvent,
    claim: impl FnOnce(&TrafficEvent) -> Claimed,
    promotions: &Promotions,
    rules: &Rules,
) -> SettledRow {
    let absurd = flags::overflow(event);
    let claimed = if absurd.is_none() { claim(event) } else { Claimed::default() };
    let flag = absurd.or_else(|| flags::speed(event, &claimed, rules));
    let (raw_up, raw_down) = (clamped(claimed.up), clamped(claimed.down));
    let factors = promotions.factors(event);
    let credit = |raw: i64, milli: i64| if flag.is_some() { 0 } else { credit(raw, milli) };
    let (seed_seconds, leech_seconds) = claimed_seconds(event);
    SettledRow {
        ts: clamped(event.ts),
        passkey: event.passkey,
        info_hash: event.info_hash,
        peer_id: event.peer_id,
        entry_id,
        raw_up,
        raw_down,
        credited_up: credit(raw_up, factors.up_milli),
        credited_down: credit(raw_down, factors.down_milli),
        seed_seconds,
        leech_seconds,
        event: event.event,
        // A client that has only a magnet link says u64::MAX: it wants everything, which is no cheat.
        left_bytes: clamped(event.left),
        promotion_id: factors.promotion_id,
        down_promotion_id: factors.down_promotion_id,
        fd: event.fd.clone(),
        pd: event.pd.clone(),
        flag,
        announced_as: None,
    }
}

/// `raw * milli / 1000` in 128 bits, rounded down, at most `i64::MAX`.
fn credit(raw: i64, milli: i64) -> i64 {
    i64::try_from(i128::from(raw) * i128::from(milli) / 1000).unwrap_or(i64::MAX)
}

fn clamped(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

/// Seconds this event claims as (seeding, leeching): the time since the last announce, at most two intervals
/// of it, so that a client that was away is not paid for the gap.
fn claimed_seconds(event: &TrafficEvent) -> (i64, i64) {
    let seconds = clamped(event.dt.min(2 * u64::from(event.interval)).min(event.ts));
    match (event.event, event.left) {
        (Event::Started, _) => (0, 0),
        // Until this very announce the client was still downloading.
        (Event::Completed, _) => (0, seconds),
        (Event::None | Event::Stopped, 0) => (seconds, 0),
        (Event::None | Event::Stopped, _) => (0, seconds),
    }
}

#[cfg(test)]
mod tests;
