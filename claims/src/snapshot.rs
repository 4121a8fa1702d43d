//! What is kept of a session between two reports: its claims, and what a reader of its events needs to know.
//!
//! The recorder computes a snapshot from the one before it and a report; Redis only compares and keeps. It
//! goes into one field of a hash, beside fields that other programs read: so it is text (seven bits a byte,
//! or a reader that decodes UTF-8 would fail), and the usual one stays below 64 bytes.

use crate::codec::{byte, number, unsigned};
use crate::segment::{Counters, Report};
use crate::session::Session;
use crate::{DecodeError, Path};

/// The first byte: the version, and flags.
const VERSION: u8 = 0x10;
/// The first byte where only counters are known: an older tracker wrote the snapshot.
const COUNTERS: u8 = b'=';
const STOPPED: u8 = 1;
const DIGEST_BYTES: usize = 4;

/// A session as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What its paths said, and what of it is claimed.
    pub session: Session,
    /// When its first report arrived, in milliseconds: names the line on which its claims lie. Where an
    /// earlier one was booked late, the next newest report gives the line that one's name: which of them was
    /// booked first makes no difference then.
    pub born_ms: u64,
    /// When its newest report arrived.
    pub newest_ms: u64,
    /// The second that its last event was given.
    pub ts: u64,
    /// What it still wants, by its newest word; 0 is a seeder.
    pub left: u64,
    /// Whether its newest word was `stopped`.
    pub stopped: bool,
    /// A digest of the address and port that its events name.
    pub endpoint: u16,
}

/// A report with what it says of the session's state.
#[derive(Debug, Clone, Copy)]
pub struct Announced {
    /// Its bytes.
    pub report: Report,
    /// What the client still wants.
    pub left: u64,
    /// What happened.
    pub word: Word,
    /// A digest of its address and port.
    pub endpoint: u16,
    /// The second that it was given when it was computed before; 0 when it was not. It keeps that unless a
    /// later one was given meanwhile: then nobody knows whether that one is taken.
    pub ts: u64,
}

/// A report's event, as far as presence is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// `started` or nothing: the client is there.
    Present,
    /// `completed`: it has everything.
    Completed,
    /// `stopped`: it leaves.
    Stopped,
}

/// What a report becomes in the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booked {
    /// The bytes that it claims.
    pub claims: Counters,
    /// The event's second: rising within the session, unique for ever.
    pub ts: u64,
    /// Seconds since the report that arrived before it, at least one; 0 for the first and for a late one.
    pub dt: u64,
    /// What the session still wants.
    pub left: u64,
    /// Whether the report is about an earlier state than what was heard already: its word is no news.
    pub is_outdated: bool,
    /// Whether the snapshot's public fields show this report: it is not late.
    pub is_newest: bool,
}

impl Snapshot {
    /// The session's first report, which claims nothing unless its beginning is trusted
    /// (`first_started: credit`).
    #[must_use]
    pub fn first(announced: &Announced, session: Session, skew_ms: u64) -> (Self, Booked) {
        let mut session = session;
        let Announced { report, left, word, endpoint, ts } = *announced;
        let claims = session.book(&report, skew_ms);
        let ts = if ts == 0 { report.at_ms / 1000 } else { ts };
        let stopped = word == Word::Stopped;
        let (born_ms, newest_ms) = (report.at_ms, report.at_ms);
        let snapshot = Self { session, born_ms, newest_ms, ts, left, stopped, endpoint };
        (snapshot, Booked { claims, ts, dt: 0, left, is_outdated: false, is_newest: true })
    }

    /// Books one more report.
    pub fn book(&mut self, announced: &Announced, skew_ms: u64) -> Booked {
        let Announced { report, left, word, endpoint, ts } = *announced;
        let is_late = report.at_ms < self.newest_ms;
        let elsewhere = self.session.last_heard(report.path);
        let claims = self.session.book(&report, skew_ms);
        let ts = if ts > self.ts { ts } else { (report.at_ms / 1000).max(self.ts + 1) };
        let elapsed = (report.at_ms / 1000).saturating_sub(self.newest_ms / 1000);
        let dt = if is_late { 0 } else { elapsed.max(1) };
        let lags = self.lags(&report, left, elsewhere, skew_ms);
        let is_outdated = !is_late && lags;
        let left = if is_outdated { self.left } else { left };
        if !is_late {
            self.born_ms = self.born_ms.min(self.session.first_at());
            self.newest_ms = report.at_ms;
            if !is_outdated {
                (self.left, self.stopped, self.endpoint) = (left, word == Word::Stopped, endpoint);
            }
        }
        self.ts = self.ts.max(ts);
        Booked { claims, ts, dt, left, is_outdated, is_newest: !is_late && !is_outdated }
    }

