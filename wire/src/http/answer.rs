//! Reply bodies as a client reads them, from any tracker: fields that are missing or malformed are left out,
//! and the caller decides how many peers it takes. Only the fields that the caller asks for are copied out of
//! the document.

use std::net::{IpAddr, SocketAddr};

use contract::{InfoHash, PeerId};

use super::RetryIn;
use crate::bencode::Value;
use crate::peers::{read_v4, read_v6};

/// The answer to an announce.
#[derive(Debug, Clone, Copy)]
pub struct Announced<'a>(pub &'a Value);

/// A peer of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer<'a> {
    /// Its address or host name.
    pub host: Host<'a>,
    /// Its port, which may be 0.
    pub port: u16,
    /// Its id, where the answer names ids.
    pub id: Option<PeerId>,
}

/// A peer's address, or the name that some trackers give in place of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// As compact peers have it.
    Address(IpAddr),
    /// As a list has it: an address in words, or even a name.
    Text(&'a [u8]),
}

/// The answer to a scrape.
#[derive(Debug, Clone, Copy)]
pub struct Scraped<'a>(pub &'a Value);

/// A torrent of a scrape. The numbers are as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Seeders; `None` when the tracker does not say.
    pub complete: Option<i64>,
    /// Leechers, likewise.
    pub incomplete: Option<i64>,
    /// Downloads completed so far, likewise.
    pub downloaded: Option<i64>,
}

impl<'a> Announced<'a> {
    /// Why the tracker refused; `None` when it did not. Empty when its reason is no text.
    #[must_use]
    pub fn failure_reason(self) -> Option<&'a [u8]> {
        failure_reason(self.0)
    }

    /// When a refused client may try again (BEP 31): whole minutes, as a number or as text, or `never`.
    #[must_use]
    pub fn retry_in(self) -> Option<RetryIn> {
        match self.0.get("retry in")? {
            Value::Integer(minutes) => u64::try_from(*minutes).ok().map(RetryIn::Minutes),
            Value::Bytes(text) if text.eq_ignore_ascii_case(b"never") => Some(RetryIn::Never),
            Value::Bytes(text) => std::str::from_utf8(text).ok()?.trim().parse().ok().map(RetryIn::Minutes),
            _ => None,
        }
    }

    /// What an accepted client's user shall see.
    #[must_use]
    pub fn warning(self) -> Option<&'a [u8]> {
        self.0.get("warning message").and_then(Value::as_bytes)
    }

    /// A number of the answer: `interval`, `min interval`, `complete`, `incomplete`.
    #[must_use]
    pub fn number(self, key: &str) -> Option<i64> {
        self.0.get(key).and_then(Value::as_integer)
    }

    /// The address at which the tracker saw the client (BEP 24).
    #[must_use]
    pub fn external_ip(self) -> Option<IpAddr> {
        let bytes = self.0.get("external ip").and_then(Value::as_bytes)?;
        match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
            _ => None,
        }
    }

    /// Whether `peers` is neither of the two things that it may be. Some trackers leave it out when there is
    /// nobody, or when all are in `peers6`.
    #[must_use]
    pub fn has_odd_peers(self) -> bool {
        !matches!(self.0.get("peers"), None | Some(Value::Bytes(_) | Value::List(_)))
    }

    /// Those under `peers`: compact ones are IPv4 (BEP 23), listed ones of either family (BEP 3).
    pub fn peers(self) -> impl Iterator<Item = Peer<'a>> {
        let peers = self.0.get("peers");
        let packed = peers.and_then(Value::as_bytes).unwrap_or_default();
        let listed = if let Some(Value::List(listed)) = peers { &listed[..] } else { &[] };
        read_v4(packed).map(Peer::at).chain(listed.iter().filter_map(Peer::listed))
    }

    /// Those under `peers6` (BEP 7).
    pub fn peers6(self) -> impl Iterator<Item = Peer<'a>> {
        let packed = self.0.get("peers6").and_then(Value::as_bytes).unwrap_or_default();
        read_v6(packed).map(Peer::at)
    }
}

impl<'a> Peer<'a> {
    fn at(address: SocketAddr) -> Self {
        Self { host: Host::Address(address.ip()), port: address.port(), id: None }
    }

    fn listed(entry: &'a Value) -> Option<Self> {
        let id = entry.get("peer id").and_then(Value::as_bytes);
        Some(Self {
            host: Host::Text(entry.get("ip")?.as_bytes()?),
            port: u16::try_from(entry.get("port")?.as_integer()?).ok()?,
            id: id.and_then(|id| PeerId::from_bytes(id).ok()),
        })
    }

    /// Its address, IPv4-mapped ones mapped to IPv4; `None` for a name, which would have to be looked up.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let ip = match self.host {
            Host::Address(ip) => ip,
            Host::Text(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        };
        Some(SocketAddr::new(ip.to_canonical(), self.port))
    }
}

