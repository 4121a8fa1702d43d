//! One file of the spool: what is known about it, how it is made, read and rewritten.

use std::collections::BTreeSet;
use std::io::{self, Read, Take};

use super::disk::{Disk, DiskFile};
use super::format::{Format, HEADER};
use super::pieces::{Piece, Pieces};
use crate::traffic::booking::NumberedBooking;

/// Where the first frame of a new file begins.
pub(super) const HEADER_BYTES: u64 = HEADER as u64;

/// What is known about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) name: String,
    /// Order within the spool.
    pub(super) number: u64,
    pub(super) format: Format,
    /// Up to where it is read: header, whole frames and damaged bytes between them.
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// When its first entry was observed, in Unix milliseconds.
    pub(super) oldest_ms: Option<u64>,
    /// The highest of them, of those that an earlier process left.
    pub(super) newest_ms: Option<u64>,
    /// It ends in a write that was not finished.
    pub(super) torn: bool,
    /// Where bytes begin that are no frame.
    pub(super) damaged: BTreeSet<u64>,
}

impl Segment {
    fn empty(name: String, number: u64, format: Format) -> Self {
        let bytes = format.first_frame();
        let damaged = BTreeSet::new();
        Self {
            name,
            number,
            format,
            bytes,
            records: 0,
            oldest_ms: None,
            newest_ms: None,
            torn: false,
            damaged,
        }
    }

    /// The process that wrote it.
    pub(super) fn tracker_id(&self) -> &str {
        &self.format.tracker_id
    }

    /// Creates the file. Its content is on disk when this returns; its name is not.
    pub(super) fn create<D: Disk>(
        disk: &D,
        name: String,
        number: u64,
        tracker_id: &str,
    ) -> io::Result<(Self, D::File)> {
        let segment = Self::empty(name, number, Format::of(tracker_id));
        let mut file = disk.create(&segment.name)?;
        if let Err(error) = file.write(&segment.format.header()).and_then(|()| file.sync()) {
            disk.remove(&segment.name)?;
            return Err(error);
        }
        Ok((segment, file))
    }

    /// Reads a file from beginning to end; `None` when neither copy of its header is whole.
    pub(super) fn scan<D: Disk>(disk: &D, name: &str, number: u64) -> io::Result<Option<Self>> {
        let Some(mut segment) = Self::find(disk, name, number)? else { return Ok(None) };
        let mut pieces = segment.pieces(disk, 0)?;
        let mut begin = pieces.position;
        segment.bytes = begin;
        while let Some(piece) = pieces.next_piece()? {
            match piece {
                Piece::Entry(entry) => {
                    segment.oldest_ms.get_or_insert(entry.booking.at_ms);
                    segment.newest_ms = segment.newest_ms.max(Some(entry.booking.at_ms));
                    segment.records += 1;
                }
                Piece::Damaged => drop(segment.damaged.insert(begin)),
                Piece::Unfinished => {
                    segment.torn = true;
                    break;
                }
            }
            begin = pieces.position;
            segment.bytes = begin;
        }
        Ok(Some(segment))
    }

    /// Reads only its header.
    pub(super) fn find<D: Disk>(disk: &D, name: &str, number: u64) -> io::Result<Option<Self>> {
        let mut head = Vec::with_capacity(HEADER);
        disk.read(name, 0)?.take(HEADER_BYTES).read_to_end(&mut head)?;
        let Some(format) = Format::read(&head) else { return Ok(None) };
        let bytes = disk.size(name)?;
        Ok(Some(Self { bytes, ..Self::empty(name.to_owned(), number, format) }))
    }

    /// Its pieces from a position on; 0 is its beginning.
    pub(super) fn pieces<D: Disk>(&self, disk: &D, position: u64) -> io::Result<Pieces<Take<D::Reader>>> {
        let position = position.max(self.format.first_frame());
        let file = disk.read(&self.name, position)?.take(self.bytes.saturating_sub(position));
        Ok(Pieces::new(file, self.format.clone(), position))
    }

    /// Writes a file beside this one that holds only these entries, and puts it in this one's place in one
    /// step.
    pub(super) fn replace<D: Disk>(&mut self, disk: &D, entries: &[NumberedBooking]) -> io::Result<()> {
        let beside = format!("{:016}.new", self.number);
        if disk.names()?.contains(&beside) {
            disk.remove(&beside)?;
        }
        let (mut compact, mut file) = Self::create(disk, beside, self.number, self.tracker_id())?;
        let frames = compact.format.frames(entries).ok_or_else(|| io::Error::other("an entry is too long"));
        let written = frames.and_then(|frames| {
            file.write(&frames).and_then(|()| file.sync())?;
            disk.rename(&compact.name, &self.name)?;
            Ok(frames.len() as u64)
        });
        match written {
            Ok(bytes) => compact.bytes += bytes,
            Err(error) => {
                disk.remove(&compact.name)?;
                return Err(error);
            }
        }
        compact.name.clone_from(&self.name);
        compact.records = entries.len() as u64;
        compact.oldest_ms = entries.first().map(|entry| entry.booking.at_ms);
        *self = compact;
        Ok(())
    }
}
