//! The traffic event: one entry of the stream per accepted announce.
//!
//! The tracker's Redis script writes these fields, the consumer reads them, and an outside program may do
//! either. Reading is tolerant where old writers differ (raw or hex ids, `IPv4` for `4`, fields nobody knows)
//! and strict where bytes could be lost (a missing field, a number that is none).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{InfoHash, Passkey, PeerId};

/// What the client says happened. Never decides a delta by itself: clients repeat `started` and `stopped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A regular announce, or one whose event nobody knows.
    #[default]
    None,
    /// The client began a run.
    Started,
    /// The last piece arrived during this run.
    Completed,
    /// The client leaves the swarm.
    Stopped,
}

impl Event {
    /// The word on the wire and in the stream.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
        }
    }

    /// Reads a word; `None` for one that nobody knows (which callers treat as [`Event::None`] and count).
    /// `stoped` is a spelling that real clients of one old site use.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Option<Self> {
        match word {
            b"" | b"none" | b"empty" => Some(Self::None),
            b"started" => Some(Self::Started),
            b"completed" => Some(Self::Completed),
            b"stopped" | b"stoped" => Some(Self::Stopped),
            _ => None,
        }
    }
}

/// Address family of the connection an announce came by: `4` or `6` in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl AddressFamily {
    /// The family of an address. Map IPv4-mapped addresses to IPv4 first.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `"4"` or `"6"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "4",
            Self::V6 => "6",
        }
    }

    fn from_word(word: &[u8]) -> Option<Self> {
        match word {
            b"4" | b"IPv4" | b"ipv4" => Some(Self::V4),
            b"6" | b"IPv6" | b"ipv6" => Some(Self::V6),
            _ => None,
        }
    }
}

/// One announce as the stream holds it. (`passkey`, `info_hash`, `peer_id`, `ts`) is unique for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficEvent {
    /// The canonical passkey (aliases are folded before the event is written).
    pub passkey: Passkey,
    /// The canonical info hash.
    pub info_hash: InfoHash,
    /// The client's peer id.
    pub peer_id: PeerId,
    /// The port the client listens on; 0 when it listens nowhere.
    pub port: u16,
    /// The address that peers are told.
    pub ip: IpAddr,
    /// The family of that address.
    pub af: AddressFamily,
    /// Bytes uploaded since the session's last snapshot. A figure beyond `u64` reads as `u64::MAX` and is
    /// flagged later.
    pub du: u64,
    /// Bytes downloaded since the session's last snapshot, like `du`.
    pub dd: u64,
    /// Bytes the client still wants; 0 for a seeder.
    pub left: u64,
    /// Why the client announced.
    pub event: Event,
    /// Unix seconds; strictly rising per session.
    pub ts: u64,
    /// Seconds since the session's last snapshot, 0 when there was none.
    pub dt: u64,
    /// The announce interval the client was given, in seconds.
    pub interval: u32,
    /// The minimum interval the client was given, in seconds.
    pub min_interval: u32,
    /// Film id carried by the credential.
    pub fd: Option<String>,
    /// Playlist id carried by the credential.
    pub pd: Option<String>,
    /// Where its bytes lie among all that the session has claimed; `None` from writers that do not say.
    pub claim: Option<Claim>,
    /// What the operator wants to see of clients besides, in `event_fields`.
    pub extras: Extras,
}

/// An event's place among its session's claims and among the stream's entries (docs/contract.md).
///
/// The event claims `(tu - du, tu]` and `(td - dd, td]` of all that the session has claimed since it was
/// born, so whoever remembers what of that line was seen counts no byte twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// When the announce reached the tracker, in milliseconds of the site's clock.
    pub at_ms: u64,
    /// The client's own count of bytes uploaded.
    pub up: u64,
    /// The client's own count of bytes downloaded.
    pub down: u64,
    /// The [`Claim::at_ms`] of the session's first event: names the line.
    pub born_ms: u64,
    /// All uploaded bytes that the session has claimed, with this event's.
    pub tu: u64,
    /// All downloaded bytes that the session has claimed, with this event's.
    pub td: u64,
    /// The entry's number in the stream, without a gap from 1.
    pub n: u64,
}

/// What only some sites' tables want (`event_fields`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extras {
    /// The client's `User-Agent`.
    pub agent: Option<String>,
    /// The client's `key`.
    pub key: Option<String>,
    /// Bytes that the client threw away.
    pub corrupt: Option<u64>,
}

