//! A forwarder's answer, over HTTP or UDP: peers, or a refusal with the time it wants to be left
//! alone.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use wire::bencode::{self, Value};
use wire::http::RetryIn;
use wire::http::answer::{Announced, Peer};
use wire::peers::{read_v4, read_v6};
use wire::udp::{AnnounceForm, Response};

/// Peers taken from one answer at most.
pub const MAX_PEERS: usize = 200;

/// How a forwarder answered an announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its peers of the torrent.
    Peers(Learned),
    /// It does not want to hear of this torrent for a while.
    Refused(Wait),
}

/// Peers and interval from a forwarder's answer.
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
    /// `retry in` names a time.
    For(Duration),
    /// `retry in` is `never`.
    ForEver,
    /// The refusal names no time.
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
    let document = bencode::parse(body).map_err(|_| Failure::Garbage)?;
    let answer = Announced(&document);
    if answer.failure_reason().is_some() {
        return Ok(Answer::Refused(wait(answer)));
    }
    if !matches!(document, Value::Dictionary(_)) || answer.has_odd_peers() {
        return Err(Failure::Garbage);
    }
    let interval = seconds(answer, "interval").max(seconds(answer, "min interval"));
    let named = answer.peers().take(MAX_PEERS).chain(answer.peers6().take(MAX_PEERS));
    // Names instead of addresses are left out: looking them up would be work at a stranger's command.
    let peers = reachable(named.filter_map(|peer: Peer<'_>| peer.address()));
    let own_ip = answer.external_ip().map(|ip| ip.to_canonical());
    Ok(Answer::Peers(Learned { interval, peers, own_ip }))
}

/// Reads the answer to an announce over UDP (BEP 15), whose peers are of the family of the address it came
/// from.
///
/// # Errors
/// [`Failure::Garbage`] when it is none.
pub fn read_packet(packet: &[u8], remote: IpAddr) -> Result<Answer, Failure> {
    match Response::parse(packet) {
        Ok(Response::Error { .. }) => Ok(Answer::Refused(Wait::Unsaid)),
        Ok(Response::Announce { form: AnnounceForm::Standard, interval, peers, .. }) => {
            let peers = match remote {
                IpAddr::V4(_) => reachable(read_v4(peers).take(MAX_PEERS)),
                IpAddr::V6(_) => reachable(read_v6(peers).take(MAX_PEERS)),
            };
            // The number is signed; a negative one is no interval.
            let interval = i32::try_from(interval).map_or(0, i32::unsigned_abs);
            let interval = Duration::from_secs(interval.into());
            Ok(Answer::Peers(Learned { interval, peers, own_ip: None }))
        }
        _ => Err(Failure::Garbage),
    }
}

/// Nobody can be reached at port 0.
fn reachable(peers: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let canonical = |peer: SocketAddr| SocketAddr::new(peer.ip().to_canonical(), peer.port());
    peers.filter(|peer| peer.port() != 0).map(canonical).collect()
}

fn seconds(answer: Announced<'_>, key: &str) -> Duration {
    let number = answer.number(key).unwrap_or(0);
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

fn wait(answer: Announced<'_>) -> Wait {
    match (answer.retry_in(), seconds(answer, "interval")) {
        (Some(RetryIn::Never), _) => Wait::ForEver,
        (Some(RetryIn::Minutes(minutes)), _) => Wait::For(Duration::from_secs(minutes.saturating_mul(60))),
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
