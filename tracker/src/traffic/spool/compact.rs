//! Coalescing: which spooled announces say nothing that their neighbours do not say as well.
//!
//! Counters are absolute, so a plain announce between a lower and a higher one adds nothing to their sum.
//! Coalescing keeps events, because they are counted; the last announce before counters fall and the first
//! after it, because a delta begins and ends there; for the same reason a session's first one, since only
//! Redis knows the one before it; and the last one on either side of the swarm. Seed time may be lost (an
//! announce earns at most two intervals of it), bytes never: so the spool coalesces only when its space runs
//! out.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;

use contract::Event;

use super::disk::Disk;
use super::pieces::Piece;
use super::segment::Segment;
use crate::traffic::booking::Booking;

/// What is remembered about a session's newest announce.
struct Newest {
    segment: usize,
    place: usize,
    uploaded: u64,
    downloaded: u64,
    plain: bool,
    seeds: bool,
    /// An earlier one is spooled, with counters that are not higher.
    continues: bool,
}

impl Newest {
    fn of(booking: &Booking, segment: usize, place: usize) -> Self {
        let Booking { uploaded, downloaded, .. } = *booking;
        let plain = booking.event == Event::None;
        Self { segment, place, uploaded, downloaded, plain, seeds: booking.left == 0, continues: false }
    }

    /// Notes what came before; whether that is not needed any more.
    fn replaces(&mut self, earlier: &Self) -> bool {
        self.continues = self.uploaded >= earlier.uploaded && self.downloaded >= earlier.downloaded;
        let alike = self.plain && earlier.plain && self.seeds == earlier.seeds;
        alike && earlier.continues && self.continues
    }
}

/// Per segment, per entry: whether it may be dropped.
pub(super) fn superseded<D: Disk>(disk: &D, segments: &VecDeque<Segment>) -> io::Result<Vec<Vec<bool>>> {
    // 128 bits of two keyed hashes instead of 104 bytes of session: nobody can aim at a collision.
    let keys = (RandomState::new(), RandomState::new());
    let mut newest: HashMap<(u64, u64), Newest> = HashMap::new();
    let mut drops: Vec<Vec<bool>> = Vec::with_capacity(segments.len());
    for (number, segment) in segments.iter().enumerate() {
        let mut pieces = segment.pieces(disk, 0)?;
        drops.push(Vec::new());
        while let Some(piece) = pieces.next_piece()? {
            let Piece::Entry(entry) = piece else { continue };
            let booking = &entry.booking;
            let session = (&booking.passkey, booking.info_hash, booking.peer_id);
            let session = (keys.0.hash_one(session), keys.1.hash_one(session));
            let mut this = Newest::of(booking, number, drops[number].len());
            drops[number].push(false);
            if let Some(earlier) = newest.get(&session).filter(|earlier| this.replaces(earlier)) {
                drops[earlier.segment][earlier.place] = true;
            }
            newest.insert(session, this);
        }
    }
    Ok(drops)
}

/// Writes a segment anew without what may be dropped; how many entries that were. The entries on both
/// sides of a dropped one stay, so a crash between two segments loses nothing. A damaged file stays as it is.
pub(super) fn rewrite<D: Disk>(disk: &D, segment: &mut Segment, drops: &[bool]) -> io::Result<u64> {
    let dropped = drops.iter().filter(|drop| **drop).count() as u64;
    if dropped == 0 {
        return Ok(0);
    }
    let mut pieces = segment.pieces(disk, 0)?;
    let (mut kept, mut drops) = (Vec::new(), drops.iter());
    while let Some(piece) = pieces.next_piece()? {
        let (Piece::Entry(entry), Some(drop)) = (piece, drops.next()) else { return Ok(0) };
        if !drop {
            kept.push(*entry);
        }
    }
    segment.replace(disk, &kept)?;
    Ok(dropped)
}
