//! What was seen of each session's line, so that no byte is credited twice and none is missed, whatever is
//! sent, lost or computed again.
//!
//! A line is all that a session has claimed since it was born; an event claims a piece of it. What is
//! credited is the growth of the union, so it depends on no order. A session whose snapshot Redis has
//! forgotten begins a new line: where its counters go on, what lies between is credited, too, and both lines
//! are one chain, on one ruler. A session that Redis has again later goes on on its old line: what was
//! claimed meanwhile lies on that, too.
//!
//! What is bounded gives in one direction: rather nothing than twice.

mod ends;
mod line;
mod seen;
mod twice;

use std::ops::Range;

use contract::{Claim, PeerId, TrafficEvent};

use self::line::{Line, Piece, Total};
pub use self::twice::Twice;
use super::varint;

/// Lines kept of a user on one torrent: each restart of some clients makes a session of its own. The chain
/// that was silent for longest is forgotten first.
const MOST_LINES: usize = 32;
/// Lines kept in a chain: each is a loss of all that Redis knew about the session.
const MOST_IN_CHAIN: usize = 6;

/// What an event brought that nobody had claimed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gain {
    /// Bytes uploaded.
    pub up: u64,
    /// Bytes downloaded.
    pub down: u64,
    /// The larger of what the chain has claimed of upload and of download.
    pub most: u64,
    /// Milliseconds in which that moved, and some more: paths differ.
    pub span_ms: u64,
}

/// The lines of one user on one torrent, by session, chain and birth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lines {
    lines: Vec<Line>,
    /// Of what was forgotten, nothing is newer.
    horizon: u64,
}

impl Lines {
    /// Claims what an event brings that nobody claimed before. An event of an older writer does not say where
    /// its bytes lie: it brings all of them.
    pub fn claim(&mut self, event: &TrafficEvent) -> Gain {
        match &event.claim {
            Some(claim) => self.take(digest(&event.peer_id), &piece_of(event, claim)),
            None => Gain { up: event.du, down: event.dd, ..Gain::default() },
        }
    }

    fn take(&mut self, session: u64, piece: &Piece) -> Gain {
        let theirs = || self.lines.iter().filter(|line| line.session == session);
        let known = theirs().find(|line| line.born == piece.born);
        let was_forgotten = known.is_none() && piece.born <= self.horizon;
        // What came after a forgotten line has taken account of all that was before it.
        if was_forgotten && (piece.at <= self.horizon || theirs().any(|line| line.born > piece.born)) {
            return Gain::default();
        }
        let chain = known.map_or_else(|| self.newest_chain(session), |line| line.chain);
        let mut before = self.total(session, chain);
        let place = self.lines.binary_search_by_key(&(session, chain, piece.born), Line::place);
        let place = place.unwrap_or_else(|place| {
            self.open(place, Line::new(session, chain, piece));
            place
        });
        if was_forgotten {
            self.lines[place].assume_seen_below(piece);
            before = self.total(session, chain);
        }
        self.lines[place].take(piece);
        let gain = self.gain_since(&before, session, chain);
        let freed = twice::release(&mut self.lines, session, piece);
        let held = twice::hold(&mut self.lines, session, piece, [gain.up, gain.down]);
        let brings = |gain: u64, which: usize| (gain - held[which]).saturating_add(freed[which]);
        let gain = Gain { up: brings(gain.up, 0), down: brings(gain.down, 1), ..gain };
        self.forget_beyond_bounds();
        gain
    }

    /// Begins a line; the first one of a chain has its debt.
    fn open(&mut self, place: usize, mut line: Line) {
        let chain = (line.session, line.chain);
        if let Some(next) = self.lines.get_mut(place).filter(|next| (next.session, next.chain) == chain) {
            line.debt = std::mem::take(&mut next.debt);
        }
        self.lines.insert(place, line);
    }

    /// The growth of a chain, less what its total had fallen by: which only reports bring about that nobody
    /// can reconcile.
    fn gain_since(&mut self, before: &Total, session: u64, chain: u64) -> Gain {
        let after = self.total(session, chain);
        let first = self.chain(session, chain).start;
        let debt = &mut self.lines[first].debt;
        let [up, down] = std::array::from_fn(|which| {
            let owed = debt[which].saturating_add(before.bytes[which]);
            debt[which] = owed.saturating_sub(after.bytes[which]);
            after.bytes[which].saturating_sub(owed)
        });
        Gain { up, down, most: after.bytes[0].max(after.bytes[1]), span_ms: after.span_ms }
    }

    fn total(&self, session: u64, chain: u64) -> Total {
        Total::of(&self.lines[self.chain(session, chain)])
    }

    fn chain(&self, session: u64, chain: u64) -> Range<usize> {
        let place = |line: &Line| (line.session, line.chain);
        let start = self.lines.partition_point(|line| place(line) < (session, chain));
        start..self.lines.partition_point(|line| place(line) <= (session, chain))
    }

