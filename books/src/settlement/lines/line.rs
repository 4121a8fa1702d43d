//! One line: what was seen of it, and where the client's counters stood at its beginning and its end.

use super::super::varint;
use super::ends::{Ends, Reading, SKEW_MS};
use super::seen::{Seen, union_of};

/// What one event claims of a line: of upload and download, in this order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) at: u64,
    pub(super) born: u64,
    pub(super) from: [u64; 2],
    pub(super) to: [u64; 2],
    pub(super) counters: [u64; 2],
    /// When the first of its bytes may have moved.
    pub(super) since: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// A digest of the client's peer id.
    pub(super) session: u64,
    /// Lines of one session that follow each other have the same number.
    pub(super) chain: u64,
    pub(super) born: u64,
    seen: [Seen; 2],
    /// What reports from before the baseline have claimed: the line before this one has that already.
    early: [Seen; 2],
    /// The counters of the baseline, once it was heard.
    pub(super) base: Option<[u64; 2]>,
    /// How low the baseline's run began, as far as is known.
    lowest: Option<[u64; 2]>,
    /// How far it came, and its counters then.
    reached: [u64; 2],
    pub(super) ends: Ends,
    pub(super) since: u64,
    pub(super) until: u64,
    /// By how much the total has fallen since it was credited. The first line of a chain has it.
    pub(super) debt: [u64; 2],
    /// What was given back of the session, because it had been claimed under two names.
    pub(super) withheld: [u64; 2],
    /// What of `seen` was claimed under both names: the recorder goes on from the sum of both.
    pub(super) doubled: [u64; 2],
    /// It was claimed under a torrent's second name.
    pub(super) is_second: bool,
}

impl Line {
    pub(super) fn new(session: u64, chain: u64, piece: &Piece) -> Self {
        Self {
            session,
            chain,
            born: piece.born,
            seen: <[Seen; 2]>::default(),
            early: <[Seen; 2]>::default(),
            base: None,
            lowest: None,
            reached: [0; 2],
            ends: Ends::default(),
            since: piece.born,
            until: 0,
            debt: [0; 2],
            withheld: [0; 2],
            doubled: [0; 2],
            is_second: false,
        }
    }

    pub(super) fn place(&self) -> (u64, u64, u64) {
        (self.session, self.chain, self.born)
    }

    /// Takes all below a piece for seen: what the line had was forgotten.
    pub(super) fn assume_seen_below(&mut self, piece: &Piece) {
        (0..2).for_each(|which| self.seen[which].mark(0, piece.from[which]));
    }

    pub(super) fn take(&mut self, piece: &Piece) {
        for which in 0..2 {
            let is_early = piece.at < self.born || self.lowers(piece, which);
            let part = if is_early { &mut self.early } else { &mut self.seen };
            part[which].mark(piece.from[which], piece.to[which]);
        }
        if piece.at == piece.born {
            let before = |which: usize| piece.counters[which].saturating_sub(piece.to[which]);
            self.base = Some([before(0), before(1)]);
            self.lowest = self.lowest.or(self.base);
        }
        (0..2).for_each(|which| self.reached[which] = self.reached[which].max(piece.to[which]));
        self.ends.add(Reading { at: piece.at, counters: piece.counters });
        self.since = self.since.min(piece.since);
        self.until = self.until.max(piece.at);
    }

    /// A slower path, or one that did not say `completed` a little high, brings what the baseline's run had
    /// counted before: the line before this one has it already.
    fn lowers(&mut self, piece: &Piece, which: usize) -> bool {
        let (from, to, counter) = (piece.from[which], piece.to[which], piece.counters[which]);
        let Some(lowest) = self.lowest.as_mut().filter(|_| from < to) else { return false };
        if counter.saturating_add(to - from) == lowest[which] {
            lowest[which] = counter;
            return true;
        }
        self.early[which].holds(from, to)
    }

