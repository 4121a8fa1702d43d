//! A client as it was seen at one torrent: the part of a visit that other trackers can still use a while
//! later.

use std::net::IpAddr;

use contract::{InfoHash, PeerId};

use crate::announce::{Role, UserTag};

/// One client at one torrent, at a time that is told beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The client.
    pub peer_id: PeerId,
    /// Its user, when the tracker knows users.
    pub user: Option<UserTag>,
    /// Where it is reached.
    pub ip: IpAddr,
    /// Its port; 0 when it listens nowhere.
    pub port: u16,
    /// Its side.
    pub role: Role,
    /// It went.
    pub leaving: bool,
    /// It has just become a seeder.
    pub completed: bool,
}