    /// The chain of a session that was heard of last; a new line follows on that.
    fn newest_chain(&self, session: u64) -> u64 {
        let theirs = self.lines.iter().filter(|line| line.session == session);
        theirs.max_by_key(|line| line.until).map_or(0, |line| line.chain)
    }

    /// Forgets sessions that were not heard of since `ms`: nothing as old can be delivered any more.
    pub fn forget_silent_since(&mut self, ms: u64) {
        while let Some(oldest) = self.most_silent().filter(|(until, _)| *until < ms) {
            self.forget(oldest);
        }
    }

    fn forget_beyond_bounds(&mut self) {
        let place = |line: &Line| (line.session, line.chain);
        let mut chains = self.lines.chunk_by(|a, b| place(a) == place(b));
        if let Some(long) = chains.find(|chain| chain.len() > MOST_IN_CHAIN) {
            let first = self.chain(long[0].session, long[0].chain).start;
            let forgotten = self.lines.remove(first);
            let next = &mut self.lines[first];
            next.debt = forgotten.debt;
            // The gap between the two is counted, whatever comes of it later.
            self.horizon = self.horizon.max(forgotten.until).max(next.born.saturating_sub(1));
        }
        while self.lines.len() > MOST_LINES {
            let Some(oldest) = self.most_silent() else { return };
            self.forget(oldest);
        }
    }

    /// Until when it was heard of, and which it is.
    fn most_silent(&self) -> Option<(u64, (u64, u64))> {
        let place = |line: &Line| (line.session, line.chain);
        let chains = self.lines.chunk_by(|a, b| place(a) == place(b));
        let until = |chain: &[Line]| chain.iter().map(|line| line.until).max().unwrap_or_default();
        chains.map(|chain| (until(chain), place(&chain[0]))).min()
    }

    fn forget(&mut self, (until, (session, chain)): (u64, (u64, u64))) {
        self.horizon = self.horizon.max(until);
        self.lines.drain(self.chain(session, chain));
    }

    /// Takes over the lines of another account. A session that both have has chains beside each other: none
    /// of them follows on the other.
    pub fn merge(&mut self, other: &Self) {
        self.horizon = self.horizon.max(other.horizon);
        let own = self.lines.clone();
        for line in &other.lines {
            let mut theirs = self.lines.iter_mut().filter(|known| known.session == line.session);
            if let Some(known) = theirs.find(|known| known.born == line.born) {
                known.merge(line);
                continue;
            }
            let theirs = own.iter().filter(|known| known.session == line.session);
            let free = theirs.map(|known| known.chain + 1).max().unwrap_or_default();
            let mut line = line.clone();
            line.chain += free;
            let place = self.lines.partition_point(|known| known.place() < line.place());
            self.lines.insert(place, line);
        }
        while self.lines.len() > MOST_LINES {
            let Some(oldest) = self.most_silent() else { return };
            self.forget(oldest);
        }
    }

    /// Takes over the lines of the same torrent's other name and says what both names had claimed of a
    /// session, which is to be given back.
    pub fn merge_twins(&mut self, other: &Self) -> Vec<Twice> {
        let twice = twice::between(&self.lines, &other.lines);
        let mut other = other.clone();
        other.lines.iter_mut().for_each(|line| line.is_second = true);
        self.merge(&other);
        twice.iter().for_each(|twice| twice.withhold(&mut self.lines));
        twice
    }

    /// What the ledger keeps.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.lines.is_empty() && self.horizon == 0 {
            return Vec::new();
        }
        let mut bytes = Vec::with_capacity(8 + self.lines.len() * 64);
        varint::write(&mut bytes, self.horizon);
        self.lines.iter().for_each(|line| line.write(&mut bytes));
        bytes
    }

    /// Reads what the ledger keeps; `None` when it is damaged.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let mut lines = Self { lines: Vec::new(), horizon: varint::read(&mut bytes)? };
        while !bytes.is_empty() {
            lines.lines.push(Line::read(&mut bytes)?);
        }
        Some(lines)
    }
}

/// Late reports do not say since when their bytes moved: since the line's birth, or an interval ago.
fn piece_of(event: &TrafficEvent, claim: &Claim) -> Piece {
    let cover_ms = 1000 * if event.dt == 0 { u64::from(event.interval) } else { event.dt.min(1 << 40) };
    let from = if event.dt == 0 { claim.at_ms.min(claim.born_ms) } else { claim.at_ms };
    Piece {
        at: claim.at_ms,
        born: claim.born_ms,
        from: [claim.tu.saturating_sub(event.du), claim.td.saturating_sub(event.dd)],
        to: [claim.tu, claim.td],
        counters: [claim.up, claim.down],
        since: from.saturating_sub(cover_ms),
    }
}

/// FNV-1a: who makes two of his own clients look like one only harms himself.
fn digest(peer_id: &PeerId) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    peer_id.0.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
