//! A session as bytes: what a snapshot in Redis and a row of the ledger carry. Numbers take seven bits a
//! byte, are told as differences and left out where they say nothing, so that a session of one path takes
//! some forty bytes.

use thiserror::Error;

use crate::room::MOST_SEGMENTS;
use crate::segment::{Path, Point, Segment};
use crate::session::Session;

/// The first byte's lower half.
const VERSION: u8 = 1;
/// In the first byte: the first run's beginning was heard.
const KNOWS_FIRST_RUN: u8 = 0x80;
/// Runs were settled and forgotten: their totals and the horizon follow.
const HAS_FORGOTTEN: u8 = 0x40;
/// What is claimed is not the usual, so it follows.
const HAS_CLAIMED: u8 = 0x20;
/// The segment begins with a `started`.
const STARTED: u8 = 1;
/// The segment has a middle of its own.
const HAS_MIDDLE: u8 = 2;
/// The segment has an end of its own.
const HAS_END: u8 = 4;
/// The segment's last report was below its highest.
const HAS_BELOW: u8 = 8;

/// The bytes are no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a session's claims, or of a version that is not known here")]
pub struct DecodeError;

impl Session {
    /// Appends the session's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = |holds: bool, flag: u8| if holds { flag } else { 0 };
        let has_forgotten = self.settled != [0; 2] || self.horizon != 0;
        let has_claimed = self.claimed != self.usually_claimed();
        let shape = flag(has_forgotten, HAS_FORGOTTEN) | flag(has_claimed, HAS_CLAIMED);
        out.push(VERSION | shape | flag(self.knows_first_run, KNOWS_FIRST_RUN));
        if has_forgotten {
            self.settled.iter().chain([&self.horizon]).for_each(|settled| number(out, *settled));
        }
        if has_claimed {
            self.claimed.iter().for_each(|claimed| number(out, *claimed));
        }
        let mut began = 0;
        for segment in &self.segments {
            encode_segment(out, segment, began);
            began = segment.start.at;
        }
    }

    /// Reads what [`Session::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = bytes;
        let first = byte(&mut rest)?;
        if first & !(KNOWS_FIRST_RUN | HAS_FORGOTTEN | HAS_CLAIMED) != VERSION {
            return Err(DecodeError);
        }
        let mut session = Self { knows_first_run: first & KNOWS_FIRST_RUN != 0, ..Self::default() };
        if first & HAS_FORGOTTEN != 0 {
            session.settled = pair(&mut rest)?;
            session.horizon = unsigned(&mut rest)?;
        }
        let claimed = if first & HAS_CLAIMED != 0 { Some(pair(&mut rest)?) } else { None };
        session.segments = decode_segments(rest)?;
        session.claimed = claimed.unwrap_or_else(|| session.usually_claimed());
        Ok(session)
    }

    /// What a session of one run has claimed.
    fn usually_claimed(&self) -> [u64; 2] {
        let counters = |which: usize| self.segments.iter().map(move |s| (s.start, s.end, which));
        std::array::from_fn(|which| {
            let highest = counters(which).map(|(_, end, which)| end.counters[which]).max().unwrap_or(0);
            let lowest = counters(which).map(|(start, _, which)| start.counters[which]).min().unwrap_or(0);
            (highest - lowest).saturating_add(self.settled[which])
        })
    }
}

fn encode_segment(out: &mut Vec<u8>, segment: &Segment, began: u64) {
    let flag = |holds: bool, flag: u8| if holds { flag } else { 0 };
    let has_middle = segment.middle != segment.start;
    let has_end = segment.end != segment.middle;
    let has_below = segment.below != [0; 2];
    out.extend_from_slice(&segment.path.0.to_le_bytes());
    let shape = flag(has_middle, HAS_MIDDLE) | flag(has_end, HAS_END) | flag(has_below, HAS_BELOW);
    out.push(shape | flag(segment.started, STARTED));
    point(out, segment.start, Point { at: began, counters: [0; 2] });
    if has_middle {
        point(out, segment.middle, segment.start);
    }
    if has_end {
        point(out, segment.end, segment.middle);
    }
    if has_below {
        segment.below.iter().for_each(|below| number(out, *below));
    }
}

fn decode_segments(mut rest: &[u8]) -> Result<Vec<Segment>, DecodeError> {
    let (mut segments, mut began) = (Vec::new(), 0);
    while !rest.is_empty() {
        let segment = decode_segment(&mut rest, began)?;
        began = segment.start.at;
        segments.push(segment);
        if segments.len() > MOST_SEGMENTS {
            return Err(DecodeError);
        }
    }
    Ok(segments)
}

fn decode_segment(rest: &mut &[u8], began: u64) -> Result<Segment, DecodeError> {
    let (path, after) = rest.split_first_chunk().ok_or(DecodeError)?;
    *rest = after;
    let flags = byte(rest)?;
    if flags & !(STARTED | HAS_MIDDLE | HAS_END | HAS_BELOW) != 0 {
        return Err(DecodeError);
    }
    let start = point_after(rest, Point { at: began, counters: [0; 2] })?;
    let middle = if flags & HAS_MIDDLE != 0 { point_after(rest, start)? } else { start };
    let end = if flags & HAS_END != 0 { point_after(rest, middle)? } else { middle };
    let below = if flags & HAS_BELOW != 0 { pair(rest)? } else { [0; 2] };
    let path = Path(u32::from_le_bytes(*path));
    Ok(Segment { path, started: flags & STARTED != 0, start, middle, end, below })
}

/// A point is never before the one from which it is told.
fn point(out: &mut Vec<u8>, point: Point, before: Point) {
    number(out, point.at - before.at);
    for (counter, before) in point.counters.into_iter().zip(before.counters) {
        number(out, counter - before);
    }
}

fn point_after(rest: &mut &[u8], before: Point) -> Result<Point, DecodeError> {
    let mut next = |before: u64| before.checked_add(unsigned(rest)?).ok_or(DecodeError);
    let at = next(before.at)?;
    Ok(Point { at, counters: [next(before.counters[0])?, next(before.counters[1])?] })
}

fn pair(rest: &mut &[u8]) -> Result<[u64; 2], DecodeError> {
    Ok([unsigned(rest)?, unsigned(rest)?])
}

pub(crate) fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

pub(crate) fn byte(rest: &mut &[u8]) -> Result<u8, DecodeError> {
    let (first, after) = rest.split_first().ok_or(DecodeError)?;
    *rest = after;
    Ok(*first)
}

pub(crate) fn unsigned(rest: &mut &[u8]) -> Result<u64, DecodeError> {
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