    /// The furthest place that was seen: so much the session had moved then, whatever was claimed twice.
    pub(super) fn furthest(&self, which: usize) -> u64 {
        self.seen[which].pieces().map(|(_, to)| to).max().unwrap_or_default()
    }

    /// Whether the next one was born while this one went on: a Redis that had lost this one began it. Once
    /// all is booked again, it goes on under this one's name, with what both have claimed.
    fn overlaps(&self, next: &Self) -> bool {
        self.until >= next.born
    }

    /// The bytes that moved between this line and the next one, which begins where Redis had forgotten the
    /// session: none unless both counters go on.
    fn gap_to(&self, next: &Self) -> [u64; 2] {
        match (self.ends.highest(), next.base) {
            (Some(end), Some(base)) if (0..2).all(|which| base[which] >= end[which]) => {
                [base[0] - end[0], base[1] - end[1]]
            }
            _ => [0; 2],
        }
    }

    /// Another ledger account's part of the same line.
    pub(super) fn merge(&mut self, other: &Self) {
        for which in 0..2 {
            let sum = self.seen[which].len().saturating_add(other.seen[which].len());
            self.seen[which].merge(&other.seen[which]);
            let doubled = sum.saturating_sub(self.seen[which].len()).saturating_add(other.doubled[which]);
            self.doubled[which] = self.doubled[which].saturating_add(doubled);
            self.early[which].merge(&other.early[which]);
            self.reached[which] = self.reached[which].max(other.reached[which]);
            self.debt[which] = self.debt[which].saturating_add(other.debt[which]);
            self.withheld[which] = self.withheld[which].saturating_add(other.withheld[which]);
        }
        self.is_second |= other.is_second;
        self.base = self.base.or(other.base);
        let lower = |a: [u64; 2], b: [u64; 2]| [a[0].min(b[0]), a[1].min(b[1])];
        self.lowest = match (self.lowest, other.lowest) {
            (Some(own), Some(theirs)) => Some(lower(own, theirs)),
            (own, theirs) => own.or(theirs),
        };
        self.ends.merge(&other.ends);
        self.since = self.since.min(other.since);
        self.until = self.until.max(other.until);
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.session.to_le_bytes());
        varint::write(bytes, self.chain);
        varint::write(bytes, self.born);
        varint::write_from(bytes, self.born, self.since);
        varint::write_from(bytes, self.born, self.until);
        let base = self.base.unwrap_or_default();
        let is_doubled = self.doubled != [0; 2];
        let is_second = u64::from(self.is_second) << 2;
        let lowest = self.lowest.filter(|lowest| *lowest != base);
        let flags = u64::from(is_doubled) << 1 | is_second | u64::from(lowest.is_some()) << 3;
        varint::write(bytes, u64::from(self.base.is_some()) | flags);
        lowest.into_iter().flatten().for_each(|lowest| varint::write(bytes, lowest));
        if is_doubled {
            self.doubled.iter().for_each(|doubled| varint::write(bytes, *doubled));
        }
        for (which, base) in base.into_iter().enumerate() {
            varint::write(bytes, base);
            self.seen[which].write(bytes);
            self.early[which].write(bytes);
            varint::write_from(bytes, self.seen[which].upto, self.reached[which]);
            varint::write(bytes, self.debt[which]);
            varint::write(bytes, self.withheld[which]);
        }
        self.ends.write(bytes, self.expected_end(base));
    }

    pub(super) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (session, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        let (chain, born) = (varint::read(bytes)?, varint::read(bytes)?);
        let piece = Piece { at: born, born, from: [0; 2], to: [0; 2], counters: [0; 2], since: born };
        let mut line = Self::new(u64::from_le_bytes(*session), chain, &piece);
        line.since = varint::read_from(bytes, born)?;
        line.until = varint::read_from(bytes, born)?;
        let known = varint::read(bytes)?;
        let knows_base = known & 1 == 1;
        line.is_second = known & 4 == 4;
        if known & 8 == 8 {
            line.lowest = Some([varint::read(bytes)?, varint::read(bytes)?]);
        }
        if known & 2 == 2 {
            line.doubled = [varint::read(bytes)?, varint::read(bytes)?];
        }
        let mut base = [0; 2];
        for (which, base) in base.iter_mut().enumerate() {
            *base = varint::read(bytes)?;
            line.seen[which] = Seen::read(bytes)?;
            line.early[which] = Seen::read(bytes)?;
            line.reached[which] = varint::read_from(bytes, line.seen[which].upto)?;
            line.debt[which] = varint::read(bytes)?;
            line.withheld[which] = varint::read(bytes)?;
        }
        line.base = knows_base.then_some(base);
        line.lowest = line.lowest.or(line.base);
        line.ends = Ends::read(bytes, line.expected_end(base))?;
        Some(line)
    }

    /// Nearly always the counters have grown by what was claimed.
    fn expected_end(&self, base: [u64; 2]) -> Reading {
        let counters = std::array::from_fn(|which| base[which].wrapping_add(self.reached[which]));
        Reading { at: self.until, counters }
    }
}

