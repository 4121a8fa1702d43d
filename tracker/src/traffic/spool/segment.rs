//! One file of the spool: a header that names the tracker process, then framed entries, each with its length
//! and checksum.
//!
//! A process killed in the middle of a write leaves a torn frame at the end. Nobody was answered for it,
//! because answers wait for the write to be on disk; so reading stops there.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::codec;
use crate::traffic::booking::Entry;

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
    pub(super) path: PathBuf,
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
    /// Creates the file, for its owner only: it holds passkeys. On disk when this returns; the folder's entry
    /// is not.
    pub(super) fn create(path: PathBuf, number: u64, tracker_id: &str) -> io::Result<(Self, File)> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let written = file.write_all(&header(tracker_id)).and_then(|()| file.sync_all());
        if let Err(error) = written {
            std::fs::remove_file(&path)?;
            return Err(error);
        }
        let tracker_id = tracker_id.to_owned();
        let segment =
            Self { path, number, tracker_id, bytes: HEADER_BYTES, records: 0, oldest_ms: None, torn: false };
        Ok((segment, file))
    }

    /// Reads a file from beginning to end; `None` when not even its header is whole.
    pub(super) fn scan(path: &Path, number: u64) -> io::Result<Option<Self>> {
        let mut file = BufReader::new(File::open(path)?);
        let mut head = [0; HEADER];
        let tracker_id = match file.read_exact(&mut head) {
            Ok(()) => tracker_id_of(&head),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        let Some(tracker_id) = tracker_id else { return Ok(None) };
        let path = path.to_owned();
        let mut segment =
            Self { path, number, tracker_id, bytes: HEADER_BYTES, records: 0, oldest_ms: None, torn: false };
        let mut frames = Frames { file, position: HEADER_BYTES };
        while let Some(frame) = frames.next_frame()? {
            segment.oldest_ms.get_or_insert(frame.entry.booking.observed_ms);
            (segment.bytes, segment.records) = (frames.position, segment.records + 1);
        }
        segment.torn = std::fs::metadata(&segment.path)?.len() > segment.bytes;
        Ok(Some(segment))
    }

    /// Its frames from a position on.
    pub(super) fn frames(&self, position: u64) -> io::Result<Frames> {
        let mut file = BufReader::new(File::open(&self.path)?);
        file.seek(SeekFrom::Start(position))?;
        Ok(Frames { file, position })
    }

    /// Writes a file beside this one that holds only `frames`, and puts it in this one's place in one step.
    pub(super) fn replace(&mut self, frames: &[Frame]) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        if beside.exists() {
            std::fs::remove_file(&beside)?;
        }
        let (mut compact, mut file) = Self::create(beside, self.number, &self.tracker_id)?;
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.raw.iter().copied()).collect();
        let written = file
            .write_all(&bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&compact.path, &self.path));
        if let Err(error) = written {
            std::fs::remove_file(&compact.path)?;
            return Err(error);
        }
        compact.path.clone_from(&self.path);
        compact.bytes += bytes.len() as u64;
        compact.records = frames.len() as u64;
        compact.oldest_ms = frames.first().map(|frame| frame.entry.booking.observed_ms);
        *self = compact;
        Ok(())
    }
}

/// One entry with its bytes in the file.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) entry: Entry,
    pub(super) raw: Vec<u8>,
}

/// Reads frame after frame.
#[derive(Debug)]
pub(super) struct Frames {
    file: BufReader<File>,
    /// Where the next frame begins.
    pub(super) position: u64,
}

impl Frames {
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
pub(super) fn frame(entry: &Entry, out: &mut Vec<u8>) -> Option<()> {
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

/// Makes the creation, renaming and removal of files in a folder last.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
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