    /// Whether a report that has just arrived was sent before what the client said elsewhere.
    fn lags(&self, report: &Report, left: u64, elsewhere: Option<u64>, skew_ms: u64) -> bool {
        let lately = elsewhere.is_some_and(|at| at.saturating_add(skew_ms) >= report.at_ms);
        let unfinished_again = left > 0 && self.left == 0 && !self.stopped && lately;
        self.session.is_of_an_earlier_run(report.path, skew_ms)
            || unfinished_again && !self.session.has_begun_anew(report.path)
    }

    /// One session of two that were told under two names.
    #[must_use]
    pub fn fold(self, other: Self, skew_ms: u64) -> Self {
        let (newer, older) = if self.newest_ms >= other.newest_ms { (self, other) } else { (other, self) };
        Self {
            born_ms: newer.born_ms.min(older.born_ms),
            ts: newer.ts.max(older.ts),
            session: newer.session.fold(older.session, skew_ms),
            ..newer
        }
    }

    /// All that the session has claimed since it was born.
    #[must_use]
    pub fn claimed(&self) -> Counters {
        self.session.claimed()
    }

    /// The snapshot as it is kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let first = VERSION | if self.stopped { STOPPED } else { 0 };
        let mut bytes = Vec::with_capacity(128);
        // The version comes first: by it this is told from what an older tracker wrote.
        bytes.push(first);
        bytes.extend([0; DIGEST_BYTES]);
        self.encode_bytes(&mut bytes);
        let digest = digest(first, &bytes[1 + DIGEST_BYTES..]);
        bytes[1..=DIGEST_BYTES].copy_from_slice(&digest);
        seven_bits(&bytes)
    }

    fn encode_bytes(&self, out: &mut Vec<u8>) {
        number(out, self.born_ms);
        number(out, self.newest_ms.saturating_sub(self.born_ms));
        number(out, self.ts.saturating_sub(self.newest_ms / 1000));
        number(out, self.left);
        out.extend(self.endpoint.to_le_bytes());
        self.session.encode(out);
    }

    /// Reads what [`Snapshot::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] for anything else.
    pub fn decode(text: &[u8]) -> Result<Self, DecodeError> {
        let bytes = eight_bits(text)?;
        let mut rest = &*bytes;
        let first = byte(&mut rest)?;
        let (told, mut rest) = rest.split_first_chunk().ok_or(DecodeError)?;
        if first & !STOPPED != VERSION || *told != digest(first, rest) {
            return Err(DecodeError);
        }
        let born_ms = unsigned(&mut rest)?;
        let newest_ms = born_ms.checked_add(unsigned(&mut rest)?).ok_or(DecodeError)?;
        let ts = (newest_ms / 1000).checked_add(unsigned(&mut rest)?).ok_or(DecodeError)?;
        let left = unsigned(&mut rest)?;
        let (endpoint, rest) = rest.split_first_chunk().ok_or(DecodeError)?;
        let endpoint = u16::from_le_bytes(*endpoint);
        let session = Session::decode(rest)?;
        Ok(Self { session, born_ms, newest_ms, ts, left, stopped: first & STOPPED != 0, endpoint })
    }

    /// Reads what Redis keeps of a session: what [`Snapshot::encode`] wrote or, from an older tracker,
    /// `=<uploaded> <downloaded> <ts>`.
    ///
    /// # Errors
    /// [`DecodeError`] for anything else.
    pub fn read(kept: &[u8]) -> Result<Self, DecodeError> {
        let Some((&COUNTERS, text)) = kept.split_first() else { return Self::decode(kept) };
        let text = std::str::from_utf8(text).map_err(|_| DecodeError)?;
        let mut numbers = text.split(' ').map(|number| number.parse().map_err(|_| DecodeError));
        let mut next = || numbers.next().ok_or(DecodeError)?;
        let counters = Counters { up: next()?, down: next()? };
        Ok(Self::of_counters(counters, next()?))
    }

    fn of_counters(counters: Counters, ts: u64) -> Self {
        let at_ms = ts.saturating_mul(1000);
        let report = Report { path: Path(0), at_ms, counters, started: false };
        let announced = Announced { report, left: 0, word: Word::Present, endpoint: 0, ts };
        Self::first(&announced, Session::default(), 0).0
    }
}

