//! The spool's files: numbered segments, oldest first, within a limit of bytes. What [`Store::append`]
//! accepted is on disk. Everything here blocks as long as the disk does.
//!
//! Order holds because a folder has one owner at a time and everything older goes out first. Each segment
//! names the tracker process that numbered its entries, and they are booked under that name whichever process
//! replays them: Redis knows that name's last number, and so which entries are booked already.
//!
//! Coalescing waits until space runs out, because it costs seed time.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::{error, info, warn};

use super::compact;
use super::disk::{Disk, DiskFile, Folder, OpenError};
use super::format::Format;
use super::segment::{self, Segment};
use super::tail::{Tail, TailLimits};
use crate::traffic::booking::NumberedBooking;

/// Segments end at this share of the limit, so that space comes back in steps while the spool is replayed.
const SEGMENTS_IN_LIMIT: u64 = 16;
const MAX_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// The share of the limit that must be appended between two attempts to coalesce: each reads everything.
const COALESCE_AFTER: u64 = 16;

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
pub struct Store<D: Disk = Folder> {
    pub(super) disk: D,
    max_bytes: u64,
    pub(super) segments: VecDeque<Segment>,
    /// The last segment's file, when this process may append to it.
    active: Option<D::File>,
    /// Where in the first segment the first entry is that is not booked yet.
    pub(super) cursor: u64,
    /// The first segment was read from: it must not be rewritten under its reader.
    pub(super) is_being_read: bool,
    next_number: u64,
    aside_bytes: u64,
    appended_since_coalescing: u64,
    coalesced: u64,
    damaged: u64,
    newest_ms: Option<u64>,
    /// What Redis has confirmed lately.
    pub(super) tail: Tail<D>,
}

impl Store {
    /// Takes possession of a folder, creating it when it is not there, and finds what an earlier process
    /// left.
    ///
    /// # Errors
    /// [`OpenError`]; the folder is unchanged then.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Self, OpenError> {
        let store = Self::on(Folder::open(directory)?, max_bytes)?;
        if !store.is_empty() {
            let (directory, records) = (directory.display(), store.records());
            info!(%directory, records, "announces of an earlier run wait in the spool");
        }
        Ok(store)
    }
}

impl<D: Disk> Store<D> {
    /// The spool on a disk, with what an earlier process left there.
    ///
    /// # Errors
    /// The disk's own.
    pub fn on(disk: D, max_bytes: u64) -> io::Result<Self> {
        let mut store = Self {
            tail: Tail::on(disk.folder("tail")?, TailLimits::default())?,
            disk,
            max_bytes,
            segments: VecDeque::new(),
            active: None,
            cursor: 0,
            is_being_read: false,
            next_number: 1,
            aside_bytes: 0,
            appended_since_coalescing: max_bytes,
            coalesced: 0,
            damaged: 0,
            newest_ms: None,
        };
        store.find_segments()?;
        store.newest_ms = store.segments.iter().filter_map(|segment| segment.newest_ms).max();
        Ok(store)
    }

    fn find_segments(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        for name in self.disk.names()? {
            let Some((number, kind)) = number_and_kind(&name) else { continue };
            self.next_number = self.next_number.max(number + 1);
            match kind {
                // Left over from a rewriting that did not finish: the original is still there.
                "new" => self.disk.remove(&name)?,
                "spool" | "aside" => found.push((number, name)),
                _ => {}
            }
        }
        found.sort();
        let newest = found.last().map(|(number, _)| *number);
        for (number, name) in found {
            match Segment::scan(&self.disk, &name, number)? {
                Some(segment) => self.segments.push_back(segment),
                None => {
                    let file = self.disk.path(&name);
                    warn!(file = %file.display(), "a spool file has no readable header; it is kept as .damaged");
                    self.disk.rename(&name, &damaged(number))?;
                }
            }
        }
        if let Some(last) = self.segments.back_mut().filter(|last| last.torn && newest == Some(last.number)) {
            cut(&self.disk, last)?;
        }
        let damaged = self.segments.iter().filter(|segment| !segment.damaged.is_empty());
        for segment in damaged {
            self.damaged += segment.damaged.len() as u64;
            warn_of(&self.disk, segment, segment.damaged.len());
        }
        Ok(())
    }

    /// Bytes of the first segment that are no frame begin there.
    pub(super) fn note_damage(&mut self, positions: &[u64]) {
        let Some(first) = self.segments.front_mut() else { return };
        let new = positions.iter().filter(|position| first.damaged.insert(**position)).count();
        self.damaged += new as u64;
        if new > 0 {
            warn_of(&self.disk, first, new);
        }
    }

    /// Takes entries into the spool: all of them or none. They are on disk when this returns.
    ///
    /// # Errors
    /// [`AppendError`]; what was accepted before is untouched.
    pub fn append(&mut self, tracker_id: &str, entries: &[NumberedBooking]) -> Result<(), AppendError> {
        let frames = Format::of(tracker_id).frames(entries).ok_or(AppendError::Full)?;
        self.make_room(frames.len() as u64)?;
        self.roll(tracker_id)?;
        if let Err(error) = self.write(&frames) {
            self.roll_back();
            return Err(error.into());
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += frames.len() as u64;
            segment.records += entries.len() as u64;
            segment.oldest_ms = segment.oldest_ms.or(entries.first().map(|entry| entry.booking.at_ms));
        }
        self.appended_since_coalescing += frames.len() as u64;
        Ok(())
    }

    fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        let file = self.active.as_mut().ok_or_else(|| io::Error::other("no segment is open"))?;
        file.write(frames)?;
        file.sync()
    }

    /// Cuts off what a failed write left, and leaves the segment: after a failed sync nobody knows what a
    /// file holds beyond what was synced before. A segment in which there is nothing else goes: it would
    /// never be booked.
    fn roll_back(&mut self) {
        let (Some(mut file), Some(last)) = (self.active.take(), self.segments.back_mut()) else { return };
        let undone = match last.records {
            0 => self.disk.remove(&last.name),
            _ => file.cut(last.bytes).and_then(|()| file.sync()),
        };
        last.torn = undone.is_err();
        if let Err(error) = undone {
            let file = self.disk.path(&last.name);
            warn!(file = %file.display(), %error, "an unfinished write cannot be cut off the spool; it is skipped when read");
        }
        if last.records == 0 {
            self.segments.pop_back();
        }
    }

    /// Opens the segment for the next entries: the last one, or a new one.
    fn roll(&mut self, tracker_id: &str) -> io::Result<()> {
        let limit = (self.max_bytes / SEGMENTS_IN_LIMIT).min(MAX_SEGMENT_BYTES);
        let fits = |last: &Segment| last.bytes < limit && last.tracker_id() == tracker_id;
        if self.active.is_some() && self.segments.back().is_some_and(fits) {
            return Ok(());
        }
        let (segment, file) = self.create("spool", tracker_id)?;
        self.segments.push_back(segment);
        self.active = Some(file);
        Ok(())
    }

    fn create(&mut self, kind: &str, tracker_id: &str) -> io::Result<(Segment, D::File)> {
        let number = self.next_number;
        // A number is used once, also when this fails: the disk may keep what it was told to remove.
        self.next_number += 1;
        let created = Segment::create(&self.disk, format!("{number:016}.{kind}"), number, tracker_id)?;
        self.disk.sync_names()?;
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
        let superseded = compact::superseded(&self.disk, &self.segments)?;
        let spared = usize::from(self.is_being_read);
        for (segment, drops) in self.segments.iter_mut().zip(&superseded).skip(spared) {
            self.coalesced += compact::rewrite(&self.disk, segment, drops)?;
        }
        self.disk.sync_names()
    }

    /// Keeps entries that Redis will not book until somebody repairs it, out of the way of the others. They
    /// are tried again at the next start.
    pub(super) fn set_aside(&mut self, tracker_id: &str, entries: &[NumberedBooking]) -> io::Result<PathBuf> {
        let frames = Format::of(tracker_id).frames(entries);
        let frames = frames.ok_or_else(|| io::Error::other("an entry is too long"))?;
        let (segment, mut file) = self.create("aside", tracker_id)?;
        if let Err(error) = file.write(&frames).and_then(|()| file.sync()) {
            // They are still in their own file. Half of a file at each attempt would fill a disk for good.
            self.disk.remove(&segment.name)?;
            return Err(error);
        }
        self.aside_bytes += segment.bytes + frames.len() as u64;
        Ok(self.disk.path(&segment.name))
    }

    /// Takes the first segment out of the spool: all of it is booked.
    pub(super) fn retire_first(&mut self) {
        let Some(first) = self.segments.pop_front() else { return };
        if self.segments.is_empty() {
            self.active = None;
        }
        (self.cursor, self.is_being_read) = (0, false);
        let file = self.disk.path(&first.name);
        let gone = if first.torn || !first.damaged.is_empty() {
            warn!(file = %file.display(), "a spool file was damaged; what could be read is booked, and it is kept as .damaged");
            self.disk.rename(&first.name, &damaged(first.number))
        } else {
            self.disk.remove(&first.name)
        };
        if let Err(error) = gone.and_then(|()| self.disk.sync_names()) {
            // Harmless for the books: what is booked is recognised by its number.
            error!(file = %file.display(), %error, "a booked spool file cannot be removed; the next start reads it again");
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

    /// When the newest entry was observed that an earlier process has left, in Unix milliseconds.
    #[must_use]
    pub fn newest_ms(&self) -> Option<u64> {
        self.newest_ms.max(self.tail.newest_ms())
    }

    /// Entries dropped so far because a later one said the same.
    #[must_use]
    pub fn coalesced(&self) -> u64 {
        self.coalesced
    }

    /// Places found so far where files were damaged.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged + self.tail.damaged()
    }

    /// Other limits of the tail.
    pub fn set_tail_limits(&mut self, limits: TailLimits) {
        self.tail.set_limits(limits);
    }

    /// Bytes of the tail on disk.
    #[must_use]
    pub fn tail_bytes(&self) -> u64 {
        self.tail.bytes()
    }

    /// Another limit of bytes.
    pub fn set_limit(&mut self, max_bytes: u64) {
        self.max_bytes = max_bytes;
    }
}

/// Only the newest segment can be torn by a kill, and only in announces that nobody was answered for. Any
/// other torn segment is damage: the file is kept.
fn cut<D: Disk>(disk: &D, newest: &mut Segment) -> io::Result<()> {
    let mut file = disk.open(&newest.name)?;
    file.cut(newest.bytes)?;
    file.sync()?;
    newest.torn = false;
    let file = disk.path(&newest.name);
    info!(file = %file.display(), "cut an unfinished write off the spool; nobody was answered for it");
    Ok(())
}

fn warn_of<D: Disk>(disk: &D, segment: &Segment, places: usize) {
    let file = disk.path(&segment.name);
    warn!(file = %file.display(), places, "a spool file is damaged; the announces around the damage are booked");
}

pub(super) fn number_and_kind(name: &str) -> Option<(u64, &str)> {
    let (number, kind) = name.rsplit_once('.')?;
    Some((number.parse().ok()?, kind))
}

fn damaged(number: u64) -> String {
    format!("{number:016}.damaged")
}
