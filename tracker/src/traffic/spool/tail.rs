//! What Redis confirmed lately, on disk: a Redis that comes back older than it was is told it again, also
//! when the tracker was killed meanwhile.
//!
//! It is written before clients are answered and synced about once a second, so a kill loses none of it, and
//! a loss of power a second. Files end after some seconds or megabytes and are removed when they are old.
//! What earlier processes left is read oldest first; there the last record of a number counts, because an
//! entry may have been computed anew.

use std::collections::{HashMap, VecDeque};
use std::io;

use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::disk::{Disk, DiskFile};
use super::format::Format;
use super::pieces::Piece;
use super::segment::Segment;
use super::store::number_and_kind;
use super::take::Batch;
use crate::traffic::booking::NumberedBooking;

/// A file takes what is confirmed within so long.
const FILE_MS: u64 = 10_000;
/// A file is not continued beyond.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
/// How long what was written may wait to be synced.
const SYNC_MS: u64 = 1000;

/// How much of what Redis confirmed is kept: option `tail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TailLimits {
    /// Longer than Redis may lose.
    pub seconds: u64,
    /// Whatever the time, not more.
    pub max_bytes: u64,
}

impl Default for TailLimits {
    /// Redis writes its append-only file to the disk once a second, and a replica is promoted within some
    /// tens of seconds.
    fn default() -> Self {
        Self { seconds: 60, max_bytes: 64 * 1024 * 1024 }
    }
}

/// The files of the tail.
#[derive(Debug)]
pub(super) struct Tail<D: Disk> {
    disk: D,
    limits: TailLimits,
    /// This process's files, oldest first. The last one may be open.
    written: VecDeque<Written>,
    open: Option<D::File>,
    /// Files of earlier processes, oldest first.
    leftovers: VecDeque<Leftover>,
    next_number: u64,
    /// Files with something that is not synced.
    unsynced: Vec<String>,
    synced_ms: u64,
    damaged: u64,
}

/// A file that this process wrote.
#[derive(Debug)]
struct Written {
    name: String,
    tracker_id: String,
    bytes: u64,
    began_ms: u64,
    last_ms: u64,
}

/// A file that an earlier process wrote.
#[derive(Debug)]
struct Leftover {
    name: String,
    number: u64,
    bytes: u64,
    /// What it holds, once it was read: by whom, and what.
    content: Option<(String, Vec<NumberedBooking>)>,
    /// Entries that were let go of.
    done: usize,
}

/// Files that were written and not synced. Syncing them holds nobody up who writes.
#[derive(Debug)]
pub(super) struct Unsynced<D: Disk> {
    disk: D,
    files: Vec<D::File>,
}

impl<D: Disk> Unsynced<D> {
    pub(super) fn sync(self) -> io::Result<()> {
        for mut file in self.files {
            file.sync()?;
        }
        self.disk.sync_names()
    }
}

impl<D: Disk> Tail<D> {
    /// The tail in a folder of its own, with what earlier processes left there.
    pub(super) fn on(disk: D, limits: TailLimits) -> io::Result<Self> {
        let mut leftovers = Vec::new();
        for name in disk.names()? {
            if let Some((number, "tail")) = number_and_kind(&name) {
                let bytes = disk.size(&name)?;
                leftovers.push(Leftover { name, number, bytes, content: None, done: 0 });
            }
        }
        leftovers.sort_by_key(|leftover| leftover.number);
        let mut damaged = 0;
        // One that cannot be read is tried again when its turn comes.
        if let Some(last) = leftovers.last_mut()
            && let Ok((Some(content), places)) = read(&disk, last)
        {
            (last.content, damaged) = (Some(content), places);
        }
        Ok(Self {
            disk,
            limits,
            written: VecDeque::new(),
            open: None,
            next_number: leftovers.last().map_or(1, |last| last.number + 1),
            leftovers: leftovers.into(),
            unsynced: Vec::new(),
            synced_ms: 0,
            damaged,
        })
    }

    pub(super) fn set_limits(&mut self, limits: TailLimits) {
        self.limits = limits;
    }