impl<'a> Scraped<'a> {
    /// As [`Announced::failure_reason`].
    #[must_use]
    pub fn failure_reason(self) -> Option<&'a [u8]> {
        failure_reason(self.0)
    }

    /// The torrents (BEP 48).
    pub fn files(self) -> impl Iterator<Item = File> {
        let files = if let Some(Value::Dictionary(files)) = self.0.get("files") { Some(files) } else { None };
        files.into_iter().flatten().filter_map(|(key, counts)| File::read(key, counts))
    }
}

impl File {
    fn read(key: &[u8], counts: &Value) -> Option<Self> {
        let number = |key: &str| counts.get(key).and_then(Value::as_integer);
        Some(Self {
            info_hash: InfoHash::from_bytes(key).ok()?,
            complete: number("complete"),
            incomplete: number("incomplete"),
            downloaded: number("downloaded"),
        })
    }
}

fn failure_reason(answer: &Value) -> Option<&[u8]> {
    Some(answer.get("failure reason")?.as_bytes().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::parse;
    use crate::http::PeerForm;
    use crate::http::reply;
    use crate::peers::{Offers, PeerIds};
    use crate::reply::{Counts, Reply};

    #[test]
    fn a_reply_reads_as_it_was_written() {
        let addresses = ["192.0.2.1:6881", "[2001:db8::1]:6882"].map(|text| text.parse().unwrap());
        let id = PeerId(*b"-TR4000-abcdefghijkl");
        let mut offers = Offers::with(PeerIds::Named);
        addresses.iter().for_each(|address| offers.push(*address, id));
        let counts = Counts { complete: 1, incomplete: 2, downloaded: 3 };
        let external_ip = "198.51.100.7".parse().unwrap();
        let warning = Some("too many".into());
        let reply = Reply { interval: 1800, min_interval: 900, counts, offers, external_ip, warning };
        for (form, named) in
            [(PeerForm::Compact, None), (PeerForm::List, Some(id)), (PeerForm::ListWithoutIds, None)]
        {
            let document = parse(&reply::announce(&reply, form)).unwrap();
            let read = Announced(&document);
            let numbers = ["interval", "min interval", "complete", "incomplete"].map(|key| read.number(key));
            assert_eq!(numbers, [1800, 900, 1, 2].map(Some));
            assert_eq!((read.external_ip(), read.warning()), (Some(external_ip), Some(&b"too many"[..])));
            assert_eq!((read.failure_reason(), read.retry_in(), read.has_odd_peers()), (None, None, false));
            let peers: Vec<Peer<'_>> = read.peers().chain(read.peers6()).collect();
            assert_eq!(peers.iter().filter_map(Peer::address).collect::<Vec<_>>(), addresses, "{form:?}");
            assert!(peers.iter().all(|peer| peer.id == named), "{form:?}");
        }
    }

    #[test]
    fn a_failure_reads_as_it_was_written() {
        for retry_in in [None, Some(RetryIn::Minutes(7)), Some(RetryIn::Never)] {
            let failure = reply::Failure { reason: "busy", interval: 60, retry_in };
            let document = parse(&reply::failure(failure)).unwrap();
            let read = Announced(&document);
            assert_eq!((read.failure_reason(), read.retry_in()), (Some(&b"busy"[..]), retry_in));
            assert_eq!(read.number("interval"), Some(60));
        }
        let odd = parse(b"d14:failure reasoni5e8:retry in3: 9 e").unwrap();
        let read = Announced(&odd);
        assert_eq!((read.failure_reason(), read.retry_in()), (Some(&b""[..]), Some(RetryIn::Minutes(9))));
    }

    #[test]
    fn a_scrape_reads_as_it_was_written() {
        let counts = Counts { complete: 1, incomplete: 2, downloaded: 3 };
        let written = reply::scrape(vec![(InfoHash([9; 20]), counts)], reply::ScrapeForm::WithDownloaded);
        let document = parse(&written).unwrap();
        let [complete, incomplete, downloaded] = [1, 2, 3].map(Some);
        let file = File { info_hash: InfoHash([9; 20]), complete, incomplete, downloaded };
        assert_eq!(Scraped(&document).files().collect::<Vec<_>>(), [file]);
    }

    #[test]
    fn what_is_malformed_is_left_out() {
        let odd = parse(b"d5:peersld2:ip9:192.0.2.1eded4:porti1ee2:xxe6:peers63:abce").unwrap();
        assert_eq!(Announced(&odd).peers().chain(Announced(&odd).peers6()).count(), 0);
        assert!(Announced(&parse(b"d5:peersi5ee").unwrap()).has_odd_peers());
        assert_eq!(Scraped(&parse(b"d5:filesd3:abcdeee").unwrap()).files().count(), 0);
    }
}
