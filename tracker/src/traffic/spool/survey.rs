//! What lies in a spool's folder, read without changing anything: a tracker may have possession of it, and
//! then files come and go meanwhile.
//!
//! How much of the oldest file is booked only the tracker knows that replays it, so all of it counts as
//! waiting here.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, Folder};
use super::pieces::Piece;
use super::segment::Segment;
use super::store::number_and_kind;

/// What lies in a spool's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// A process has possession of it.
    pub is_in_use: bool,
    /// Its files, by kind and age.
    pub files: Vec<SurveyedFile>,
}

/// What a file of a spool is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SurveyedKind {
    /// Announces that Redis has not taken.
    Waiting,
    /// Announces that it refused, which the next start tries again.
    Aside,
    /// What it confirmed lately.
    Tail,
    /// Kept because it had changed on disk; nothing reads it.
    Damaged,
}

/// One file of a spool. No passkey and no client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it is for.
    pub kind: SurveyedKind,
    /// The process that numbered its entries, when its header says so.
    pub tracker_id: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// Entries that can be read; of a damaged file none is.
    pub records: u64,
    /// When the first of them arrived, in Unix milliseconds.
    pub oldest_ms: Option<u64>,
    /// When the last of them arrived.
    pub newest_ms: Option<u64>,
    /// Places where it had changed on disk.
    pub damaged: u64,
}

impl Survey {
    /// Looks into a folder; `None` when it is no spool's.
    ///
    /// # Errors
    /// When the folder or a file cannot be read.
    pub fn of(directory: &Path) -> io::Result<Option<Self>> {
        let folder = Folder::unowned(directory);
        let mut found = named(&folder, |kind| match kind {
            "spool" => Some(SurveyedKind::Waiting),
            "aside" => Some(SurveyedKind::Aside),
            "damaged" => Some(SurveyedKind::Damaged),
            _ => None,
        })?;
        let tail = directory.join("tail");
        if tail.is_dir() {
            let is_tail = |kind: &str| (kind == "tail").then_some(SurveyedKind::Tail);
            found.extend(named(&Folder::unowned(&tail), is_tail)?);
        }
        let owned = folder.is_owned()?;
        found.sort_by_key(|(kind, number, ..)| (*kind, *number));
        let files = found.iter().filter_map(|(kind, number, disk, name)| {
            let file = SurveyedFile::read(disk, name, *number, *kind);
            // Its tracker has removed it meanwhile.
            let is_gone = file.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            (!is_gone).then_some(file)
        });
        let files = files.collect::<io::Result<Vec<_>>>()?;
        let is_spool = owned.is_some() || !files.is_empty();
        Ok(is_spool.then(|| Self { is_in_use: owned == Some(true), files }))
    }

    /// Its files of one kind.
    pub fn of_kind(&self, kind: SurveyedKind) -> impl Iterator<Item = &SurveyedFile> {
        self.files.iter().filter(move |file| file.kind == kind)
    }
}

type Found = (SurveyedKind, u64, Folder, String);

fn named(folder: &Folder, kind_of: impl Fn(&str) -> Option<SurveyedKind>) -> io::Result<Vec<Found>> {
    let names = folder.names()?.into_iter();
    let found = names.filter_map(|name| {
        let (number, kind) = number_and_kind(&name)?;
        Some((kind_of(kind)?, number, folder.clone(), name))
    });
    Ok(found.collect())
}

impl SurveyedFile {
    fn read<D: Disk>(disk: &D, name: &str, number: u64, kind: SurveyedKind) -> io::Result<Self> {
        let mut file = Self {
            path: disk.path(name),
            kind,
            tracker_id: None,
            bytes: disk.size(name)?,
            records: 0,
            oldest_ms: None,
            newest_ms: None,
            damaged: 0,
        };
        if kind == SurveyedKind::Damaged {
            return Ok(file);
        }
        match Segment::find(disk, name, number)? {
            Some(segment) => file.read_entries(disk, &segment)?,
            // Empty: its process has only just made it, or died then.
            None => file.damaged = u64::from(file.bytes > 0),
        }
        Ok(file)
    }

    fn read_entries<D: Disk>(&mut self, disk: &D, segment: &Segment) -> io::Result<()> {
        self.tracker_id = Some(segment.tracker_id().to_owned());
        let mut pieces = segment.pieces(disk, 0)?;
        while let Some(piece) = pieces.next_piece()? {
            match piece {
                Piece::Entry(entry) => self.count(entry.booking.at_ms),
                Piece::Damaged => self.damaged += 1,
                Piece::Unfinished => {}
            }
        }
        Ok(())
    }

    fn count(&mut self, at_ms: u64) {
        self.records += 1;
        self.oldest_ms = Some(self.oldest_ms.map_or(at_ms, |oldest| oldest.min(at_ms)));
        self.newest_ms = Some(self.newest_ms.map_or(at_ms, |newest| newest.max(at_ms)));
    }
}
