//! What a forwarder answers, whatever way it was asked: peers, or a refusal with the time it wants to be left
//! alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use thiserror::Error;

use wire::bencode::{self, Value};

/// Peers taken from one answer at most.
pub const MAX_PEERS: usize = 200;

/// Actions of UDP packets (BEP 15).
const ANNOUNCE: u32 = 1;
const ERROR: u32 = 3;

/// A forwarder's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It knows the torrent.
    Peers(Learned),
    /// It does not want to hear of this torrent for a while.
    Refused(Wait),
}

/// What it taught us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learned {
    /// When it wants to hear of this client again; as it came, sensible or not.
    pub interval: Duration,
    /// Peers, port 0 already left out.
    pub peers: Vec<SocketAddr>,
    /// The address it saw us at (BEP 24).
    pub own_ip: Option<IpAddr>,
}

/// How long it wants to be left alone about a torrent (BEP 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// So long.
    For(Duration),
    /// `retry in` is `never`.
    ForEver,
    /// It did not say.
    Unsaid,
}

/// Why there is no answer. Texts name no URL: it may hold a key of the operator's.
#[derive(Debug, Error)]
pub enum Failure {
    /// Name look-up, connection, reading or writing.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The name has no address.
    #[error("its name has no address")]
    Nowhere,
    /// It broke HTTP.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// It answered with this status and nothing that can be read.
    #[error("it answered with HTTP status {0}")]
    Status(u16),
    /// It answered more than anybody needs to.
    #[error("its answer is too large")]
    TooLarge,
    /// It is no answer.
    #[error("it answered something that is no announce reply")]
    Garbage,
    /// No answer in time.
    #[error("it did not answer in time")]
    Silent,
    /// A request cannot be made from its URI.
    #[error("no request can be made from its URI")]
    Unaskable,
}

/// Reads a bencoded announce reply.
///
/// # Errors
/// [`Failure::Garbage`] when it is none.
pub fn read(body: &[u8]) -> Result<Answer, Failure> {
    let reply = bencode::parse(body).map_err(|_| Failure::Garbage)?;
    if !matches!(reply, Value::Dictionary(_)) {
        return Err(Failure::Garbage);
    }
    if reply.get("failure reason").is_some() {
        return Ok(Answer::Refused(wait(&reply)));
    }
    let interval = seconds(&reply, "interval").max(seconds(&reply, "min interval"));
    let mut peers = Vec::new();
    match reply.get("peers") {
        Some(Value::Bytes(bytes)) => compact_v4(bytes, &mut peers),
        Some(Value::List(entries)) => peers.extend(entries.iter().take(MAX_PEERS).filter_map(listed)),
        Some(_) => return Err(Failure::Garbage),
        // Some leave it out when there is nobody, or when all are in `peers6`.
        None => {}
    }
    if let Some(bytes) = reply.get("peers6").and_then(Value::as_bytes) {
        compact_v6(bytes, &mut peers);
    }
    peers.retain(|peer| peer.port() != 0);
    let own_ip = reply.get("external ip").and_then(Value::as_bytes).and_then(address);
    Ok(Answer::Peers(Learned { interval, peers, own_ip }))
}

/// Reads the answer to an announce over UDP (BEP 15), whose peers are of the family of the address it came
/// from.
///
/// # Errors
/// [`Failure::Garbage`] when it is none.
pub fn read_packet(packet: &[u8], remote: IpAddr) -> Result<Answer, Failure> {
    match word(packet, 0) {
        Some(ERROR) => Ok(Answer::Refused(Wait::Unsaid)),
        Some(ANNOUNCE) if packet.len() >= 20 => {
            let mut peers = Vec::new();
            if remote.is_ipv4() {
                compact_v4(&packet[20..], &mut peers);
            } else {
                compact_v6(&packet[20..], &mut peers);
            }
            peers.retain(|peer| peer.port() != 0);
            // The number is signed; a negative one is no interval.
            let interval = word(packet, 8).filter(|seconds| i32::try_from(*seconds).is_ok()).unwrap_or(0);
            let interval = Duration::from_secs(interval.into());
            Ok(Answer::Peers(Learned { interval, peers, own_ip: None }))
        }
        _ => Err(Failure::Garbage),
    }
}

/// The big-endian number at a place in a packet.
pub(super) fn word(packet: &[u8], at: usize) -> Option<u32> {
    packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// Reads 6-byte peers. A broken tail is left out.
fn compact_v4(bytes: &[u8], peers: &mut Vec<SocketAddr>) {
    let (chunks, _) = bytes.as_chunks::<6>();
    peers.extend(chunks.iter().take(MAX_PEERS).map(|[a, b, c, d, high, low]| {
        SocketAddr::from((Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*high, *low])))
    }));
}

