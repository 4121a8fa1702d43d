//! A disk in memory, for the simulation and for tests: a loss of power takes the bytes that were not synced,
//! and the disk can be full or broken for a while. Not for a tracker: nothing in it outlives the process.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Cursor, ErrorKind};
use std::path::PathBuf;
use std::rc::Rc;

use super::{Disk, DiskFile};

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It takes so many bytes more.
    Full {
        /// Bytes.
        room: usize,
    },
    /// Whatever is asked of it fails.
    Broken,
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    state: Rc<RefCell<State>>,
    /// What the names of the folder's files begin with.
    prefix: String,
}

type Names = BTreeMap<String, Rc<RefCell<Content>>>;

#[derive(Debug, Default)]
struct State {
    names: Names,
    synced: Names,
    fault: Option<Fault>,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    /// Something that was synced is cut off since.
    shrunk: bool,
}

impl Content {
    fn sync(&mut self) {
        if self.shrunk {
            self.synced.clear();
        }
        self.synced.extend_from_slice(&self.bytes[self.synced.len()..]);
        self.shrunk = false;
    }

    fn lose_power(&mut self, keeps: usize) {
        let unsynced = if self.shrunk { &[] } else { &self.bytes[self.synced.len()..] };
        let kept = self.synced.iter().chain(unsynced.iter().take(keeps)).copied().collect();
        (self.bytes, self.shrunk) = (kept, false);
        self.synced.clone_from(&self.bytes);
    }
}

impl MemoryDisk {
    /// From now on it is as the fault says; `None`: it works.
    pub fn fail(&self, fault: Option<Fault>) {
        self.state.borrow_mut().fault = fault;
    }

    /// Names and contents are what was synced last; of what was written behind that, each file has up to
    /// `keeps` bytes: disks write when they like.
    pub fn lose_power(&self, keeps: usize) {
        let mut state = self.state.borrow_mut();
        state.names = state.synced.clone();
        state.names.values().for_each(|content| content.borrow_mut().lose_power(keeps));
    }

    /// Another disk with the same files, all of them synced.
    #[must_use]
    pub fn copy(&self) -> Self {
        let twin = |content: &Rc<RefCell<Content>>| {
            let bytes = content.borrow().bytes.clone();
            Rc::new(RefCell::new(Content { synced: bytes.clone(), bytes, shrunk: false }))
        };
        let state = self.state.borrow();
        let names: Names = state.names.iter().map(|(name, content)| (name.clone(), twin(content))).collect();
        let state = Rc::new(RefCell::new(State { synced: names.clone(), names, fault: None }));
        Self { state, prefix: self.prefix.clone() }
    }

    fn works(&self) -> io::Result<()> {
        match self.state.borrow().fault {
            Some(Fault::Broken) => Err(io::Error::other("the disk is broken")),
            _ => Ok(()),
        }
    }

    fn content(&self, name: &str) -> io::Result<Rc<RefCell<Content>>> {
        self.works()?;
        self.state.borrow().names.get(&self.full(name)).cloned().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn full(&self, name: &str) -> String {
        [&self.prefix, name].concat()
    }

    /// How many of so many bytes it takes.
    fn takes(&self, bytes: usize) -> usize {
        match &mut self.state.borrow_mut().fault {
            Some(Fault::Full { room }) => {
                let taken = bytes.min(*room);
                *room -= taken;
                taken
            }
            _ => bytes,
        }
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;
    type Reader = Cursor<Vec<u8>>;

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.full(name))
    }

    fn folder(&self, name: &str) -> io::Result<Self> {
        self.works()?;
        Ok(Self { state: self.state.clone(), prefix: format!("{}{name}/", self.prefix) })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.works()?;
        let state = self.state.borrow();
        let inside = state.names.keys().filter_map(|name| name.strip_prefix(&self.prefix));
        Ok(inside.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.content(name)?.borrow().bytes.len() as u64)
    }

    fn read(&self, name: &str, position: u64) -> io::Result<Cursor<Vec<u8>>> {
        let content = self.content(name)?;
        let mut reader = Cursor::new(content.borrow().bytes.clone());
        reader.set_position(position);
        Ok(reader)
    }

    fn create(&self, name: &str) -> io::Result<MemoryFile> {
        self.works()?;
        let mut state = self.state.borrow_mut();
        if state.names.contains_key(&self.full(name)) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let content = state.names.entry(self.full(name)).or_default().clone();
        Ok(MemoryFile { content, disk: self.clone() })
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        Ok(MemoryFile { content: self.content(name)?, disk: self.clone() })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let content = self.content(from)?;
        let mut state = self.state.borrow_mut();
        state.names.remove(&self.full(from));
        state.names.insert(self.full(to), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.content(name)?;
        self.state.borrow_mut().names.remove(&self.full(name));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        self.works()?;
        let mut state = self.state.borrow_mut();
        state.synced = state.names.clone();
        Ok(())
    }
}

/// A file of a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryFile {
    content: Rc<RefCell<Content>>,
    disk: MemoryDisk,
}

impl DiskFile for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.works()?;
        let taken = self.disk.takes(bytes.len());
        self.content.borrow_mut().bytes.extend_from_slice(&bytes[..taken]);
        if taken < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.works()?;
        let mut content = self.content.borrow_mut();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        content.shrunk |= bytes < content.synced.len();
        content.bytes.truncate(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.works()?;
        self.content.borrow_mut().sync();
        Ok(())
    }
}
