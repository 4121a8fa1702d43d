//! Reads a file piece by piece: entries, bytes that changed on disk, and at its end a write that was never
//! finished. A damaged record costs itself and no other: reading goes on at the next whole frame.

use std::io::{self, Read};

use super::format::{Beginning, Format};
use crate::traffic::booking::NumberedBooking;

/// A piece of a file.
#[derive(Debug)]
pub(super) enum Piece {
    /// A whole frame.
    Entry(Box<NumberedBooking>),
    /// Bytes that are no frame.
    Damaged,
    /// The beginning of a frame, or nothing but zeros, at the end of the file: what a kill or a loss of power
    /// leaves of a write. Nobody was answered for it, because answers wait for the write to be on disk.
    Unfinished,
}

/// Reads piece after piece.
#[derive(Debug)]
pub(super) struct Pieces<R> {
    file: R,
    format: Format,
    /// Bytes that were read, of which those before `at` are used.
    read: Vec<u8>,
    at: usize,
    /// Where the next piece begins in the file.
    pub(super) position: u64,
}

impl<R: Read> Pieces<R> {
    /// `file` stands at `position`.
    pub(super) fn new(file: R, format: Format, position: u64) -> Self {
        Self { file, format, read: Vec::new(), at: 0, position }
    }

    /// The next piece; `None` at the end.
    pub(super) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        if !self.holds(1)? {
            return Ok(None);
        }
        match self.beginning(0)? {
            Beginning::Entry(entry, length) => {
                self.pass(length);
                Ok(Some(Piece::Entry(entry)))
            }
            other => self.skip(matches!(other, Beginning::Part(_))).map(Some),
        }
    }

    /// Passes what is no frame, up to the next one. A file is read into memory from there on: it has some
    /// megabytes.
    fn skip(&mut self, is_part: bool) -> io::Result<Piece> {
        self.file.read_to_end(&mut self.read)?;
        let mut skipped = 0;
        while let Some(next) = self.format.next_candidate(&self.read[self.at + skipped..]) {
            skipped += next;
            if let Beginning::Entry(..) = self.beginning(skipped)? {
                self.pass(skipped);
                return Ok(Piece::Damaged);
            }
        }
        let rest = &self.read[self.at..];
        let unfinished = is_part || rest.iter().all(|byte| *byte == 0);
        self.pass(rest.len());
        Ok(if unfinished { Piece::Unfinished } else { Piece::Damaged })
    }

    /// What begins so many bytes behind the position.
    fn beginning(&mut self, behind: usize) -> io::Result<Beginning> {
        loop {
            match self.format.beginning(&self.read[self.at + behind..]) {
                Beginning::Part(bytes) if self.holds(behind + bytes)? => {}
                other => return Ok(other),
            }
        }
    }

    fn pass(&mut self, bytes: usize) {
        self.at += bytes;
        self.position += bytes as u64;
        if self.at == self.read.len() {
            self.read.clear();
            self.at = 0;
        }
    }

    /// Whether the file has so many bytes more. Reads up to there.
    fn holds(&mut self, bytes: usize) -> io::Result<bool> {
        let missing = (self.at + bytes).saturating_sub(self.read.len());
        if missing > 0 {
            (&mut self.file).take(missing as u64).read_to_end(&mut self.read)?;
        }
        Ok(self.read.len() >= self.at + bytes)
    }
}
