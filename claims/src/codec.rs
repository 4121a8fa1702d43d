//! A session as bytes: what a snapshot in Redis and a row of the ledger carry. Numbers take seven bits a
//! byte, are told as differences and left out where they say nothing, so that a session of one path takes
//! some forty bytes.

use thiserror::Error;

use crate::room::MOST_SEGMENTS;
use crate::segment::{MOST_BETWEEN, Path, Point, Segment};
use crate::session::Session;

/// The first byte's lower half.
const VERSION: u8 = 2;
/// The version before knew one point between a segment's ends.
const VERSION_OF_ONE_BETWEEN: u8 = 1;
/// In the first byte: the first run's beginning was heard.
const KNOWS_FIRST_RUN: u8 = 0x80;
/// Runs were settled and forgotten: their totals and the horizon follow.
const HAS_FORGOTTEN: u8 = 0x40;
/// What is claimed is not the usual, so it follows.
const HAS_CLAIMED: u8 = 0x20;
/// The segment begins with a `started`.
const STARTED: u8 = 1;
/// The segment's last report was below its highest.
const HAS_BELOW: u8 = 2;
/// Above these flags: how many points follow the segment's start.
const POINTS: u8 = 4;

/// In a segment's flags in the version before: one point between, an end, a last report below the highest.
const ONCE_BETWEEN: u8 = 2;
const ONCE_END: u8 = 4;
const ONCE_BELOW: u8 = 8;

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
        let shape = match first & !(KNOWS_FIRST_RUN | HAS_FORGOTTEN | HAS_CLAIMED) {
            VERSION => Shape::read,
            VERSION_OF_ONE_BETWEEN => Shape::read_once,
            _ => return Err(DecodeError),
        };
        let mut session = Self { knows_first_run: first & KNOWS_FIRST_RUN != 0, ..Self::default() };
        if first & HAS_FORGOTTEN != 0 {
            session.settled = pair(&mut rest)?;
            session.horizon = unsigned(&mut rest)?;
        }
        let claimed = if first & HAS_CLAIMED != 0 { Some(pair(&mut rest)?) } else { None };
        session.segments = decode_segments(rest, shape)?;
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

/// What a segment's flags say of it.
struct Shape {
    started: bool,
    /// Points behind the start.
    points: usize,
    has_below: bool,
}

/// Reads the flags of one version.
type ReadShape = fn(u8) -> Result<Shape, DecodeError>;

impl Shape {
    fn of(segment: &Segment) -> Self {
        let has_below = segment.below != [0; 2];
        Self { started: segment.started, points: segment.points().skip(1).count(), has_below }
    }

    fn flags(&self) -> u8 {
        // No segment has more than fits.
        let points = u8::try_from(self.points).unwrap_or(0) * POINTS;
        points | if self.started { STARTED } else { 0 } | if self.has_below { HAS_BELOW } else { 0 }
    }

    fn read(flags: u8) -> Result<Self, DecodeError> {
        let points = usize::from(flags / POINTS);
        let shape = Self { started: flags & STARTED != 0, points, has_below: flags & HAS_BELOW != 0 };
        if points <= MOST_BETWEEN + 1 { Ok(shape) } else { Err(DecodeError) }
    }

    /// As the version before wrote them.
    fn read_once(flags: u8) -> Result<Self, DecodeError> {
        if flags & !(STARTED | ONCE_BETWEEN | ONCE_END | ONCE_BELOW) != 0 {
            return Err(DecodeError);
        }
        let points = usize::from(flags & ONCE_BETWEEN != 0) + usize::from(flags & ONCE_END != 0);
        Ok(Self { started: flags & STARTED != 0, points, has_below: flags & ONCE_BELOW != 0 })
    }
}

fn encode_segment(out: &mut Vec<u8>, segment: &Segment, began: u64) {
    out.extend_from_slice(&segment.path.0.to_le_bytes());
    let shape = Shape::of(segment);
    out.push(shape.flags());
    let mut before = Point { at: began, counters: [0; 2] };
    for next in segment.points() {
        point(out, next, before);
        before = next;
    }
    if shape.has_below {
        segment.below.iter().for_each(|below| number(out, *below));
    }
}

fn decode_segments(mut rest: &[u8], shape: ReadShape) -> Result<Vec<Segment>, DecodeError> {
    let (mut segments, mut began) = (Vec::new(), 0);
    while !rest.is_empty() {
        let segment = decode_segment(&mut rest, began, shape)?;
        began = segment.start.at;
        segments.push(segment);
        if segments.len() > MOST_SEGMENTS {
            return Err(DecodeError);
        }
    }
    Ok(segments)
}

fn decode_segment(rest: &mut &[u8], began: u64, shape: ReadShape) -> Result<Segment, DecodeError> {
    let (path, after) = rest.split_first_chunk().ok_or(DecodeError)?;
    *rest = after;
    let Shape { started, points, has_below } = shape(byte(rest)?)?;
    let mut before = point_after(rest, Point { at: began, counters: [0; 2] })?;
    let mut segment = Segment::of_point(Path(u32::from_le_bytes(*path)), started, before);
    for _ in 0..points {
        before = point_after(rest, before)?;
        segment.go_on(before);
    }
    segment.below = if has_below { pair(rest)? } else { [0; 2] };
    Ok(segment)
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
