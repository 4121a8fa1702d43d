//! The announces of one call, as `record.lua` takes them: one MessagePack text, which Redis reads in C.
//!
//! It is for sites whose Redis is the limit: twenty arguments an announce, which Redis parses and Lua interns
//! one by one, cost more than the deltas. Recording took Redis 3.6 times as long as a bare XADD with them and
//! takes 2.7 times as long now (`docs/performance.md`), part of it by the snapshot's `seen` being one field.
//!
//! Fields that the script reckons with go as numbers, fields that it only hands on as text.

use std::fmt::Write;
use std::net::IpAddr;

use arrayvec::ArrayString;
use contract::{AddressFamily, Event};
use rmp::encode::{ByteBuf, RmpWrite};

use super::booking::{Booking, NumberedBooking};

/// Bytes that an announce takes, roughly.
const ROOM: usize = 400;
/// An address as text is not longer: `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
type Address = ArrayString<46>;

/// All values of all entries, one behind the other, in the order of the script's variables.
pub(super) fn encode(tracker_id: &str, batch: &[NumberedBooking]) -> Vec<u8> {
    let mut encoder =
        Encoder { bytes: ByteBuf::with_capacity(batch.len() * ROOM), seen: Vec::with_capacity(64) };
    for entry in batch {
        encoder.entry(tracker_id, entry);
    }
    encoder.bytes.into_vec()
}

struct Encoder {
    bytes: ByteBuf,
    /// Room for one snapshot's `seen`.
    seen: Vec<u8>,
}

impl Encoder {
    fn entry(&mut self, tracker_id: &str, NumberedBooking { booking, sequence, .. }: &NumberedBooking) {
        let Booking { passkey, info_hash, peer_id, ip, port, uploaded, downloaded, left, .. } = booking;
        let mut address = Address::new();
        // Never too long for its room; were it, the endpoint would lack its end, and no byte.
        write!(address, "{ip}").ok();
        self.text(passkey.reveal().as_bytes());
        self.text(&info_hash.hex_bytes());
        self.text(&peer_id.hex_bytes());
        self.digits((*port).into());
        self.text(address.as_bytes());
        self.text(AddressFamily::of(*ip).as_str().as_bytes());
        self.number(*uploaded);
        self.digits(*uploaded);
        self.number(*downloaded);
        self.digits(*downloaded);
        self.digits(*left);
        self.text(booking.event.as_str().as_bytes());
        self.number(booking.at_ms);
        self.digits(booking.at_ms / 1000);
        self.number(*sequence);
        self.observation(tracker_id, booking, *sequence);
        self.digits(booking.interval.into());
        self.digits(booking.min_interval.into());
        self.text(booking.fd.as_deref().unwrap_or_default().as_bytes());
        self.text(booking.pd.as_deref().unwrap_or_default().as_bytes());
    }

    /// What a snapshot's `seen` begins with, then all of it. See `record.lua`.
    fn observation(&mut self, tracker_id: &str, booking: &Booking, sequence: u64) {
        let mut seen = std::mem::take(&mut self.seen);
        seen.clear();
        seen.extend_from_slice(tracker_id.as_bytes());
        seen.push(b'/');
        seen.extend_from_slice(&hex(endpoint(booking.ip, booking.port)));
        seen.push(b' ');
        self.text(&seen);
        if booking.event == Event::Stopped {
            seen.insert(0, b'!');
        }
        let mut digits = itoa::Buffer::new();
        seen.extend_from_slice(digits.format(sequence).as_bytes());
        for number in [booking.at_ms, booking.left] {
            seen.push(b' ');
            seen.extend_from_slice(digits.format(number).as_bytes());
        }
        self.text(&seen);
        self.seen = seen;
    }

    fn digits(&mut self, number: u64) {
        self.text(itoa::Buffer::new().format(number).as_bytes());
    }

    fn number(&mut self, number: u64) {
        let Ok(()) = rmp::encode::write_u64(&mut self.bytes, number);
    }

    fn text(&mut self, text: &[u8]) {
        // An announce's texts come out of a request of some kilobytes.
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let Ok(_) = rmp::encode::write_str_len(&mut self.bytes, length);
        let Ok(()) = self.bytes.write_bytes(text);
    }
}

/// A digest by which a moved client is told: were two the same, its snapshot would keep the old address for a
/// while.
fn endpoint(ip: IpAddr, port: u16) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    match ip {
        IpAddr::V4(ip) => hasher.update(&ip.octets()),
        IpAddr::V6(ip) => hasher.update(&ip.octets()),
    }
    hasher.update(&port.to_be_bytes());
    hasher.finalize()
}

fn hex(digest: u32) -> [u8; 8] {
    std::array::from_fn(|place| {
        let nibble = (digest >> (28 - 4 * place)) & 15;
        b"0123456789abcdef"[nibble as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{InfoHash, PeerId};

    fn entry() -> NumberedBooking {
        let booking = Booking {
            passkey: "alice".parse().unwrap(),
            info_hash: InfoHash([7; 20]),
            peer_id: PeerId([8; 20]),
            ip: "192.0.2.7".parse().unwrap(),
            port: 6881,
            uploaded: 300,
            downloaded: 5,
            left: 0,
            event: Event::Stopped,
            at_ms: 1_700_000_000_123,
            path: claims::Path(1),
            interval: 1800,
            min_interval: 900,
            fd: Some("f".repeat(300)),
            pd: None,
            extras: contract::Extras::default(),
        };
        NumberedBooking::new(booking, 42)
    }

    fn holds(pack: &[u8], part: &[u8]) -> bool {
        pack.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn texts_of_any_length_carry_their_length() {
        let pack = encode("t1", &[entry()]);
        assert!(pack.starts_with(b"\xa5alice\xd9\x2807070707"));
        assert!(holds(&pack, b"\xda\x01\x2cfff"));
        assert!(pack.ends_with(b"f\xa0"));
    }

    #[test]
    fn a_counter_goes_as_a_number_and_as_text() {
        assert!(holds(&encode("t1", &[entry()]), b"\xcf\0\0\0\0\0\0\x01\x2c\xa3300"));
    }

    #[test]
    fn the_observation_names_tracker_endpoint_number_time_and_what_is_left() {
        let digest = String::from_utf8(hex(endpoint("192.0.2.7".parse().unwrap(), 6881)).to_vec()).unwrap();
        let pack = encode("t1", &[entry()]);
        assert!(holds(&pack, &[&[0xa0 | 12][..], format!("t1/{digest} ").as_bytes()].concat()));
        assert!(holds(&pack, format!("!t1/{digest} 42 1700000000123 0").as_bytes()));
    }

    #[test]
    fn another_port_is_another_endpoint() {
        let ip = "2001:db8::1".parse().unwrap();
        assert_ne!(endpoint(ip, 1), endpoint(ip, 2));
        assert_eq!(hex(0x0123_cdef), *b"0123cdef");
    }
}
