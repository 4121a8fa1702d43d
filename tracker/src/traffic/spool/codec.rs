//! A spooled entry as bytes. Numbers are little-endian; texts carry their length. Framing and checksums are
//! `format.rs`'. The first format, which earlier trackers wrote, has no `ts`, no path and no extras.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use claims::Path;
use contract::{Event, Extras, InfoHash, Passkey, PeerId};

use crate::traffic::booking::{Booking, NumberedBooking};

/// Appends an entry. `None` when a text is longer than 65,535 bytes, which no request that a frontend accepts
/// can carry.
pub(super) fn encode(
    NumberedBooking { booking, sequence, ts }: &NumberedBooking,
    out: &mut Vec<u8>,
) -> Option<()> {
    for number in [*ts, *sequence, booking.at_ms, booking.uploaded, booking.downloaded, booking.left] {
        out.extend(number.to_le_bytes());
    }
    out.extend(booking.interval.to_le_bytes());
    out.extend(booking.min_interval.to_le_bytes());
    out.extend(booking.port.to_le_bytes());
    out.extend(booking.path.0.to_le_bytes());
    out.push(event_number(booking.event));
    match booking.ip {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend(ip.octets());
        }
    }
    out.extend(booking.info_hash.0);
    out.extend(booking.peer_id.0);
    text(booking.passkey.reveal(), out)?;
    text(booking.fd.as_deref().unwrap_or_default(), out)?;
    text(booking.pd.as_deref().unwrap_or_default(), out)?;
    let Extras { agent, key, corrupt } = &booking.extras;
    text(agent.as_deref().unwrap_or_default(), out)?;
    text(key.as_deref().unwrap_or_default(), out)?;
    text(&corrupt.map(|corrupt| corrupt.to_string()).unwrap_or_default(), out)
}

fn text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    out.extend(u16::try_from(text.len()).ok()?.to_le_bytes());
    out.extend(text.as_bytes());
    Some(())
}

/// Reads an entry back; `None` for bytes that [`encode`] did not write.
pub(super) fn decode(bytes: &[u8]) -> Option<NumberedBooking> {
    let mut rest = ByteReader(bytes);
    let ts = rest.u64()?;
    let numbers = Numbers::read(&mut rest)?;
    let path = Path(u32::from_le_bytes(rest.take()?));
    let mut entry = NumberedBooking { ts, ..numbers.entry(&mut rest, path)? };
    entry.booking.extras = Extras {
        agent: rest.optional_text()?,
        key: rest.optional_text()?,
        corrupt: rest.optional_text()?.map(|digits| digits.parse()).transpose().ok()?,
    };
    rest.0.is_empty().then_some(entry)
}

/// Reads an entry of the first format. Its client's address stands for the path that it came on.
pub(super) fn decode_first(bytes: &[u8], tracker_id: &str) -> Option<NumberedBooking> {
    let mut rest = ByteReader(bytes);
    let mut entry = Numbers::read(&mut rest)?.entry(&mut rest, Path(0))?;
    let address = entry.booking.ip.to_string();
    entry.booking.path = Path(crc32fast::hash([tracker_id, &address].concat().as_bytes()));
    rest.0.is_empty().then_some(entry)
}

/// What an entry begins with in both formats.
struct Numbers {
    sequence: u64,
    at_ms: u64,
    uploaded: u64,
    downloaded: u64,
    left: u64,
    interval: u32,
    min_interval: u32,
    port: u16,
}

impl Numbers {
    fn read(rest: &mut ByteReader<'_>) -> Option<Self> {
        Some(Self {
            sequence: rest.u64()?,
            at_ms: rest.u64()?,
            uploaded: rest.u64()?,
            downloaded: rest.u64()?,
            left: rest.u64()?,
            interval: u32::from_le_bytes(rest.take()?),
            min_interval: u32::from_le_bytes(rest.take()?),
            port: u16::from_le_bytes(rest.take()?),
        })
    }

    /// With what follows in both formats behind the path, up to `pd`.
    fn entry(self, rest: &mut ByteReader<'_>, path: Path) -> Option<NumberedBooking> {
        let Self { sequence, at_ms, uploaded, downloaded, left, interval, min_interval, port } = self;
        let [event, family] = rest.take()?;
        let ip = match family {
            4 => IpAddr::V4(Ipv4Addr::from(rest.take::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(rest.take::<16>()?)),
            _ => return None,
        };
        let booking = Booking {
            ip,
            port,
            uploaded,
            downloaded,
            left,
            event: event_of(event)?,
            at_ms,
            path,
            interval,
            min_interval,
            info_hash: InfoHash(rest.take()?),
            peer_id: PeerId(rest.take()?),
            passkey: Passkey::from_bytes(rest.text()?.as_bytes()).ok()?,
            fd: rest.optional_text()?,
            pd: rest.optional_text()?,
            extras: Extras::default(),
        };
        Some(NumberedBooking::new(booking, sequence))
    }
}

fn event_number(event: Event) -> u8 {
    match event {
        Event::None => 0,
        Event::Started => 1,
        Event::Completed => 2,
        Event::Stopped => 3,
    }
}

fn event_of(number: u8) -> Option<Event> {
    [Event::None, Event::Started, Event::Completed, Event::Stopped].get(usize::from(number)).copied()
}

struct ByteReader<'a>(&'a [u8]);

impl<'a> ByteReader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_le_bytes(self.take()?));
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(head).ok()
    }

    fn optional_text(&mut self) -> Option<Option<String>> {
        let text = self.text()?;
        Some((!text.is_empty()).then(|| text.to_owned()))
    }
}