/// Why an entry is not a traffic event. Names the field, never its value: the value may be a passkey.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EventError {
    /// The field is not there.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// The field is there and cannot be read.
    #[error("field `{0}` is malformed")]
    Malformed(&'static str),
}

impl TrafficEvent {
    /// The fields in the order in which the tracker writes them.
    #[must_use]
    pub fn to_fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("passkey", self.passkey.reveal().to_owned()),
            ("infohash", self.info_hash.to_string()),
            ("peer_id", self.peer_id.to_string()),
            ("port", self.port.to_string()),
            ("ip", self.ip.to_string()),
            ("af", self.af.as_str().to_owned()),
            ("du", self.du.to_string()),
            ("dd", self.dd.to_string()),
            ("left", self.left.to_string()),
            ("event", self.event.as_str().to_owned()),
            ("ts", self.ts.to_string()),
            ("dt", self.dt.to_string()),
            ("interval", self.interval.to_string()),
            ("min_interval", self.min_interval.to_string()),
        ];
        fields.extend(self.fd.clone().map(|fd| ("fd", fd)));
        fields.extend(self.pd.clone().map(|pd| ("pd", pd)));
        if let Some(claim) = &self.claim {
            fields.extend(claim.to_fields());
        }
        fields.extend(self.extras.agent.clone().map(|agent| ("agent", agent)));
        fields.extend(self.extras.key.clone().map(|key| ("key", key)));
        fields.extend(self.extras.corrupt.map(|corrupt| ("corrupt", corrupt.to_string())));
        fields
    }

    /// Reads an entry's field and value pairs, in any order, skipping fields that it does not know.
    ///
    /// # Errors
    /// [`EventError`] names the first field that is missing or malformed.
    pub fn from_fields<'a>(
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, EventError> {
        let raw = RawFields::collect(fields);
        Ok(Self {
            passkey: raw.read("passkey", raw.passkey, |v| Passkey::from_bytes(v).ok())?,
            info_hash: raw.read("infohash", raw.infohash, |v| InfoHash::from_bytes(v).ok())?,
            peer_id: raw.read("peer_id", raw.peer_id, |v| PeerId::from_bytes(v).ok())?,
            port: raw.read("port", raw.port, number)?,
            ip: raw.read("ip", raw.ip, |v| std::str::from_utf8(v).ok()?.parse().ok())?,
            af: raw.read("af", raw.af, AddressFamily::from_word)?,
            du: raw.read("du", raw.du, saturating_number)?,
            dd: raw.read("dd", raw.dd, saturating_number)?,
            left: raw.read("left", raw.left, saturating_number)?,
            event: raw.read("event", raw.event, |v| Some(Event::from_word(v).unwrap_or_default()))?,
            ts: raw.read("ts", raw.ts, |v| number(v).filter(|ts| *ts <= i64::MAX.unsigned_abs()))?,
            dt: raw.read("dt", raw.dt, saturating_number)?,
            interval: raw.read("interval", raw.interval, number)?,
            min_interval: raw.read("min_interval", raw.min_interval, number)?,
            fd: raw.fd.map(|v| String::from_utf8_lossy(v).into_owned()),
            pd: raw.pd.map(|v| String::from_utf8_lossy(v).into_owned()),
            claim: Claim::read(&raw)?,
            extras: Extras {
                agent: raw.agent.map(|v| String::from_utf8_lossy(v).into_owned()),
                key: raw.key.map(|v| String::from_utf8_lossy(v).into_owned()),
                corrupt: raw.corrupt.and_then(saturating_number),
            },
        })
    }
}

impl Claim {
    fn to_fields(self) -> [(&'static str, String); 7] {
        let Self { at_ms, up, down, born_ms, tu, td, n } = self;
        let fields =
            [("at", at_ms), ("up", up), ("down", down), ("born", born_ms), ("tu", tu), ("td", td), ("n", n)];
        fields.map(|(name, number)| (name, number.to_string()))
    }

    /// An entry has all of these fields, or is an older writer's and has none.
    fn read(raw: &RawFields<'_>) -> Result<Option<Self>, EventError> {
        if raw.born.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            at_ms: raw.read("at", raw.at, number)?,
            up: raw.read("up", raw.up, saturating_number)?,
            down: raw.read("down", raw.down, saturating_number)?,
            born_ms: raw.read("born", raw.born, number)?,
            tu: raw.read("tu", raw.tu, saturating_number)?,
            td: raw.read("td", raw.td, saturating_number)?,
            n: raw.read("n", raw.n, number)?,
        }))
    }
}