/// Of everything (FNV-1a): whoever compares the beginning of two snapshots compares all of them. After
/// Redis went back in time two of one session can have the same times, and differ only at their ends.
fn digest(first: u8, rest: &[u8]) -> [u8; DIGEST_BYTES] {
    let step = |digest: u32, byte: u8| (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    rest.iter().copied().fold(step(0x811c_9dc5, first), step).to_le_bytes()
}

/// Eight bytes of seven bits for seven of eight, the last ones as if zeros followed.
fn seven_bits(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() * 8 / 7 + 1);
    for some in bytes.chunks(7) {
        let mut whole = [0; 8];
        whole[1..=some.len()].copy_from_slice(some);
        text.extend_from_slice(&spread(u64::from_be_bytes(whole)).to_be_bytes()[..=some.len()]);
    }
    text
}

fn eight_bits(text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Vec::with_capacity(text.len());
    for some in text.chunks(8) {
        if some.len() < 2 || !some.is_ascii() {
            return Err(DecodeError);
        }
        let mut whole = [0; 8];
        whole[..some.len()].copy_from_slice(some);
        bytes.extend_from_slice(&gather(u64::from_be_bytes(whole)).to_be_bytes()[1..some.len()]);
    }
    Ok(bytes)
}

/// The lower half of each lane moves to its lane's end and the upper half on, until each byte has seven bits:
/// each announce comes through here, and a loop over the bits took as long as everything else about it.
const fn spread(bits: u64) -> u64 {
    let bits = (bits & 0x00ff_ffff_f000_0000) << 4 | bits & 0x0fff_ffff;
    let bits = (bits & 0x0fff_c000_0fff_c000) << 2 | bits & 0x3fff_0000_3fff;
    (bits & 0x3f80_3f80_3f80_3f80) << 1 | bits & 0x7f_007f_007f_007f
}

