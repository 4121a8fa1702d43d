//! A spool's or tail's file in bytes: a header that names the tracker process, twice, then framed entries.
//!
//! A frame begins with a mark that no text can hold, and its head has a checksum of its own: so a reader
//! finds the next frame behind bytes that changed on disk, and can tell one that was never written to its end
//! from one that was damaged. Checksums begin with the process's id, which no client knows: what a client
//! says can never be taken for a frame.
//!
//! Files of the first format (no mark, no checksum of the length) are read, and no longer written.

use crc32fast::Hasher;

use super::codec;
use crate::traffic::booking::NumberedBooking;

const MAGIC: &[u8; 8] = b"SBSPOOL2";
const FIRST_MAGIC: &[u8; 8] = b"SBSPOOL1";
/// Magic, then the tracker id padded with zeros.
const NAME: usize = 24;
/// The same and its checksum.
const HEADER_COPY: usize = NAME + 4;
/// Where a file's first frame begins.
pub(super) const HEADER: usize = 2 * HEADER_COPY;
/// Begins a frame. Its first and last byte are none of any text.
const MARK: [u8; 4] = [0xf5, b'S', b'B', 0xff];
/// Mark, length, the payload's checksum, and that of these three.
const HEAD: usize = 16;
/// Length and the payload's checksum.
const FIRST_HEAD: usize = 8;
/// Longer than any entry: a length beyond it is damage.
const MAX_PAYLOAD: usize = 256 * 1024;

/// How a file's frames are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    /// The process that wrote it.
    pub(super) tracker_id: String,
    is_first: bool,
}

/// What some bytes begin with.
#[derive(Debug)]
pub(super) enum Beginning {
    /// An entry, and how many bytes it takes.
    Entry(Box<NumberedBooking>, usize),
    /// What may be a frame once there are so many bytes.
    Part(usize),
    NoFrame,
}

impl Format {
    /// The format of a new file.
    pub(super) fn of(tracker_id: &str) -> Self {
        Self { tracker_id: tracker_id.to_owned(), is_first: false }
    }

    /// What a file's first bytes say; `None` when they are no header.
    pub(super) fn read(head: &[u8]) -> Option<Self> {
        let copies = head.chunks_exact(HEADER_COPY).take(2);
        let whole = copies.filter_map(|copy| {
            let (name, checksum) = copy.split_at(NAME);
            (checksum == crc32fast::hash(name).to_le_bytes()).then(|| tracker_id_of(name, MAGIC))?
        });
        let first = || tracker_id_of(head.get(..NAME)?, FIRST_MAGIC);
        let written = whole.map(|tracker_id| Self { tracker_id, is_first: false }).next();
        written.or_else(|| first().map(|tracker_id| Self { tracker_id, is_first: true }))
    }

    /// Where the first frame is.
    pub(super) fn first_frame(&self) -> u64 {
        if self.is_first { NAME as u64 } else { HEADER as u64 }
    }

    pub(super) fn header(&self) -> Vec<u8> {
        let mut name = [0; NAME];
        name[..8].copy_from_slice(MAGIC);
        for (place, byte) in name[8..].iter_mut().zip(self.tracker_id.bytes()) {
            *place = byte;
        }
        let copy = [&name[..], &crc32fast::hash(&name).to_le_bytes()].concat();
        copy.repeat(2)
    }

    /// Appends an entry's frame; `None` when it is too long for one.
    pub(super) fn frame(&self, entry: &NumberedBooking, out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        out.extend([0; HEAD]);
        codec::encode(entry, out)?;
        let (head, payload) = out[start..].split_at_mut(HEAD);
        let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD)?;
        head[..4].copy_from_slice(&MARK);
        head[4..8].copy_from_slice(&length.to_le_bytes());
        head[8..12].copy_from_slice(&self.checksum(payload).to_le_bytes());
        let checksum = self.checksum(&head[..12]);
        head[12..].copy_from_slice(&checksum.to_le_bytes());
        Some(())
    }

    /// The frames of many entries.
    pub(super) fn frames(&self, entries: &[NumberedBooking]) -> Option<Vec<u8>> {
        let mut frames = Vec::with_capacity(entries.len() * 208);
        for entry in entries {
            self.frame(entry, &mut frames)?;
        }
        Some(frames)
    }

    /// What some bytes begin with.
    pub(super) fn beginning(&self, bytes: &[u8]) -> Beginning {
        let head = if self.is_first { FIRST_HEAD } else { HEAD };
        let Some((head, rest)) = bytes.split_at_checked(head) else {
            let known = bytes.len().min(MARK.len());
            let may_be = self.is_first || bytes[..known] == MARK[..known];
            return if may_be { Beginning::Part(head) } else { Beginning::NoFrame };
        };
        let Some((length, checksum)) = self.length_and_checksum(head) else { return Beginning::NoFrame };
        let Some(payload) = rest.get(..length) else { return Beginning::Part(head.len() + length) };
        if self.checksum(payload) != checksum {
            return Beginning::NoFrame;
        }
        let entry = if self.is_first {
            codec::decode_first(payload, &self.tracker_id)
        } else {
            codec::decode(payload)
        };
        entry.map_or(Beginning::NoFrame, |entry| Beginning::Entry(Box::new(entry), head.len() + length))
    }

    /// Where in the bytes the next frame may begin, behind the first byte.
    pub(super) fn next_candidate(&self, bytes: &[u8]) -> Option<usize> {
        let behind = bytes.get(1..).filter(|behind| !behind.is_empty())?;
        let found = if self.is_first { Some(0) } else { memchr::memmem::find(behind, &MARK) };
        found.map(|place| place + 1)
    }

    fn length_and_checksum(&self, head: &[u8]) -> Option<(usize, u32)> {
        let number = |at: usize| {
            let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_le_bytes)
        };
        let (length, checksum) = if self.is_first {
            (number(0)?, number(4)?)
        } else {
            let whole = head.starts_with(&MARK) && number(12)? == self.checksum(&head[..12]);
            (number(4).filter(|_| whole)?, number(8)?)
        };
        usize::try_from(length).ok().filter(|length| *length <= MAX_PAYLOAD).zip(Some(checksum))
    }

    fn checksum(&self, bytes: &[u8]) -> u32 {
        if self.is_first {
            return crc32fast::hash(bytes);
        }
        let mut hasher = Hasher::new_with_initial(crc32fast::hash(self.tracker_id.as_bytes()));
        hasher.update(bytes);
        hasher.finalize()
    }
}

fn tracker_id_of(name: &[u8], magic: &[u8; 8]) -> Option<String> {
    let id = name.strip_prefix(magic)?.split(|byte| *byte == 0).next()?;
    let legal = !id.is_empty() && id.iter().all(u8::is_ascii_alphanumeric);
    legal.then(|| String::from_utf8_lossy(id).into_owned())
}