/// Reads 18-byte peers. A broken tail is left out.
fn compact_v6(bytes: &[u8], peers: &mut Vec<SocketAddr>) {
    let (chunks, _) = bytes.as_chunks::<18>();
    peers.extend(chunks.iter().take(MAX_PEERS).filter_map(|chunk| {
        let (ip, port) = chunk.split_first_chunk::<16>()?;
        let ip = IpAddr::from(Ipv6Addr::from(*ip)).to_canonical();
        Some(SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]])))
    }));
}

/// A peer as BEP 3 lists it. Names instead of addresses are left out: looking them up would be work at a
/// stranger's command.
fn listed(entry: &Value) -> Option<SocketAddr> {
    let ip: IpAddr = std::str::from_utf8(entry.get("ip")?.as_bytes()?).ok()?.parse().ok()?;
    let port = u16::try_from(entry.get("port")?.as_integer()?).ok()?;
    Some(SocketAddr::new(ip.to_canonical(), port))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|octets| IpAddr::from(octets).to_canonical()),
        _ => None,
    }
}

fn seconds(reply: &Value, key: &str) -> Duration {
    let number = reply.get(key).and_then(Value::as_integer).unwrap_or(0);
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

/// `retry in` counts whole minutes, as a number or as text.
fn wait(reply: &Value) -> Wait {
    let minutes = match reply.get("retry in") {
        Some(Value::Integer(minutes)) => u64::try_from(*minutes).ok(),
        Some(Value::Bytes(text)) if text.eq_ignore_ascii_case(b"never") => return Wait::ForEver,
        Some(Value::Bytes(text)) => std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()),
        _ => None,
    };
    match (minutes, seconds(reply, "interval")) {
        (Some(minutes), _) => Wait::For(Duration::from_secs(minutes.saturating_mul(60))),
        (None, Duration::ZERO) => Wait::Unsaid,
        (None, interval) => Wait::For(interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn learned(body: &[u8]) -> Learned {
        match read(body) {
            Ok(Answer::Peers(learned)) => learned,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_peer_forms_and_both_families_are_read() {
        let compact = learned(b"d11:external ip4:\x01\x02\x03\x048:intervali900e5:peers6:\xc0\x00\x02\x01\x1a\xe16:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe2e");
        assert_eq!(compact.interval, Duration::from_secs(900));
        let peers: Vec<_> = compact.peers.iter().map(ToString::to_string).collect();
        assert_eq!(peers, ["192.0.2.1:6881", "[2001:db8::1]:6882"]);
        assert_eq!(compact.own_ip, Some([1, 2, 3, 4].into()));
        let list = learned(b"d5:peersld2:ip9:192.0.2.14:porti6881eed2:ip11:example.org4:porti1eed2:ip9:192.0.2.24:porti0eeee");
        assert_eq!(list.peers, ["192.0.2.1:6881".parse().unwrap()]);
        assert_eq!(list.interval, Duration::ZERO);
    }

    #[test]
    fn a_refusal_says_how_long_to_wait() {
        let refused = |body: &[u8]| match read(body) {
            Ok(Answer::Refused(wait)) => wait,
            other => panic!("{other:?}"),
        };
        let minutes = |minutes: u64| Wait::For(Duration::from_secs(60 * minutes));
        assert_eq!(refused(b"d14:failure reason1:x8:retry ini7ee"), minutes(7));
        assert_eq!(refused(b"d14:failure reason1:x8:retry in2:10e"), minutes(10));
        assert_eq!(refused(b"d14:failure reason1:x8:retry in5:nevere"), Wait::ForEver);
        assert_eq!(refused(b"d14:failure reason1:x8:intervali120ee"), minutes(2));
        assert_eq!(refused(b"d14:failure reason1:xe"), Wait::Unsaid);
    }

    #[test]
    fn garbage_is_told_from_an_answer() {
        for body in [&b""[..], b"<html>", b"i5e", b"d5:peersi5ee", b"d5:peers"] {
            assert!(matches!(read(body), Err(Failure::Garbage)), "{body:?}");
        }
        assert_eq!(learned(b"d8:intervali-5e5:peers7:aaaaaabe").peers.len(), 1, "a broken tail is left out");
    }

    #[test]
    fn no_more_peers_are_taken_than_needed() {
        let mut body = format!("d5:peers{}:", 6 * 10_000).into_bytes();
        body.extend(std::iter::repeat_n(1, 6 * 10_000));
        body.push(b'e');
        assert_eq!(learned(&body).peers.len(), MAX_PEERS);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(read(&body));
        }
    }
}