/// The known fields' bytes, picked in one pass without a map: this runs once per event that the consumer
/// reads.
#[derive(Default)]
struct RawFields<'a> {
    passkey: Option<&'a [u8]>,
    infohash: Option<&'a [u8]>,
    peer_id: Option<&'a [u8]>,
    port: Option<&'a [u8]>,
    ip: Option<&'a [u8]>,
    af: Option<&'a [u8]>,
    du: Option<&'a [u8]>,
    dd: Option<&'a [u8]>,
    left: Option<&'a [u8]>,
    event: Option<&'a [u8]>,
    ts: Option<&'a [u8]>,
    dt: Option<&'a [u8]>,
    interval: Option<&'a [u8]>,
    min_interval: Option<&'a [u8]>,
    fd: Option<&'a [u8]>,
    pd: Option<&'a [u8]>,
    at: Option<&'a [u8]>,
    up: Option<&'a [u8]>,
    down: Option<&'a [u8]>,
    born: Option<&'a [u8]>,
    tu: Option<&'a [u8]>,
    td: Option<&'a [u8]>,
    n: Option<&'a [u8]>,
    agent: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    corrupt: Option<&'a [u8]>,
}

impl<'a> RawFields<'a> {
    fn collect(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut raw = Self::default();
        for (name, value) in fields {
            if let Some(slot) = raw.slot(name) {
                *slot = Some(value);
            }
        }
        raw
    }

    fn slot(&mut self, name: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        Some(match name {
            b"passkey" => &mut self.passkey,
            b"infohash" => &mut self.infohash,
            b"peer_id" => &mut self.peer_id,
            b"port" => &mut self.port,
            b"ip" => &mut self.ip,
            b"af" => &mut self.af,
            b"du" => &mut self.du,
            b"dd" => &mut self.dd,
            b"left" => &mut self.left,
            b"event" => &mut self.event,
            b"ts" => &mut self.ts,
            b"dt" => &mut self.dt,
            b"interval" => &mut self.interval,
            b"min_interval" => &mut self.min_interval,
            b"fd" => &mut self.fd,
            b"pd" => &mut self.pd,
            b"at" => &mut self.at,
            b"up" => &mut self.up,
            b"down" => &mut self.down,
            b"born" => &mut self.born,
            b"tu" => &mut self.tu,
            b"td" => &mut self.td,
            b"n" => &mut self.n,
            b"agent" => &mut self.agent,
            b"key" => &mut self.key,
            b"corrupt" => &mut self.corrupt,
            _ => return None,
        })
    }