/// What a chain's lines have claimed together, and over which milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Total {
    pub(super) bytes: [u64; 2],
    pub(super) span_ms: u64,
}

impl Total {
    pub(super) fn of(chain: &[Line]) -> Self {
        let since = chain.iter().map(|line| line.since).min().unwrap_or_default();
        let until = chain.iter().map(|line| line.until).max().unwrap_or_default();
        let bytes = std::array::from_fn(|which| claimed_by(chain, which));
        Self { bytes, span_ms: until.saturating_sub(since).saturating_add(SKEW_MS) }
    }
}

/// All lines of a chain on one ruler: each begins where the one before it had got to, with the gap between
/// them; those whose times overlap begin at one place. A Redis that went back to an older line claims the
/// same places again.
fn claimed_by(chain: &[Line], which: usize) -> u64 {
    match chain {
        [] => 0,
        [line] if line.early[which].len() == 0 => line.seen[which].len(),
        _ => union_of(pieces_of(chain, which)),
    }
}

fn pieces_of(chain: &[Line], which: usize) -> Vec<(u64, u64)> {
    let (mut pieces, mut start, mut last) = (Vec::new(), 0_u64, None::<&Line>);
    for line in chain {
        let overlaps = last.is_none_or(|last| last.overlaps(line));
        if let Some(last) = last.filter(|_| !overlaps) {
            let end = start.saturating_add(last.reached[which]);
            start = end.saturating_add(last.gap_to(line)[which]);
            pieces.push((end, start));
        }
        let early = line.early[which].pieces().filter(|_| overlaps);
        let on_ruler = |(from, to): (u64, u64)| (start.saturating_add(from), start.saturating_add(to));
        pieces.extend(line.seen[which].pieces().chain(early).map(on_ruler));
        last = last.filter(|last| overlaps && last.until > line.until).or(Some(line));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(at: u64, born: u64, (from, to): (u64, u64), counter: u64) -> Piece {
        Piece { at, born, from: [from, 0], to: [to, 0], counters: [counter, 0], since: at }
    }

    #[test]
    fn what_a_slow_path_says_of_the_time_before_a_new_baseline_the_line_before_has() {
        let baselines = [piece(1000, 1000, (0, 0), 0), piece(9000, 9000, (0, 0), 500)];
        let [old, mut new] = baselines.map(|baseline| {
            let mut line = Line::new(1, 0, &baseline);
            line.take(&baseline);
            line
        });
        for _ in 0..2 {
            new.take(&piece(9500, 9000, (0, 100), 400));
            new.take(&piece(9600, 9000, (100, 110), 390));
            new.take(&piece(9900, 9000, (110, 160), 550));
        }
        assert_eq!(Total::of(&[old, new.clone()]).bytes[0], 550);
        assert_eq!(Total::of(std::slice::from_ref(&new)).bytes[0], 160, "there is none before it");
        let mut bytes = Vec::new();
        new.write(&mut bytes);
        assert_eq!(Line::read(&mut &*bytes), Some(new));
    }
}
