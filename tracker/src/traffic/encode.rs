//! The announces of one call, as `record.lua` takes them: one MessagePack text, which Redis reads in C.
//!
//! It is for sites whose Redis is the limit: thirty arguments an announce, which Redis parses and Lua interns
//! one by one, cost more than what the script does with them (`docs/performance.md`).
//!
//! Fields that the script reckons with go as numbers, fields that it only hands on as text.

use std::fmt::Write;
use std::net::IpAddr;

use arrayvec::ArrayString;
use contract::AddressFamily;
use rmp::encode::{ByteBuf, RmpWrite};

use super::bookkeeper::{Computed, FIELD_BYTES};

/// Bytes that an announce takes, roughly.
const ROOM: usize = 480;
/// An address as text is not longer: `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
type Address = ArrayString<46>;
/// Flags of an announce, as the script knows them.
const MOVED: u64 = 1;
const IDLE: u64 = 2;
const LATE: u64 = 4;
const LONG: u64 = 8;

/// All values of all announces, one behind the other, in the order of the script's variables.
pub(super) fn encode(batch: &[Computed]) -> Vec<u8> {
    let mut encoder = Encoder(ByteBuf::with_capacity(batch.len() * ROOM));
    batch.iter().for_each(|computed| encoder.announce(computed));
    encoder.0.into_vec()
}

/// The snapshots that are folded into others: for each the announce's place, the snapshot's name, its bytes.
pub(super) fn encode_folds(batch: &[Computed], name: impl Fn(&Computed) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut encoder = Encoder(ByteBuf::new());
    for (place, computed) in batch.iter().enumerate() {
        if let (Some(source), Some(name)) = (&computed.fold, name(computed)) {
            encoder.number(place as u64 + 1);
            encoder.text(&name);
            encoder.text(&source.bytes);
        }
    }
    encoder.0.into_vec()
}

/// Without the formatter where it is an IPv4 address, as most are: that takes longer than all other fields.
fn text_of(ip: IpAddr) -> Address {
    let mut address = Address::new();
    // Never too long for its room; were it, the endpoint would lack its end, and no byte.
    match ip {
        IpAddr::V4(ip) => {
            for (place, octet) in ip.octets().into_iter().enumerate() {
                address.try_push_str(if place > 0 { "." } else { "" }).ok();
                address.try_push_str(itoa::Buffer::new().format(octet)).ok();
            }
        }
        IpAddr::V6(ip) => {
            write!(address, "{ip}").ok();
        }
    }
    address
}

struct Encoder(ByteBuf);

impl Encoder {
    fn announce(&mut self, computed: &Computed) {
        let (entry, booked) = (&computed.entry, &computed.booked);
        let booking = &entry.booking;
        self.number(entry.sequence);
        self.text(computed.expected());
        self.text(booking.passkey.reveal().as_bytes());
        self.text(&booking.info_hash.hex_bytes());
        self.text(&booking.peer_id.hex_bytes());
        self.digits(booking.port.into());
        self.text(text_of(booking.ip).as_bytes());
        self.text(AddressFamily::of(booking.ip).as_str().as_bytes());
        self.digits(booked.claims.up);
        self.digits(booked.claims.down);
        self.digits(booked.left);
        self.text(computed.event.as_str().as_bytes());
        self.digits(booked.ts);
        self.digits(booked.dt);
        self.digits(booking.interval.into());
        self.digits(booking.min_interval.into());
        self.digits(booking.at_ms);
        self.digits(booking.uploaded);
        self.digits(booking.downloaded);
        self.digits(computed.born_ms);
        self.digits(computed.tu);
        self.digits(computed.td);
        self.snapshot(computed);
        self.more(computed);
    }

    fn snapshot(&mut self, computed: &Computed) {
        let flag = |holds: bool, flag: u64| if holds { flag } else { 0 };
        let length = computed.next.len();
        let (first, second) = (length.min(FIELD_BYTES), length.min(2 * FIELD_BYTES));
        self.text(&computed.next[..first]);
        self.text(&computed.next[first..second]);
        self.text(&computed.next[second..]);
        let is_long = length > FIELD_BYTES || computed.before.len() > FIELD_BYTES;
        self.number(computed.ttl.unwrap_or(0));
        self.number(
            flag(computed.has_moved && computed.booked.is_newest, MOVED)
                | flag(computed.is_idle, IDLE)
                | flag(!computed.booked.is_newest, LATE)
                | flag(is_long, LONG),
        );
    }

    /// Fields that most events do not have.
    fn more(&mut self, computed: &Computed) {
        let booking = &computed.entry.booking;
        let corrupt = booking.extras.corrupt.map(|corrupt| corrupt.to_string());
        let fields = [
            ("fd", &booking.fd),
            ("pd", &booking.pd),
            ("agent", &booking.extras.agent),
            ("key", &booking.extras.key),
            ("corrupt", &corrupt),
        ];
        if fields.iter().all(|(_, value)| value.is_none()) {
            return self.text(b"");
        }
        let mut pairs = Encoder(ByteBuf::new());
        for (name, value) in fields {
            if let Some(value) = value {
                pairs.text(name.as_bytes());
                pairs.text(value.as_bytes());
            }
        }
        self.text(&pairs.0.into_vec());
    }

    fn digits(&mut self, number: u64) {
        self.text(itoa::Buffer::new().format(number).as_bytes());
    }

    fn number(&mut self, number: u64) {
        let Ok(()) = rmp::encode::write_u64(&mut self.0, number);
    }

    fn text(&mut self, text: &[u8]) {
        // An announce's texts come out of a request of some kilobytes.
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let Ok(_) = rmp::encode::write_str_len(&mut self.0, length);
        let Ok(()) = self.0.write_bytes(text);
    }
}
