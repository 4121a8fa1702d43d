//! A tracker's answers, read tolerantly: any tracker may be asked, not only ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use contract::{InfoHash, PeerId};
use serde::Serialize;
use wire::bencode::Value;

use crate::output::{Report, facts, table};
use crate::user::client_name;

/// The answer to an announce.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Announced {
    failure_reason: Option<String>,
    /// Minutes, or `never` (BEP 31).
    retry_in: Option<String>,
    warning_message: Option<String>,
    interval: Option<i64>,
    min_interval: Option<i64>,
    complete: Option<i64>,
    incomplete: Option<i64>,
    external_ip: Option<IpAddr>,
    peers: Vec<Peer>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Peer {
    ip: String,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_id: Option<PeerId>,
}

/// The answer to a scrape.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Scraped {
    failure_reason: Option<String>,
    files: Vec<File>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct File {
    infohash: InfoHash,
    complete: Option<i64>,
    incomplete: Option<i64>,
    downloaded: Option<i64>,
}

impl Announced {
    /// Reads an answer; what is missing or malformed in it is left out.
    pub(super) fn read(reply: &Value) -> Self {
        let number = |key: &str| reply.get(key).and_then(Value::as_integer);
        Self {
            failure_reason: text(reply, "failure reason"),
            retry_in: text(reply, "retry in")
                .or_else(|| number("retry in").map(|minutes| minutes.to_string())),
            warning_message: text(reply, "warning message"),
            interval: number("interval"),
            min_interval: number("min interval"),
            complete: number("complete"),
            incomplete: number("incomplete"),
            external_ip: reply.get("external ip").and_then(Value::as_bytes).and_then(address),
            peers: peers(reply),
        }
    }

    /// Whether the tracker refused.
    pub(super) fn is_refusal(&self) -> bool {
        self.failure_reason.is_some()
    }
}

impl Scraped {
    /// Reads an answer; what is missing or malformed in it is left out.
    pub(super) fn read(reply: &Value) -> Self {
        let files = match reply.get("files") {
            Some(Value::Dictionary(files)) => files.iter().filter_map(File::read).collect(),
            _ => Vec::new(),
        };
        Self { failure_reason: text(reply, "failure reason"), files }
    }

    /// Whether the tracker refused.
    pub(super) fn is_refusal(&self) -> bool {
        self.failure_reason.is_some()
    }
}

impl File {
    fn read((key, counts): (&Vec<u8>, &Value)) -> Option<Self> {
        let number = |key: &str| counts.get(key).and_then(Value::as_integer);
        Some(Self {
            infohash: InfoHash::from_bytes(key).ok()?,
            complete: number("complete"),
            incomplete: number("incomplete"),
            downloaded: number("downloaded"),
        })
    }
}

