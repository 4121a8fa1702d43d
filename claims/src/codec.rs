//! A session as bytes: what a snapshot in Redis and a row of the ledger carry. Numbers take seven bits a byte
//! and are told as differences, so that a session of one path takes some forty bytes.

use thiserror::Error;

use crate::segment::{Path, Point, Segment};
use crate::session::{MOST_SEGMENTS, Session};

/// The first byte.
const VERSION: u8 = 1;
/// In the first byte: the first run's beginning was heard.
const KNOWS_FIRST_RUN: u8 = 0x80;
/// The segment begins with a `started`.
const STARTED: u8 = 1;
/// The segment has a middle of its own.
const HAS_MIDDLE: u8 = 2;
/// The segment has an end of its own.
const HAS_END: u8 = 4;

/// The bytes are no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a session's claims, or of a version that is not known here")]
pub struct DecodeError;

impl Session {
    /// Appends the session's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(if self.knows_first_run { VERSION | KNOWS_FIRST_RUN } else { VERSION });
        self.settled.iter().chain(&self.claimed).for_each(|bytes| number(out, *bytes));
        number(out, self.horizon);
        let mut before = Point { at: self.horizon, counters: [0; 2] };
        for segment in &self.segments {
            before = encode_segment(out, segment, before);
        }
    }

    /// Reads what [`Session::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = bytes;
        let first = byte(&mut rest)?;
        if first & !KNOWS_FIRST_RUN != VERSION {
            return Err(DecodeError);
        }
        let knows_first_run = first & KNOWS_FIRST_RUN != 0;
        let settled = [unsigned(&mut rest)?, unsigned(&mut rest)?];
        let claimed = [unsigned(&mut rest)?, unsigned(&mut rest)?];
        let horizon = unsigned(&mut rest)?;
        let (mut segments, mut before) = (Vec::new(), Point { at: horizon, counters: [0; 2] });
        while !rest.is_empty() {
            let segment = decode_segment(&mut rest, before)?;
            before = segment.end;
            segments.push(segment);
            if segments.len() > MOST_SEGMENTS {
                return Err(DecodeError);
            }
        }
        Ok(Self { segments, settled, knows_first_run, horizon, claimed })
    }
}

/// Returns the point from which the next segment's are told.
fn encode_segment(out: &mut Vec<u8>, segment: &Segment, before: Point) -> Point {
    let flag = |holds: bool, flag: u8| if holds { flag } else { 0 };
    let has_middle = segment.middle != segment.start;
    let has_end = segment.end != segment.start;
    out.extend_from_slice(&segment.path.0.to_le_bytes());
    let shape = flag(has_middle, HAS_MIDDLE) | flag(has_end, HAS_END);
    out.push(shape | flag(segment.started, STARTED));
    point(out, segment.start, before);
    if has_middle {
        point(out, segment.middle, segment.start);
    }
    if has_end {
        point(out, segment.end, segment.middle);
    }
    segment.end
}

fn decode_segment(rest: &mut &[u8], before: Point) -> Result<Segment, DecodeError> {
    let (path, after) = rest.split_first_chunk().ok_or(DecodeError)?;
    *rest = after;
    let flags = byte(rest)?;
    if flags & !(STARTED | HAS_MIDDLE | HAS_END) != 0 {
        return Err(DecodeError);
    }
    let start = point_after(rest, before)?;
    let middle = if flags & HAS_MIDDLE != 0 { point_after(rest, start)? } else { start };
    let end = if flags & HAS_END != 0 { point_after(rest, middle)? } else { start };
    let in_order = |earlier: Point, later: Point| {
        earlier.at <= later.at && (0..2).all(|which| earlier.counters[which] <= later.counters[which])
    };
    if !in_order(start, middle) || !in_order(middle, end) {
        return Err(DecodeError);
    }
    let path = Path(u32::from_le_bytes(*path));
    Ok(Segment { path, started: flags & STARTED != 0, start, middle, end })
}

fn point(out: &mut Vec<u8>, point: Point, before: Point) {
    number(out, difference(point.at, before.at));
    for (counter, before) in point.counters.into_iter().zip(before.counters) {
        number(out, difference(counter, before));
    }
}

fn point_after(rest: &mut &[u8], before: Point) -> Result<Point, DecodeError> {
    let mut next = |before: u64| Ok(before.wrapping_add_signed(signed(rest)?));
    let at = next(before.at)?;
    Ok(Point { at, counters: [next(before.counters[0])?, next(before.counters[1])?] })
}

fn difference(now: u64, before: u64) -> u64 {
    zigzag(now.wrapping_sub(before).cast_signed())
}

/// Small numbers of either sign become small numbers.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

fn byte(rest: &mut &[u8]) -> Result<u8, DecodeError> {
    let (first, after) = rest.split_first().ok_or(DecodeError)?;
    *rest = after;
    Ok(*first)
}

fn unsigned(rest: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let next = byte(rest)?;
        let bits = u64::from(next & 0x7f);
        if bits << shift >> shift != bits {
            return Err(DecodeError);
        }
        number |= bits << shift;
        if next & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(DecodeError)
}

fn signed(rest: &mut &[u8]) -> Result<i64, DecodeError> {
    let number = unsigned(rest)?;
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}
