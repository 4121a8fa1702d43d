//! Taking entries out of the spool: the oldest first, in batches of one process's entries, gone once they are
//! booked.

use std::io;
use std::path::PathBuf;

use super::disk::Disk;
use super::pieces::Piece;
use super::store::Store;
use crate::traffic::booking::NumberedBooking;

/// The oldest entries, all of one tracker process and of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The process that numbered them.
    pub tracker_id: String,
    /// In the order in which they were spooled.
    pub entries: Vec<NumberedBooking>,
    /// The file.
    pub(super) segment: u64,
    /// Where in the file they end.
    pub(super) end: u64,
}

impl<D: Disk> Store<D> {
    /// The oldest entries, at most so many; `None` when there are none. They stay until [`Store::booked`].
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn oldest(&mut self, limit: usize) -> io::Result<Option<Batch>> {
        while let Some(first) = self.segments.front() {
            let mut pieces = first.pieces(&self.disk, self.cursor)?;
            let (segment, tracker_id) = (first.number, first.tracker_id().to_owned());
            let mut entries = Vec::with_capacity(limit.min(1024));
            let mut damaged = Vec::new();
            while entries.len() < limit {
                let begin = pieces.position;
                match pieces.next_piece()? {
                    Some(Piece::Entry(entry)) => entries.push(*entry),
                    // Not at the end of what was synced: bytes are missing that were there.
                    Some(Piece::Damaged | Piece::Unfinished) => damaged.push(begin),
                    None => break,
                }
            }
            self.note_damage(&damaged);
            if !entries.is_empty() {
                self.is_being_read = true;
                return Ok(Some(Batch { tracker_id, entries, segment, end: pieces.position }));
            }
            self.retire_first();
        }
        Ok(None)
    }

    /// Lets go of a batch whose entries are booked.
    pub fn booked(&mut self, batch: &Batch) {
        let Some(first) = self.segments.front_mut().filter(|first| first.number == batch.segment) else {
            return;
        };
        self.cursor = batch.end;
        first.records = first.records.saturating_sub(batch.entries.len() as u64);
        first.oldest_ms = batch.entries.last().map(|entry| entry.booking.at_ms);
        // A write that failed, or coalescing, may have left a file behind this one that holds nothing.
        while self.segments.front().is_some_and(|first| self.cursor >= first.bytes) {
            self.retire_first();
        }
    }

    /// Keeps some entries of a batch for later, because Redis will not book them until somebody repairs it.
    ///
    /// # Errors
    /// When they cannot be written; they are still in the batch's own file then.
    pub fn keep_for_later(&mut self, batch: &Batch, entries: &[NumberedBooking]) -> io::Result<PathBuf> {
        self.set_aside(&batch.tracker_id, entries)
    }
}
