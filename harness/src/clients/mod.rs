//! Real BitTorrent clients as Debian ships them, each on a host of its own, with the tracker as its only
//! source of peers: DHT, peer exchange and local discovery are off, and so is uTP where it can be.
//!
//! What each can do over which transport is written down in docs/clients.md.

mod aria2;
mod deluge;
mod libtorrent;
mod qbittorrent;
mod rtorrent;
mod transmission;

use std::cell::RefCell;
use std::path::PathBuf;

pub use aria2::{Aria2, Download, Gid};
pub use deluge::Deluge;
pub use libtorrent::{Counters, LibTorrent};
pub use qbittorrent::QBittorrent;
pub use rtorrent::RTorrent;
pub use transmission::{Transfer, Transmission};

use crate::{Process, Torrent};

/// What a test asks of any client: take a torrent, share it, and be known again in the tracker's records.
pub trait Client {
    /// The program's name, in messages.
    fn name(&self) -> &'static str;

    /// How the peer ids of this client begin (BEP 20).
    fn peer_id_prefix(&self) -> &'static str;

    /// Where its files are.
    fn files(&self) -> PathBuf;

    /// Adds a torrent, which starts at once (and is checked first, when the file is there already).
    fn share(&self, torrent: &Torrent, announce_url: &str);

    /// Makes a client announce now that it has the whole torrent, if it does not do that by itself.
    fn announce_completion(&self, _torrent: &Torrent) {}

    /// The running program.
    fn process(&self) -> &RefCell<Process>;

    /// Polls until `condition` gives a value; fails at once when the client dies.
    fn until<T>(&self, what: &str, condition: impl FnMut() -> Option<T>) -> T
    where
        Self: Sized,
    {
        self.process().borrow_mut().wait_until(what, condition)
    }
}