const fn gather(bits: u64) -> u64 {
    let bits = bits >> 1 & 0x3f80_3f80_3f80_3f80 | bits & 0x7f_007f_007f_007f;
    let bits = bits >> 2 & 0x0fff_c000_0fff_c000 | bits & 0x3fff_0000_3fff;
    bits >> 4 & 0x00ff_ffff_f000_0000 | bits & 0x0fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(path: u32, round: u64) -> Announced {
        let down = (round * 1_000_000_000).min(4_000_000_000);
        let counters = Counters { up: round * 900_000_000 + 5, down };
        let at_ms = 1_700_000_000_000 + round * 1_800_123 + u64::from(path) * 700;
        let path = Path(path * 77_777_777 + 5);
        let report = Report { path, at_ms, counters, started: round == 0 };
        Announced { report, left: 0, word: Word::Present, endpoint: 0xbeef, ts: 0 }
    }

    fn after(paths: u32, rounds: u64) -> Snapshot {
        let (mut snapshot, _) = Snapshot::first(&announced(0, 0), Session::default(), 120_000);
        for round in 0..rounds {
            for path in 0..paths {
                snapshot.book(&announced(path, round), 120_000);
            }
        }
        snapshot
    }

    #[test]
    fn the_usual_session_fits_one_compact_field_and_is_text() {
        let text = after(1, 20).encode();
        assert!(text.len() <= 64 && std::str::from_utf8(&text).is_ok(), "{} bytes", text.len());
        assert!(after(2, 20).encode().len() <= 2 * 64);
    }

    #[test]
    fn what_differs_anywhere_differs_at_its_beginning() {
        let (one, mut other) = (after(4, 20), after(4, 20));
        other.session.book(&announced(9, 3).report, 120_000);
        let (one, other) = (one.encode(), other.encode());
        assert!(one.len() > 64 && one != other && one[..8] != other[..8]);
        assert!(one[0] != b'=' && other[0] != b'=', "that is how an older tracker's begins");
    }

    #[test]
    fn every_byte_of_text_has_the_next_seven_bits() {
        let bytes: Vec<u8> = (0..40_u8).map(|byte| byte.wrapping_mul(151) ^ 0x5a).collect();
        for length in 0..bytes.len() {
            let bits = bytes[..length].iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
            let bits: Vec<u8> = bits.collect();
            let septet = |some: &[u8]| (0..7).fold(0, |all, at| all << 1 | some.get(at).unwrap_or(&0));
            // Bytes in groups of seven, so that each group begins with a byte of text.
            let text: Vec<u8> = bits.chunks(56).flat_map(|group| group.chunks(7).map(septet)).collect();
            assert_eq!(seven_bits(&bytes[..length]), text);
            assert_eq!(eight_bits(&text).as_deref(), Ok(&bytes[..length]));
        }
    }

    #[test]
    fn a_second_is_kept_unless_a_later_one_was_given_meanwhile() {
        let again = |path, round, ts| Announced { ts, ..announced(path, round) };
        let (mut snapshot, first) = Snapshot::first(&announced(0, 0), Session::default(), 120_000);
        let second = first.ts + 1000;
        assert_eq!(snapshot.book(&again(0, 1, second), 120_000).ts, second);
        assert_eq!(snapshot.book(&again(1, 0, second), 120_000).ts, second + 1, "that one may be taken");
    }

    #[test]
    fn it_reads_as_it_was_written() {
        for (paths, rounds) in [(1, 1), (1, 2), (2, 3), (3, 9), (4, 20)] {
            let snapshot = after(paths, rounds);
            assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
        }
    }

    #[test]
    fn a_line_has_the_name_of_its_earliest_report_whichever_was_booked_first() {
        let said = |path: u32, round: u64| announced(path, round);
        let (mut first, _) = Snapshot::first(&said(0, 0), Session::default(), 120_000);
        first.book(&said(1, 0), 120_000);
        first.book(&said(1, 1), 120_000);
        let (mut last, _) = Snapshot::first(&said(1, 0), Session::default(), 120_000);
        let born_ms = last.born_ms;
        last.book(&said(0, 0), 120_000);
        assert_eq!(last.born_ms, born_ms, "what is late is still on the line as it was");
        last.book(&said(1, 1), 120_000);
        assert_eq!((last.born_ms, last.claimed()), (first.born_ms, first.claimed()));
    }

    #[test]
    fn of_an_older_tracker_the_counters_are_read() {
        let read = |text: &str| Snapshot::read(text.as_bytes());
        let old = read("=10 20 1700000000").unwrap();
        assert_eq!(
            (old.newest_ms, old.ts, old.claimed()),
            (1_700_000_000_000, 1_700_000_000, Counters::default())
        );
        assert_eq!(read(&String::from_utf8(after(2, 5).encode()).unwrap()), Ok(after(2, 5)));
        for damaged in ["=", "=1 2", "=1 x 3", ""] {
            assert_eq!(read(damaged), Err(DecodeError));
        }
    }

    #[test]
    fn what_was_damaged_is_no_snapshot_and_no_panic() {
        let text = after(2, 5).encode();
        for place in 0..text.len() {
            drop(Snapshot::decode(&text[..place]));
            let mut damaged = text.clone();
            damaged[place] ^= 0x80;
            assert_eq!(Snapshot::decode(&damaged), Err(DecodeError));
        }
    }

    #[test]
    fn a_report_of_a_slow_path_does_not_make_a_seeder_leech_again() {
        let told = |path: u32, at_ms: u64, down: u64, left: u64, started: bool| {
            let report = Report { path: Path(path), at_ms, counters: Counters { up: 0, down }, started };
            Announced { report, left, word: Word::Present, endpoint: 1, ts: 0 }
        };
        let (mut snapshot, _) = Snapshot::first(&told(1, 1000, 0, 9, true), Session::default(), 120_000);
        snapshot.book(&told(1, 2000, 16 << 20, 0, false), 120_000);
        let late = snapshot.book(&told(2, 4000, 0, 9, true), 120_000);
        assert_eq!((late.left, late.is_outdated, late.claims), (0, true, Counters::default()));
        let again = snapshot.book(&told(1, 5000, 0, 9, true), 120_000);
        assert_eq!((again.left, again.is_outdated), (9, false), "its own path began anew");
    }
}
