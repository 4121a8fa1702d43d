//! A tracker's answers, read tolerantly: any tracker may be asked, not only ours.

use std::net::IpAddr;

use contract::{InfoHash, PeerId};
use serde::Serialize;
use wire::bencode::Value;
use wire::http::RetryIn;
use wire::http::answer::{self, Host};

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
        let answer = answer::Announced(reply);
        Self {
            failure_reason: answer.failure_reason().map(text),
            retry_in: answer.retry_in().map(|retry_in| match retry_in {
                RetryIn::Minutes(minutes) => minutes.to_string(),
                RetryIn::Never => "never".into(),
            }),
            warning_message: answer.warning().map(text),
            interval: answer.number("interval"),
            min_interval: answer.number("min interval"),
            complete: answer.number("complete"),
            incomplete: answer.number("incomplete"),
            external_ip: answer.external_ip(),
            peers: answer.peers().chain(answer.peers6()).map(Peer::shown).collect(),
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
        let answer = answer::Scraped(reply);
        let files = answer.files().map(File::shown).collect();
        Self { failure_reason: answer.failure_reason().map(text), files }
    }

    /// Whether the tracker refused.
    pub(super) fn is_refusal(&self) -> bool {
        self.failure_reason.is_some()
    }
}

impl File {
    fn shown(answer::File { info_hash, complete, incomplete, downloaded }: answer::File) -> Self {
        Self { infohash: info_hash, complete, incomplete, downloaded }
    }
}

impl Peer {
    fn shown(answer::Peer { host, port, id }: answer::Peer<'_>) -> Self {
        let ip = match host {
            Host::Address(ip) => ip.to_string(),
            Host::Text(words) => text(words),
        };
        Self { ip, port, peer_id: id }
    }
}

/// A text for a terminal: whatever a tracker sends, no control characters.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(char::is_control, ".")
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
