//! The spool's folder: numbered segments, oldest first, within a limit of bytes. What [`Store::append`]
//! accepted is on disk.
//!
//! One process owns the folder (a lock that the kernel drops with the process). Everything here blocks.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::{error, info, warn};

use super::compact;
use super::segment::{self, Segment};
use crate::traffic::booking::Entry;

/// Segments end at this share of the limit, so that space comes back in steps while the spool is replayed.
const SEGMENTS_IN_LIMIT: u64 = 16;
const MAX_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// The share of the limit that must be appended between two attempts to coalesce: each reads everything.
const COALESCE_AFTER: u64 = 16;

/// Why a folder cannot be a spool.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Two trackers must not share a folder: they would replay and remove each other's announces.
    #[error("another tracker uses it")]
    InUse,
    /// It cannot be created, read or written.
    #[error("it cannot be used: {0}")]
    Disk(#[from] io::Error),
}

/// Why entries were not spooled.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The limit is reached, and coalescing does not help.
    #[error("the spool is full")]
    Full,
    /// The disk does not take them.
    #[error("the spool cannot be written: {0}")]
    Disk(#[from] io::Error),
}

/// The spool on disk.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    _lock: File,
    max_bytes: u64,
    pub(super) segments: VecDeque<Segment>,
    /// The last segment's file, when this process may append to it.
    pub(super) active: Option<File>,
    /// Where in the first segment the first entry is that is not booked yet.
    pub(super) cursor: u64,
    /// The first segment was read from: it must not be rewritten under its reader.
    pub(super) is_being_read: bool,
    next_number: u64,
    aside_bytes: u64,
    appended_since_coalescing: u64,
    coalesced: u64,
}

