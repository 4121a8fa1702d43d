//! One copy of an announce: which way it goes, what it says, how a client sends it, and what it hears.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use contract::{Event, InfoHash, Passkey, PeerId};
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use crate::announce::{Announce, Bytes};

/// What a tracker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Udp,
}

/// One way to a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) tracker: usize,
    port: u16,
    pub(crate) protocol: Protocol,
    is_ipv6: bool,
}

impl Route {
    /// All ways to one tracker, which has the same port for both protocols.
    pub(crate) fn all(tracker: usize, port: u16, families: &'static [bool]) -> impl Iterator<Item = Self> {
        let protocols = [Protocol::Http, Protocol::Udp].into_iter();
        let route = move |protocol, is_ipv6| Self { tracker, port, protocol, is_ipv6 };
        protocols.flat_map(move |protocol| families.iter().map(move |is_ipv6| route(protocol, *is_ipv6)))
    }

    /// Loopback of this route's family.
    pub(crate) fn address(self) -> IpAddr {
        if self.is_ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
    }

    pub(crate) fn target(self) -> SocketAddr {
        SocketAddr::new(self.address(), self.port)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.is_ipv6 { 6 } else { 4 };
        write!(f, "tracker-{} {:?}/IPv{family}", self.tracker, self.protocol)
    }
}

/// How one copy of an announce is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendMode {
    KeepAlive,
    OneShot,
    /// Hangs up right after the request; over UDP there is nothing to hang up.
    HangUp,
    /// The answer is lost on its way.
    Deaf,
}

impl SendMode {
    const WEIGHTS: [(Self, u32); 4] =
        [(Self::KeepAlive, 60), (Self::OneShot, 30), (Self::HangUp, 5), (Self::Deaf, 5)];

    pub(crate) fn draw(dice: &mut ChaCha8Rng) -> Self {
        let drawn = Self::WEIGHTS.choose_weighted(dice, |(_, weight)| *weight);
        drawn.map_or(Self::OneShot, |(mode, _)| *mode)
    }
}

/// What a client heard of one copy.
#[derive(Debug)]
pub(crate) enum CopyOutcome {
    Answered,
    Refused(String),
    /// And why not.
    Nothing(String),
}

impl fmt::Display for CopyOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered => f.write_str("answered"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Nothing(why) => write!(f, "no answer: {why}"),
        }
    }
}

/// One copy of an announce.
#[derive(Debug, Clone)]
pub(crate) struct AnnounceCopy {
    pub(crate) passkey: Passkey,
    pub(crate) info_hash: InfoHash,
    pub(crate) peer_id: PeerId,
    pub(crate) announce: Announce,
}

impl AnnounceCopy {
    /// As path and query of a URL.
    pub(crate) fn url(&self) -> String {
        let Announce { event, counters: Bytes { up, down }, left, .. } = self.announce;
        let info_hash: String = self.info_hash.0.iter().map(|byte| format!("%{byte:02x}")).collect();
        let (passkey, peer_id) = (self.passkey.reveal(), String::from_utf8_lossy(&self.peer_id.0));
        let event = if event == Event::None { "" } else { event.as_str() };
        format!(
            "/{passkey}/announce?info_hash={info_hash}&peer_id={peer_id}&port=6881&uploaded={up}&downloaded={down}\
             &left={left}&compact=1&numwant=5&event={event}"
        )
    }
}