    fn read<T>(
        &self,
        name: &'static str,
        value: Option<&'a [u8]>,
        parse: impl Fn(&'a [u8]) -> Option<T>,
    ) -> Result<T, EventError> {
        parse(value.ok_or(EventError::Missing(name))?).ok_or(EventError::Malformed(name))
    }
}

/// A number that fits. Read by hand, because a dozen of them are read per event.
fn number<T: TryFrom<u64>>(digits: &[u8]) -> Option<T> {
    match read_digits(digits)? {
        Figure::Fits(number) => T::try_from(number).ok(),
        Figure::TooLarge => None,
    }
}

/// A figure too large for `u64` is still a figure: it must reach settlement, which flags it.
fn saturating_number(digits: &[u8]) -> Option<u64> {
    Some(match read_digits(digits)? {
        Figure::Fits(number) => number,
        Figure::TooLarge => u64::MAX,
    })
}

enum Figure {
    Fits(u64),
    TooLarge,
}

/// `None` when these are no digits, and nothing but digits.
fn read_digits(digits: &[u8]) -> Option<Figure> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let next = |number: u64, digit: &u8| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    Some(digits.iter().try_fold(0, next).map_or(Figure::TooLarge, Figure::Fits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> TrafficEvent {
        TrafficEvent {
            passkey: "alice".parse().unwrap(),
            info_hash: InfoHash([0x1f; 20]),
            peer_id: PeerId(*b"-TR4000-abcdefghijkl"),
            port: 51413,
            ip: "192.0.2.7".parse().unwrap(),
            af: AddressFamily::V4,
            du: 10,
            dd: 20,
            left: 0,
            event: Event::Completed,
            ts: 1_700_000_000,
            dt: 60,
            interval: 1800,
            min_interval: 900,
            fd: Some("42".into()),
            pd: None,
            claim: Some(Claim {
                at_ms: 1_700_000_000_250,
                up: 110,
                down: 220,
                born_ms: 1_699_999_000_000,
                tu: 60,
                td: 70,
                n: 9,
            }),
            extras: Extras { agent: Some("a/1".into()), key: Some("5f".into()), corrupt: Some(3) },
        }
    }

    fn read(fields: &[(&str, &[u8])]) -> Result<TrafficEvent, EventError> {
        TrafficEvent::from_fields(fields.iter().map(|(k, v)| (k.as_bytes(), *v)))
    }

    fn with(name: &str, value: &[u8]) -> Result<TrafficEvent, EventError> {
        let owned = sample().to_fields();
        let mut fields: Vec<(&str, &[u8])> = owned.iter().map(|(k, v)| (*k, v.as_bytes())).collect();
        fields.retain(|(k, _)| *k != name);
        fields.push((name, value));
        read(&fields)
    }

    #[test]
    fn the_fields_are_the_contracts_fields_in_its_order() {
        let names: Vec<_> = sample().to_fields().into_iter().map(|(k, _)| k).collect();
        let expected = "passkey infohash peer_id port ip af du dd left event ts dt interval min_interval fd \
            at up down born tu td n agent key corrupt";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn old_spellings_read_like_new_ones() {
        assert_eq!(with("infohash", &[0x1f; 20]).unwrap(), sample());
        assert_eq!(with("peer_id", b"-TR4000-abcdefghijkl").unwrap(), sample());
        assert_eq!(with("af", b"IPv4").unwrap(), sample());
        assert_eq!(with("somebody_elses_field", b"x").unwrap(), sample());
        assert_eq!(with("event", b"stoped").unwrap().event, Event::Stopped);
        assert_eq!(with("event", b"paused").unwrap().event, Event::None);
    }

    #[test]
    fn a_figure_beyond_64_bits_is_kept_as_the_largest() {
        assert_eq!(with("du", b"99999999999999999999999").unwrap().du, u64::MAX);
    }

    #[test]
    fn what_cannot_be_read_names_its_field() {
        assert_eq!(with("du", b"-5"), Err(EventError::Malformed("du")));
        assert_eq!(with("ts", b"18446744073709551615"), Err(EventError::Malformed("ts")));
        assert_eq!(with("passkey", b"a b"), Err(EventError::Malformed("passkey")));
        assert_eq!(read(&[("passkey", b"alice")]), Err(EventError::Missing("infohash")));
    }

    fn any_event() -> impl Strategy<Value = TrafficEvent> {
        let ids =
            ("[0-9A-Za-z_-]{1,64}", any::<[u8; 20]>(), any::<[u8; 20]>(), any::<IpAddr>(), any::<u16>());
        let figures = (any::<u64>(), any::<u64>(), any::<u64>(), 0..i64::MAX.unsigned_abs(), any::<u64>());
        let rest = (any::<u32>(), any::<u32>(), 0..4u8, proptest::option::of(".{0,8}"));
        (ids, figures, rest).prop_map(|(ids, figures, rest)| TrafficEvent {
            passkey: ids.0.parse().unwrap(),
            info_hash: InfoHash(ids.1),
            peer_id: PeerId(ids.2),
            ip: ids.3,
            af: AddressFamily::of(ids.3),
            port: ids.4,
            du: figures.0,
            dd: figures.1,
            left: figures.2,
            ts: figures.3,
            dt: figures.4,
            interval: rest.0,
            min_interval: rest.1,
            event: [Event::None, Event::Started, Event::Completed, Event::Stopped][usize::from(rest.2)],
            fd: rest.3.clone(),
            pd: rest.3.clone(),
            claim: (rest.2 > 0).then_some(Claim {
                at_ms: figures.3,
                up: figures.0,
                down: figures.1,
                born_ms: figures.2,
                tu: figures.4,
                td: figures.2,
                n: figures.4,
            }),
            extras: Extras { agent: rest.3, key: None, corrupt: Some(figures.2) },
        })
    }

    proptest! {
        #[test]
        fn writing_then_reading_gives_the_same_event(event in any_event()) {
            let fields = event.to_fields();
            let read = TrafficEvent::from_fields(fields.iter().rev().map(|(k, v)| (k.as_bytes(), v.as_bytes())));
            prop_assert_eq!(read, Ok(event));
        }

        #[test]
        fn no_bytes_make_it_panic(fields in proptest::collection::vec((".{0,12}", proptest::collection::vec(any::<u8>(), 0..44)), 0..20)) {
            // Decoding is all that is asserted: a panic fails the test.
            drop(TrafficEvent::from_fields(fields.iter().map(|(k, v)| (k.as_bytes(), v.as_slice()))));
        }
    }
}