impl Store {
    /// Takes possession of the folder, creating it when it is not there, and finds what an earlier process
    /// left.
    ///
    /// # Errors
    /// [`OpenError`]; the folder is unchanged then.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Self, OpenError> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut lock = OpenOptions::new();
        let lock = lock.write(true).create(true).truncate(false).mode(0o600).open(directory.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse,
            TryLockError::Error(error) => OpenError::Disk(error),
        })?;
        let mut store = Self {
            directory: directory.to_owned(),
            _lock: lock,
            max_bytes,
            segments: VecDeque::new(),
            active: None,
            cursor: segment::HEADER_BYTES,
            is_being_read: false,
            next_number: 1,
            aside_bytes: 0,
            appended_since_coalescing: max_bytes,
            coalesced: 0,
        };
        store.find_segments()?;
        Ok(store)
    }

    fn find_segments(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        for file in fs::read_dir(&self.directory)? {
            let path = file?.path();
            let Some(number) = number_of(&path) else { continue };
            self.next_number = self.next_number.max(number + 1);
            match path.extension().and_then(|extension| extension.to_str()) {
                // Left over from a rewriting that did not finish: the original is still there.
                Some("new") => fs::remove_file(&path)?,
                Some("spool" | "aside") => found.push((number, path)),
                _ => {}
            }
        }
        found.sort();
        let newest = found.last().map(|(number, _)| *number);
        for (number, path) in found {
            match Segment::scan(&path, number)? {
                Some(segment) => self.segments.push_back(segment),
                None => {
                    warn!(file = %path.display(), "a spool file has no readable header; it is kept as .damaged");
                    fs::rename(&path, path.with_extension("damaged"))?;
                }
            }
        }
        if let Some(last) = self.segments.back_mut().filter(|last| last.torn && newest == Some(last.number)) {
            cut(last)?;
        }
        if !self.is_empty() {
            let (directory, records) = (self.directory.display(), self.records());
            info!(%directory, records, "announces of an earlier run wait in the spool");
        }
        Ok(())
    }

    /// Takes entries into the spool: all of them or none. They are on disk when this returns.
    ///
    /// # Errors
    /// [`AppendError`]; what was accepted before is untouched.
    pub fn append(&mut self, tracker_id: &str, entries: &[Entry]) -> Result<(), AppendError> {
        let mut frames = Vec::with_capacity(entries.len() * 192);
        for entry in entries {
            segment::frame(entry, &mut frames).ok_or(AppendError::Full)?;
        }
        self.make_room(frames.len() as u64)?;
        self.roll(tracker_id)?;
        if let Err(error) = self.write(&frames) {
            self.roll_back();
            return Err(error.into());
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += frames.len() as u64;
            segment.records += entries.len() as u64;
            segment.oldest_ms = segment.oldest_ms.or(entries.first().map(|entry| entry.booking.observed_ms));
        }
        self.appended_since_coalescing += frames.len() as u64;
        Ok(())
    }

    fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        let file = self.active.as_mut().ok_or_else(|| io::Error::other("no segment is open"))?;
        file.write_all(frames)?;
        file.sync_data()
    }

    /// Cuts off what a failed write left, and leaves the segment: after a failed sync nobody knows what a
    /// file holds beyond what was synced before.
    fn roll_back(&mut self) {
        let (Some(file), Some(segment)) = (self.active.take(), self.segments.back_mut()) else { return };
        if let Err(error) = file.set_len(segment.bytes).and_then(|()| file.sync_all()) {
            warn!(file = %segment.path.display(), %error, "an unfinished write cannot be cut off the spool; it is skipped when read");
            segment.torn = true;
        }
    }

    /// Opens the segment for the next entries: the last one, or a new one.
    fn roll(&mut self, tracker_id: &str) -> io::Result<()> {
        let limit = (self.max_bytes / SEGMENTS_IN_LIMIT).min(MAX_SEGMENT_BYTES);
        let fits = |last: &Segment| last.bytes < limit && last.tracker_id == tracker_id;
        if self.active.is_some() && self.segments.back().is_some_and(fits) {
            return Ok(());
        }
        let (segment, file) = self.create("spool", tracker_id)?;
        self.segments.push_back(segment);
        self.active = Some(file);
        Ok(())
    }

    fn create(&mut self, kind: &str, tracker_id: &str) -> io::Result<(Segment, File)> {
        let path = self.directory.join(format!("{:016}.{kind}", self.next_number));
        let created = Segment::create(path, self.next_number, tracker_id)?;
        self.next_number += 1;
        segment::sync_folder(&self.directory)?;
        Ok(created)
    }

    fn make_room(&mut self, wanted: u64) -> Result<(), AppendError> {
        let fits = |store: &Self| store.bytes() + segment::HEADER_BYTES + wanted <= store.max_bytes;
        if fits(self) {
            return Ok(());
        }
        if self.appended_since_coalescing >= self.max_bytes / COALESCE_AFTER {
            self.appended_since_coalescing = 0;
            self.coalesce()?;
        }
        if fits(self) { Ok(()) } else { Err(AppendError::Full) }
    }

    /// Drops plain announces that a later one of the same session says as well.
    fn coalesce(&mut self) -> io::Result<()> {
        // The last segment's file is about to be another one.
        self.active = None;
        let superseded = compact::superseded(&self.segments)?;
        let spared = usize::from(self.is_being_read);
        for (segment, drops) in self.segments.iter_mut().zip(&superseded).skip(spared) {
            self.coalesced += compact::rewrite(segment, drops)?;
        }
        segment::sync_folder(&self.directory)?;
        Ok(())
    }

    /// Keeps entries that Redis will not book until somebody repairs it, out of the way of the others. They
    /// are tried again at the next start.
    pub(super) fn set_aside(&mut self, tracker_id: &str, entries: &[Entry]) -> io::Result<PathBuf> {
        let mut frames = Vec::new();
        for entry in entries {
            segment::frame(entry, &mut frames).ok_or_else(|| io::Error::other("an entry is too long"))?;
        }
        let (segment, mut file) = self.create("aside", tracker_id)?;
        file.write_all(&frames)?;
        file.sync_all()?;
        self.aside_bytes += segment.bytes + frames.len() as u64;
        Ok(segment.path)
    }

    /// Takes the first segment out of the spool: all of it is booked.
    pub(super) fn retire_first(&mut self) {
        let Some(first) = self.segments.pop_front() else { return };
        if self.segments.is_empty() {
            self.active = None;
        }
        (self.cursor, self.is_being_read) = (segment::HEADER_BYTES, false);
        let gone = if first.torn {
            warn!(file = %first.path.display(), "a spool file was damaged; what could be read is booked, and it is kept as .damaged");
            fs::rename(&first.path, first.path.with_extension("damaged"))
        } else {
            fs::remove_file(&first.path)
        };
        if let Err(error) = gone.and_then(|()| segment::sync_folder(&self.directory)) {
            // Harmless for the books: what is booked is recognised by its number.
            error!(file = %first.path.display(), %error, "a booked spool file cannot be removed; the next start reads it again");
        }
    }

    /// Whether everything is booked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes on disk, entries set aside included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.aside_bytes + self.segments.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    /// Entries that wait.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }

    /// When the oldest entry was observed, in Unix milliseconds; about that once part of its file is booked.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<u64> {
        self.segments.iter().find_map(|segment| segment.oldest_ms)
    }

    /// Entries dropped so far because a later one said the same.
    #[must_use]
    pub fn coalesced(&self) -> u64 {
        self.coalesced
    }

    /// Another limit of bytes.
    pub fn set_limit(&mut self, max_bytes: u64) {
        self.max_bytes = max_bytes;
    }
}

/// Only the newest segment can be torn by a kill, and only in an announce that nobody was answered for. Any
/// other torn segment is damage: its readable part is replayed and the file kept.
fn cut(newest: &mut Segment) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(&newest.path)?;
    file.set_len(newest.bytes)?;
    file.sync_all()?;
    newest.torn = false;
    info!(file = %newest.path.display(), "cut an unfinished write off the spool; nobody was answered for it");
    Ok(())
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}
