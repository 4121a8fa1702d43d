//! The answer to an accepted announce, before it is written as bencode or as a packet.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::peers::Offers;

/// How many clients seed and leech a torrent. A client on two addresses counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Seeders.
    pub complete: u32,
    /// Leechers.
    pub incomplete: u32,
    /// `completed` events seen since the torrent appeared in this process's memory.
    pub downloaded: u32,
}

/// The answer to an accepted announce.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Seconds until the next announce.
    pub interval: u32,
    /// Seconds before which no announce is wanted.
    pub min_interval: u32,
    /// The swarm's size.
    pub counts: Counts,
    /// The peers.
    pub offers: Offers,
    /// The address we saw (BEP 24).
    pub external_ip: IpAddr,
    /// What the client shows its user. UDP has no room for it.
    pub warning: Option<Cow<'static, str>>,
}