/// A text for a terminal: whatever a tracker sends, no control characters.
fn text(reply: &Value, key: &str) -> Option<String> {
    let bytes = reply.get(key)?.as_bytes()?;
    Some(String::from_utf8_lossy(bytes).replace(char::is_control, "."))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|octets| Ipv4Addr::from(octets).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

/// `peers` packed or as a list, and `peers6` (BEP 23, BEP 7).
fn peers(reply: &Value) -> Vec<Peer> {
    let mut peers = match reply.get("peers") {
        Some(Value::Bytes(packed)) => unpacked(packed, 4),
        Some(Value::List(list)) => list.iter().filter_map(listed).collect(),
        _ => Vec::new(),
    };
    let packed6 = reply.get("peers6").and_then(Value::as_bytes).unwrap_or_default();
    peers.extend(unpacked(packed6, 16));
    peers
}

fn unpacked(packed: &[u8], address_length: usize) -> Vec<Peer> {
    let peer = |bytes: &[u8]| {
        let (ip, port) = bytes.split_at(address_length);
        Some(Peer {
            ip: address(ip)?.to_string(),
            port: u16::from_be_bytes([port[0], port[1]]),
            peer_id: None,
        })
    };
    packed.chunks_exact(address_length + 2).filter_map(peer).collect()
}

fn listed(peer: &Value) -> Option<Peer> {
    let peer_id = peer.get("peer id").and_then(Value::as_bytes);
    Some(Peer {
        ip: text(peer, "ip")?,
        port: peer.get("port")?.as_integer().and_then(|port| u16::try_from(port).ok())?,
        peer_id: peer_id.and_then(|id| PeerId::from_bytes(id).ok()),
    })
}

impl Report for Announced {
    fn text(&self) -> String {
        let number = |figure: Option<i64>| figure.map(|figure| figure.to_string());
        let rows = [
            ("failure reason", self.failure_reason.clone()),
            ("retry in", self.retry_in.clone()),
            ("warning message", self.warning_message.clone()),
            ("interval", number(self.interval)),
            ("min interval", number(self.min_interval)),
            ("complete", number(self.complete)),
            ("incomplete", number(self.incomplete)),
            ("external ip", self.external_ip.map(|ip| ip.to_string())),
            ("peers", (!self.is_refusal()).then(|| self.peers.len().to_string())),
        ];
        let shown = facts(rows.into_iter().filter_map(|(name, value)| Some((name, value?))));
        if self.peers.is_empty() {
            return shown;
        }
        format!("{shown}\n{}", table(&["ip", "port", "client"], &[1], self.peers.iter().map(Peer::row)))
    }
}

impl Peer {
    fn row(&self) -> Vec<String> {
        let client = self.peer_id.as_ref().map(client_name::of).unwrap_or_default();
        vec![self.ip.clone(), self.port.to_string(), client]
    }
}

impl Report for Scraped {
    fn text(&self) -> String {
        if let Some(reason) = &self.failure_reason {
            return facts([("failure reason", reason.clone())]);
        }
        if self.files.is_empty() {
            return "the tracker knows none of these torrents".into();
        }
        let header = ["torrent", "complete", "incomplete", "downloaded"];
        table(&header, &[1, 2, 3], self.files.iter().map(File::row))
    }
}

impl File {
    fn row(&self) -> Vec<String> {
        let number = |figure: Option<i64>| figure.map_or_else(|| "-".into(), |figure| figure.to_string());
        vec![
            self.infohash.to_string(),
            number(self.complete),
            number(self.incomplete),
            number(self.downloaded),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::bencode::parse;

    #[test]
    fn packed_and_listed_peers_read_alike() {
        let packed = parse(b"d8:intervali1800e5:peers6:\xc0\x00\x02\x07\x1a\xe16:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe1e");
        let announced = Announced::read(&packed.unwrap());
        let shown: Vec<_> = announced.peers.iter().map(|peer| (peer.ip.as_str(), peer.port)).collect();
        assert_eq!(shown, [("192.0.2.7", 6881), ("2001:db8::1", 6881)]);
        let listed = parse(b"d5:peersld2:ip9:192.0.2.77:peer id20:-TR4000-abcdefghijkl4:porti6881eeee");
        let announced = Announced::read(&listed.unwrap());
        assert_eq!(announced.peers[0].row(), ["192.0.2.7", "6881", "Transmission 4.0.0"]);
    }

    #[test]
    fn a_refusal_is_known_and_cannot_write_to_the_terminal() {
        let refusal = parse(b"d14:failure reason5:no\x1b[m8:retry in5:nevere").unwrap();
        let announced = Announced::read(&refusal);
        assert!(announced.is_refusal());
        assert_eq!(announced.failure_reason.as_deref(), Some("no.[m"));
        assert_eq!(announced.retry_in.as_deref(), Some("never"));
    }

    #[test]
    fn garbage_is_an_empty_answer_and_no_panic() {
        assert_eq!(Announced::read(&parse(b"i5e").unwrap()), Announced::default());
        let odd = parse(b"d5:peers7:abcdefg6:peers63:abce").unwrap();
        assert_eq!(Announced::read(&odd).peers.len(), 1);
        assert_eq!(Scraped::read(&parse(b"d5:filesd3:abcdeee").unwrap()), Scraped::default());
    }
}
