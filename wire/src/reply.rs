//! The answer to an accepted announce, before it is written as bencode or as a packet.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::peers::Offers;

/// How many clients seed and leech a torrent. A client on two addresses counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Clients that have the whole torrent: seeders.
    pub complete: u32,
    /// Clients that still download: leechers.
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
    /// Seeders and leechers of the whole swarm.
    pub counts: Counts,
    /// Peers to connect to, in wire order.
    pub offers: Offers,
    /// The address we saw (BEP 24).
    pub external_ip: IpAddr,
    /// What the client shows its user. UDP has no room for it.
    pub warning: Option<Cow<'static, str>>,
}
