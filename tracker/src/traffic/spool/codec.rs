//! A spooled entry as bytes. Numbers are little-endian; texts carry their length. Framing and checksums are
//! the segment's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use claims::Path;
use contract::{Event, Extras, InfoHash, Passkey, PeerId};

use crate::traffic::booking::{Booking, NumberedBooking};

/// Appends an entry. `None` when a text is longer than 65,535 bytes, which no request that a frontend accepts
/// can carry.
pub(super) fn encode(
    NumberedBooking { booking, sequence }: &NumberedBooking,
    out: &mut Vec<u8>,
) -> Option<()> {
    for number in [*sequence, booking.at_ms, booking.uploaded, booking.downloaded, booking.left] {
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
    let sequence = rest.u64()?;
    let (at_ms, uploaded, downloaded, left) = (rest.u64()?, rest.u64()?, rest.u64()?, rest.u64()?);
    let (interval, min_interval) = (u32::from_le_bytes(rest.take()?), u32::from_le_bytes(rest.take()?));
    let port = u16::from_le_bytes(rest.take()?);
    let path = Path(u32::from_le_bytes(rest.take()?));
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
        extras: Extras {
            agent: rest.optional_text()?,
            key: rest.optional_text()?,
            corrupt: rest.optional_text()?.map(|digits| digits.parse()).transpose().ok()?,
        },
    };
    rest.0.is_empty().then_some(NumberedBooking { booking, sequence })
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
