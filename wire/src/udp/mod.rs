//! The packets of the UDP tracker protocol (BEP 15), both ways: clients send a [`Request`] and get a
//! [`Response`].
//!
//! Pure: bytes in, types out, and back. Whatever a stranger sends, reading it neither panics nor allocates.

mod request;
mod response;
pub mod url_data;

use contract::Event;
use thiserror::Error;

pub use request::{AnnounceForm, AnnounceRequest, Request, ScrapeRequest, announced_torrent, parse};
pub use response::{Response, transaction, write_announce, write_connect, write_error, write_scrape};

/// What a client sends in place of a connection id when it asks for one.
pub const PROTOCOL_ID: u64 = 0x0417_2710_1980;

/// Torrents that fit one scrape (BEP 15).
pub const MAX_SCRAPE: usize = 74;

/// IPv4 peers at most in one reply: with headers it then fits the 1500 bytes of an Ethernet frame, tunnels
/// allowed for, and is never fragmented.
pub const MAX_PEERS_V4: usize = 230;

/// IPv6 peers at most in one reply, likewise.
pub const MAX_PEERS_V6: usize = 76;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;
/// Before BEP 15 said how, opentracker's clients announced over IPv6 with an action of its own.
const LEGACY_ANNOUNCE_V6: u32 = 4;

/// Why bytes are not a packet of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// It ends before it should.
    #[error("the packet is too short")]
    TooShort,
    /// It asks for a connection id in another protocol's words.
    #[error("the packet is not of the UDP tracker protocol")]
    OtherProtocol,
    /// Nobody knows what it asks for.
    #[error("the packet's action is unknown")]
    UnknownAction,
    /// Its length fits no whole number of what it lists.
    #[error("the packet ends in the middle of an item")]
    OddLength,
}

/// The event of a number; `None` for one that nobody knows.
#[must_use]
#[inline]
pub fn event(number: u32) -> Option<Event> {
    match number {
        0 => Some(Event::None),
        1 => Some(Event::Completed),
        2 => Some(Event::Started),
        3 => Some(Event::Stopped),
        _ => None,
    }
}

/// What BEP 15 writes for an event: 0 none, 1 completed, 2 started, 3 stopped.
#[must_use]
#[inline]
pub fn event_number(event: Event) -> u32 {
    match event {
        Event::None => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
    }
}

/// The fields of a packet, from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) = self.0.split_first_chunk().ok_or(Malformed::TooShort)?;
        self.0 = rest;
        Ok(*field)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_be_bytes)
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_those_of_the_protocol() {
        let known = [Event::None, Event::Completed, Event::Started, Event::Stopped];
        assert_eq!([0, 1, 2, 3].map(event), known.map(Some));
        assert_eq!(known.map(event_number), [0, 1, 2, 3]);
        assert_eq!(event(4), None);
    }
}
