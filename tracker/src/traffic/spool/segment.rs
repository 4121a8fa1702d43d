//! One file of the spool: a header that names the tracker process, then framed entries, each with its length
//! and checksum.
//!
//! A process killed in the middle of a write leaves a torn frame at the end. Nobody was answered for it,
//! because answers wait for the write to be on disk; so reading stops there.

use std::io::{self, ErrorKind, Read};

use super::codec;
use super::disk::{Disk, DiskFile};
use crate::traffic::booking::NumberedBooking;

const MAGIC: &[u8; 8] = b"SBSPOOL1";
/// Magic, then the tracker id padded with zeros.
const HEADER: usize = 24;
/// Where a segment's first frame begins.
pub(super) const HEADER_BYTES: u64 = HEADER as u64;
/// Length and checksum.
const FRAME_HEAD: usize = 8;
/// Longer than any entry: a length beyond it is damage.
const MAX_PAYLOAD: usize = 256 * 1024;

/// What is known about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) name: String,
    /// Order within the spool.
    pub(super) number: u64,
    /// The process that wrote it.
    pub(super) tracker_id: String,
    /// Header and whole frames.
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// When its first entry was observed, in Unix milliseconds.
    pub(super) oldest_ms: Option<u64>,
    /// It ends in bytes that are no frame.
    pub(super) torn: bool,
}

impl Segment {
    fn empty(name: String, number: u64, tracker_id: String) -> Self {
        Self { name, number, tracker_id, bytes: HEADER_BYTES, records: 0, oldest_ms: None, torn: false }
    }

    /// Creates the file. Its content is on disk when this returns; its name is not.
    pub(super) fn create<D: Disk>(
        disk: &D,
        name: String,
        number: u64,
        tracker_id: &str,
    ) -> io::Result<(Self, D::File)> {
        let mut file = disk.create(&name)?;
        if let Err(error) = file.write(&header(tracker_id)).and_then(|()| file.sync()) {
            disk.remove(&name)?;
            return Err(error);
        }
        Ok((Self::empty(name, number, tracker_id.to_owned()), file))
    }

    /// Reads a file from beginning to end; `None` when not even its header is whole.
    pub(super) fn scan<D: Disk>(disk: &D, name: &str, number: u64) -> io::Result<Option<Self>> {
        let mut file = disk.read(name, 0)?;
        let mut head = [0; HEADER];
        let whole = filled(&mut file, &mut head)?;
        let Some(tracker_id) = tracker_id_of(&head).filter(|_| whole) else { return Ok(None) };
        let mut segment = Self::empty(name.to_owned(), number, tracker_id);
        let mut frames = Frames { file, position: HEADER_BYTES };
        while let Some(frame) = frames.next_frame()? {
            segment.oldest_ms.get_or_insert(frame.entry.booking.at_ms);
            (segment.bytes, segment.records) = (frames.position, segment.records + 1);
        }
        segment.torn = disk.size(name)? > segment.bytes;
        Ok(Some(segment))
    }

    /// Its frames from a position on.
    pub(super) fn frames<D: Disk>(&self, disk: &D, position: u64) -> io::Result<Frames<D::Reader>> {
        Ok(Frames { file: disk.read(&self.name, position)?, position })
    }

    /// Writes a file beside this one that holds only `frames`, and puts it in this one's place in one step.
    pub(super) fn replace<D: Disk>(&mut self, disk: &D, frames: &[Frame]) -> io::Result<()> {
        let beside = format!("{:016}.new", self.number);
        if disk.names()?.contains(&beside) {
            disk.remove(&beside)?;
        }
        let (mut compact, mut file) = Self::create(disk, beside, self.number, &self.tracker_id)?;
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.raw.iter().copied()).collect();
        let written = file
            .write(&bytes)
            .and_then(|()| file.sync())
            .and_then(|()| disk.rename(&compact.name, &self.name));
        if let Err(error) = written {
            disk.remove(&compact.name)?;
            return Err(error);
        }
        compact.name.clone_from(&self.name);
        compact.bytes += bytes.len() as u64;
        compact.records = frames.len() as u64;
        compact.oldest_ms = frames.first().map(|frame| frame.entry.booking.at_ms);
        *self = compact;
        Ok(())
    }
}

/// One entry with its bytes in the file.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) entry: NumberedBooking,
    pub(super) raw: Vec<u8>,
}

/// Reads frame after frame.
#[derive(Debug)]
pub(super) struct Frames<R> {
    file: R,
    /// Where the next frame begins.
    pub(super) position: u64,
}

impl<R: Read> Frames<R> {
    /// The next whole frame; `None` at the end, or where the file is torn.
    pub(super) fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        let mut raw = vec![0; FRAME_HEAD];
        if !filled(&mut self.file, &mut raw)? {
            return Ok(None);
        }
        let number =
            |at: usize| raw[at..at + 4].iter().rev().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        let (length, checksum) = (number(0) as usize, number(4));
        if length > MAX_PAYLOAD {
            return Ok(None);
        }
        raw.resize(FRAME_HEAD + length, 0);
        if !filled(&mut self.file, &mut raw[FRAME_HEAD..])? || crc32fast::hash(&raw[FRAME_HEAD..]) != checksum
        {
            return Ok(None);
        }
        let Some(entry) = codec::decode(&raw[FRAME_HEAD..]) else { return Ok(None) };
        self.position += raw.len() as u64;
        Ok(Some(Frame { entry, raw }))
    }
}

/// Appends an entry's frame.
pub(super) fn frame(entry: &NumberedBooking, out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    out.extend([0; FRAME_HEAD]);
    codec::encode(entry, out)?;
    let payload = start + FRAME_HEAD;
    let length = u32::try_from(out.len() - payload).ok().filter(|length| *length as usize <= MAX_PAYLOAD)?;
    let checksum = crc32fast::hash(&out[payload..]);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..payload].copy_from_slice(&checksum.to_le_bytes());
    Some(())
}

fn header(tracker_id: &str) -> [u8; HEADER] {
    let mut head = [0; HEADER];
    head[..8].copy_from_slice(MAGIC);
    for (place, byte) in head[8..].iter_mut().zip(tracker_id.bytes()) {
        *place = byte;
    }
    head
}

fn tracker_id_of(head: &[u8; HEADER]) -> Option<String> {
    let id = head.strip_prefix(MAGIC)?.split(|byte| *byte == 0).next()?;
    let legal = !id.is_empty() && id.iter().all(u8::is_ascii_alphanumeric);
    legal.then(|| String::from_utf8_lossy(id).into_owned())
}

/// Fills the buffer; `false` when the file ends before.
fn filled(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
