//! Coalescing: which spooled announces say nothing that their neighbours on the same path do not say as well.
//!
//! Counters are absolute, and along one path a run begins with a `started` or a fall. So what a path said
//! between is of one run, whatever another tracker heard meanwhile, and claims need its first report, its
//! last and one about a skew before that (`claims::Session`). Two things are dropped: a plain announce that
//! says what the one before and the one behind it say; and one that is more than two skews away from both
//! ends of what the path said without an event, because closer to an end it may tell this run from another
//! path's. Seed time may be lost: two announces earn two intervals of it, however long they are apart. Bytes
//! are not, so the spool coalesces only when its space runs out.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;

use contract::Event;

use super::disk::Disk;
use super::pieces::Piece;
use super::segment::Segment;
use crate::traffic::booking::Booking;

/// Which entry of which file.
type Place = (usize, usize);

/// How far from the ends of a stretch every announce is kept: two skews, as far as the claims reach.
const KEPT_MS: u64 = 2 * claims::DEFAULT_SKEW_MS;

/// An announce's place, time and counters.
struct Point {
    place: Place,
    at_ms: u64,
    counters: [u64; 2],
}

impl Point {
    fn of(booking: &Booking, place: Place) -> Self {
        Self { place, at_ms: booking.at_ms, counters: [booking.uploaded, booking.downloaded] }
    }
}

/// What a path has said since it said an event, fell or changed sides.
struct Stretch {
    seeds: bool,
    /// At least one.
    points: Vec<Point>,
}

impl Stretch {
    fn begin(booking: &Booking, place: Place) -> Self {
        Self { seeds: booking.left == 0, points: vec![Point::of(booking, place)] }
    }

    /// Whether the announce only goes on.
    fn goes_on_with(&self, booking: &Booking) -> bool {
        let plain = booking.event == Event::None && (booking.left == 0) == self.seeds;
        let is_behind = |last: &Point| {
            let [uploaded, downloaded] = last.counters;
            booking.at_ms >= last.at_ms && booking.uploaded >= uploaded && booking.downloaded >= downloaded
        };
        plain && self.points.last().is_some_and(is_behind)
    }

    /// What may be dropped.
    fn superseded(&self) -> impl Iterator<Item = Place> {
        let ends = self.points.first().zip(self.points.last());
        self.points.windows(3).filter_map(move |around| {
            let ([before, this, after], (first, last)) = (around, ends?) else { return None };
            let idle = before.counters == this.counters && this.counters == after.counters;
            let inside = before.at_ms > first.at_ms.saturating_add(KEPT_MS)
                && after.at_ms.saturating_add(KEPT_MS) < last.at_ms;
            (idle || inside).then_some(this.place)
        })
    }
}

/// Per segment, per entry: whether it may be dropped.
pub(super) fn superseded<D: Disk>(disk: &D, segments: &VecDeque<Segment>) -> io::Result<Vec<Vec<bool>>> {
    // 128 bits of two keyed hashes instead of 104 bytes of session: nobody can aim at a collision.
    let keys = (RandomState::new(), RandomState::new());
    let mut stretches: HashMap<(u64, u64), Stretch> = HashMap::new();
    let mut drops: Vec<Vec<bool>> = Vec::with_capacity(segments.len());
    let drop_from = |stretch: &Stretch, drops: &mut Vec<Vec<bool>>| {
        stretch.superseded().for_each(|(segment, place)| drops[segment][place] = true);
    };
    for (number, segment) in segments.iter().enumerate() {
        let mut pieces = segment.pieces(disk, 0)?;
        drops.push(Vec::new());
        while let Some(piece) = pieces.next_piece()? {
            let Piece::Entry(entry) = piece else { continue };
            let booking = &entry.booking;
            let path = (&booking.passkey, booking.info_hash, booking.peer_id, booking.path);
            let path = (keys.0.hash_one(path), keys.1.hash_one(path));
            let place = (number, drops[number].len());
            drops[number].push(false);
            match stretches.get_mut(&path) {
                Some(stretch) if stretch.goes_on_with(booking) => {
                    stretch.points.push(Point::of(booking, place));
                }
                _ => {
                    let ended = stretches.insert(path, Stretch::begin(booking, place));
                    ended.iter().for_each(|stretch| drop_from(stretch, &mut drops));
                }
            }
        }
    }
    stretches.values().for_each(|stretch| drop_from(stretch, &mut drops));
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