    /// The highest stamp of what earlier processes left: in their last file.
    pub(super) fn newest_ms(&self) -> Option<u64> {
        let (_, entries) = self.leftovers.back()?.content.as_ref()?;
        entries.iter().map(|entry| entry.booking.at_ms).max()
    }

    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }

    pub(super) fn bytes(&self) -> u64 {
        let written = self.written.iter().map(|file| file.bytes);
        written.chain(self.leftovers.iter().map(|file| file.bytes)).sum()
    }

    /// Writes entries down, unsynced. Half a write that failed costs nothing that follows: a new file takes
    /// it, and a reader skips what is no entry.
    pub(super) fn append(
        &mut self,
        tracker_id: &str,
        entries: &[NumberedBooking],
        now_ms: u64,
    ) -> io::Result<()> {
        if entries.is_empty() || self.limits.seconds == 0 {
            return Ok(());
        }
        let format = Format::of(tracker_id);
        let mut bytes = format.frames(entries).ok_or_else(|| io::Error::other("an entry is too long"))?;
        if !self.goes_on(tracker_id, now_ms) {
            self.begin_file(tracker_id, now_ms)?;
            bytes.splice(..0, format.header());
        }
        let (Some(mut file), Some(last)) = (self.open.take(), self.written.back_mut()) else { return Ok(()) };
        file.write(&bytes)?;
        self.open = Some(file);
        last.bytes += bytes.len() as u64;
        last.last_ms = now_ms;
        if self.unsynced.last() != Some(&last.name) {
            self.unsynced.push(last.name.clone());
        }
        self.drop_what_is_old(now_ms);
        Ok(())
    }

    fn goes_on(&self, tracker_id: &str, now_ms: u64) -> bool {
        let share = (self.limits.max_bytes / 4).min(FILE_BYTES);
        self.open.is_some()
            && self.written.back().is_some_and(|last| {
                last.tracker_id == tracker_id
                    && last.bytes < share
                    && now_ms.saturating_sub(last.began_ms) < FILE_MS
            })
    }

    fn begin_file(&mut self, tracker_id: &str, now_ms: u64) -> io::Result<()> {
        let name = format!("{:016}.tail", self.next_number);
        // A number is used once, also when this fails: the disk may keep what it was told to remove.
        self.next_number += 1;
        self.open = Some(self.disk.create(&name)?);
        let tracker_id = tracker_id.to_owned();
        self.written.push_back(Written { name, tracker_id, bytes: 0, began_ms: now_ms, last_ms: now_ms });
        Ok(())
    }

    fn drop_what_is_old(&mut self, now_ms: u64) {
        let kept_ms = self.limits.seconds.saturating_mul(1000);
        let mut bytes: u64 = self.written.iter().map(|file| file.bytes).sum();
        while self.written.len() > 1
            && let Some(oldest) = self.written.front()
            && (now_ms.saturating_sub(oldest.last_ms) > kept_ms || bytes > self.limits.max_bytes)
            && let Some(oldest) = self.written.pop_front()
        {
            bytes -= oldest.bytes;
            self.unsynced.retain(|name| *name != oldest.name);
            self.remove(&oldest.name);
        }
    }

    fn remove(&self, name: &str) {
        if let Err(error) = self.disk.remove(name) {
            let file = self.disk.path(name);
            // Harmless for the books: what is booked is recognised by its number.
            error!(file = %file.display(), %error, "a file of the tail cannot be removed; the next start reads it");
        }
    }

    /// What is to be synced, when it is time for it.
    pub(super) fn unsynced(&mut self, now_ms: u64) -> io::Result<Option<Unsynced<D>>> {
        if self.unsynced.is_empty() || now_ms.saturating_sub(self.synced_ms) < SYNC_MS {
            return Ok(None);
        }
        self.synced_ms = now_ms;
        let names = std::mem::take(&mut self.unsynced);
        let files = names.iter().map(|name| self.disk.open(name)).collect::<io::Result<_>>()?;
        Ok(Some(Unsynced { disk: self.disk.clone(), files }))
    }

    /// The oldest entries of earlier processes, all of one process, at most so many; `None` when there are
    /// none. They stay until [`Tail::let_go`].
    pub(super) fn oldest_leftover(&mut self, limit: usize) -> io::Result<Option<Batch>> {
        while let Some(first) = self.leftovers.front_mut() {
            if first.content.is_none() {
                let (content, damaged) = read(&self.disk, first)?;
                self.damaged += damaged;
                first.content = content;
            }
            if let Some((tracker_id, entries)) = &first.content
                && first.done < entries.len()
            {
                let end = entries.len().min(first.done.saturating_add(limit));
                let (tracker_id, entries) = (tracker_id.clone(), entries[first.done..end].to_vec());
                return Ok(Some(Batch { tracker_id, entries, segment: first.number, end: end as u64 }));
            }
            self.forget_first();
        }
        Ok(None)
    }

    /// Lets go of a batch that Redis has.
    pub(super) fn let_go(&mut self, batch: &Batch) {
        let Some(first) = self.leftovers.front_mut().filter(|first| first.number == batch.segment) else {
            return;
        };
        first.done = usize::try_from(batch.end).unwrap_or(usize::MAX);
        if first.content.as_ref().is_none_or(|(_, entries)| first.done >= entries.len()) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.leftovers.pop_front() {
            self.remove(&first.name);
        }
    }
}

type Content = Option<(String, Vec<NumberedBooking>)>;

/// What a file holds, and in how many places it is damaged.
fn read<D: Disk>(disk: &D, file: &Leftover) -> io::Result<(Content, u64)> {
    let Some(segment) = Segment::find(disk, &file.name, file.number)? else {
        // The process died between making the file and writing to it.
        let damaged = u64::from(disk.size(&file.name)? > 0);
        return Ok((None, damaged));
    };
    let (mut entries, mut damaged) = (Vec::new(), 0);
    let mut pieces = segment.pieces(disk, 0)?;
    while let Some(piece) = pieces.next_piece()? {
        match piece {
            Piece::Entry(entry) => entries.push(*entry),
            Piece::Damaged => damaged += 1,
            Piece::Unfinished => {}
        }
    }
    if damaged > 0 {
        let file = disk.path(&file.name);
        warn!(file = %file.display(), places = damaged, "a file of the tail is damaged; the announces around the damage are read");
    }
    Ok((Some((segment.tracker_id().to_owned(), last_of_each_number(entries))), damaged))
}

fn last_of_each_number(mut entries: Vec<NumberedBooking>) -> Vec<NumberedBooking> {
    let places = entries.iter().enumerate().map(|(place, entry)| (entry.sequence, place));
    let last: HashMap<u64, usize> = places.collect();
    let mut place = 0..;
    entries.retain(|entry| place.next() == last.get(&entry.sequence).copied());
    entries
}
