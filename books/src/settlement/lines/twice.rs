//! Bytes that a client claimed under both names of a hybrid torrent, before anybody said that they are one.
//!
//! Both names' sessions hear the same counters, so what they claimed overlaps: the ledger gives back all but
//! what certainly moved. The recorder, whose readers cannot be given back anything, claims nothing until the
//! truth has caught up with what both had claimed: as it does, what was given back is credited again.

use contract::PeerId;

use super::digest;
use super::line::{Line, Piece, Total};

/// What two names of a torrent had both claimed of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twice {
    session: u64,
    /// Bytes of upload and of download.
    pub bytes: [u64; 2],
}

impl Twice {
    /// Whether it is this client's.
    #[must_use]
    pub fn is_of(&self, peer_id: &PeerId) -> bool {
        self.session == digest(peer_id)
    }

    pub(super) fn withhold(&self, lines: &mut [Line]) {
        if let Some(line) = lines.iter_mut().find(|line| line.session == self.session) {
            for (withheld, bytes) in line.withheld.iter_mut().zip(self.bytes) {
                *withheld = withheld.saturating_add(bytes);
            }
        }
    }
}

/// For each session that both have: the two sums less what certainly moved, if they were heard of at the same
/// time.
pub(super) fn between(own: &[Line], other: &[Line]) -> Vec<Twice> {
    let sessions = own.chunk_by(|a, b| a.session == b.session);
    let both = sessions.filter_map(|own| {
        let theirs: Vec<Line> = other.iter().filter(|line| line.session == own[0].session).cloned().collect();
        let bytes = claimed_twice(own, &theirs)?;
        Some(Twice { session: own[0].session, bytes })
    });
    both.filter(|twice| twice.bytes != [0; 2]).collect()
}

fn claimed_twice(own: &[Line], other: &[Line]) -> Option<[u64; 2]> {
    let span = |lines: &[Line]| {
        let (born, until) = (lines.iter().map(|line| line.born), lines.iter().map(|line| line.until));
        Some((born.min()?, until.max()?))
    };
    let ((own_born, own_until), (other_born, other_until)) = (span(own)?, span(other)?);
    if own_until < other_born || other_until < own_born {
        return None;
    }
    let all: Vec<&Line> = own.iter().chain(other).collect();
    let (own, other) = (sum_of(own), sum_of(other));
    let twice = |which: usize| {
        let highest = all.iter().filter_map(|line| line.ends.highest()).map(|end| end[which]).max();
        let moved = grown_to(highest.unwrap_or_default(), &all, which);
        let furthest = all.iter().map(|line| line.furthest(which)).max().unwrap_or_default();
        let certain = own[which].max(other[which]).max(moved).max(furthest);
        own[which].saturating_add(other[which]).saturating_sub(certain)
    };
    Some([twice(0), twice(1)])
}

/// What certainly moved when a counter stands here: it grew from its baseline, or from nothing in a later
/// run.
fn grown_to(counter: u64, lines: &[&Line], which: usize) -> u64 {
    let baseline = lines.iter().filter_map(|line| line.base).map(|base| base[which]).min();
    baseline.map_or(0, |baseline| counter.saturating_sub(baseline))
}

fn sum_of(session: &[Line]) -> [u64; 2] {
    let chains = session.chunk_by(|a, b| a.chain == b.chain).map(|chain| Total::of(chain).bytes);
    let doubled = session.iter().map(|line| line.doubled);
    let add = |sum: [u64; 2], bytes: [u64; 2]| -> [u64; 2] {
        std::array::from_fn(|which| sum[which].saturating_add(bytes[which]))
    };
    chains.chain(doubled).fold([0; 2], add)
}

/// What may be credited again of what was given back, now that a session has claimed this piece: as far as
/// its counters have grown beyond what is credited, and all of it once the recorder claims again.
pub(super) fn release(lines: &mut [Line], session: u64, piece: &Piece) -> [u64; 2] {
    let first = lines.partition_point(|line| line.session < session);
    let until = lines.partition_point(|line| line.session <= session);
    let lines = &mut lines[first..until];
    if lines.iter().all(|line| line.withheld == [0; 2]) {
        return [0; 2];
    }
    let all: Vec<&Line> = lines.iter().collect();
    let sum = sum_of(lines);
    let moved: [u64; 2] = std::array::from_fn(|which| grown_to(piece.counters[which], &all, which));
    std::array::from_fn(|which| {
        let claims_again = piece.to[which] > piece.from[which] && piece.to[which] >= sum[which];
        free(lines, which, if claims_again { u64::MAX } else { moved[which] }, sum[which])
    })
}

/// Of what a piece brings to a session that has claimed under both names, what the other name has brought
/// already: an entry from before the alias that was settled behind it.
pub(super) fn hold(lines: &mut [Line], session: u64, piece: &Piece, gain: [u64; 2]) -> [u64; 2] {
    let first = lines.partition_point(|line| line.session < session);
    let until = lines.partition_point(|line| line.session <= session);
    let lines = &mut lines[first..until];
    if gain == [0; 2] || !lines.iter().any(|line| line.is_second) {
        return [0; 2];
    }
    let (second, own): (Vec<Line>, Vec<Line>) = lines.iter().cloned().partition(|line| line.is_second);
    let (Some(twice), sum) = (claimed_twice(&own, &second), sum_of(lines)) else { return [0; 2] };
    std::array::from_fn(|which| {
        let claims_again = piece.to[which] >= sum[which];
        let withheld: u64 = lines.iter().map(|line| line.withheld[which]).sum();
        let held = if claims_again { 0 } else { gain[which].min(twice[which].saturating_sub(withheld)) };
        lines[0].withheld[which] = lines[0].withheld[which].saturating_add(held);
        held
    })
}

/// Frees what is withheld as far as what is credited of the sum stays within what has moved.
fn free(lines: &mut [Line], which: usize, moved: u64, sum: u64) -> u64 {
    let mut freed = 0;
    for line in lines {
        let credited = sum.saturating_sub(line.withheld[which]);
        let part = line.withheld[which].min(moved.saturating_sub(credited));
        line.withheld[which] -= part;
        freed += part;
    }
    freed
}
