//! Reply bodies as a tracker writes them: bencoded dictionaries with their keys in order (BEP 3).

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayString;
use contract::{InfoHash, PeerId};

use super::{PeerForm, RetryIn};
use crate::bencode;
use crate::peers::{NAMELESS, Offer, Offers};
use crate::reply::{Counts, Reply};

/// What everything but the peers and the warning takes at most.
const FRAME: usize = 160;
/// A peer in a list: its keys, an address in words, its id.
const LISTED: usize = 110;

/// The answer to an accepted announce.
#[must_use]
pub fn announce(reply: &Reply, form: PeerForm) -> Vec<u8> {
    let mut writer = bencode::Writer::with_capacity(length(reply, form));
    writer.raw(b"d8:completei").digits(reply.counts.complete.into());
    match reply.external_ip {
        IpAddr::V4(ip) => writer.raw(b"e11:external ip4:").raw(&ip.octets()),
        IpAddr::V6(ip) => writer.raw(b"e11:external ip16:").raw(&ip.octets()),
    };
    writer.raw(b"10:incompletei").digits(reply.counts.incomplete.into());
    writer.raw(b"e8:intervali").digits(reply.interval.into());
    writer.raw(b"e12:min intervali").digits(reply.min_interval.into()).end();
    match form {
        PeerForm::Compact => compact(&mut writer, &reply.offers),
        PeerForm::List | PeerForm::ListWithoutIds => list(&mut writer, &reply.offers, form),
    }
    if let Some(warning) = &reply.warning {
        writer.bytes(b"warning message").bytes(warning.as_bytes());
    }
    writer.end();
    writer.finish()
}

/// Room for the reply, so that its buffer never grows.
fn length(reply: &Reply, form: PeerForm) -> usize {
    let (v4, v6) = (reply.offers.v4.len(), reply.offers.v6.len());
    let peers = if form == PeerForm::Compact { 6 * v4 + 18 * v6 } else { LISTED * (v4 + v6) };
    FRAME + peers + reply.warning.as_ref().map_or(0, |warning| warning.len() + 32)
}

/// `peers` is always there: rTorrent takes its absence for an error.
fn compact(writer: &mut bencode::Writer, offers: &Offers) {
    writer.bytes(b"peers").bytes(offers.v4.bytes());
    if !offers.v6.is_empty() {
        writer.bytes(b"peers6").bytes(offers.v6.bytes());
    }
}

fn list(writer: &mut bencode::Writer, offers: &Offers, form: PeerForm) {
    writer.bytes(b"peers").begin_list();
    for Offer { peer_id, address } in offers.iter() {
        peer(writer, form, &peer_id, address);
    }
    writer.end();
}

fn peer(writer: &mut bencode::Writer, form: PeerForm, peer_id: &PeerId, address: SocketAddr) {
    writer.begin_dictionary();
    // The longest address in words; it cannot fail to fit.
    let mut words = ArrayString::<39>::new();
    write!(words, "{}", address.ip()).ok();
    writer.bytes(b"ip").bytes(words.as_bytes());
    if form == PeerForm::List && *peer_id != NAMELESS {
        writer.bytes(b"peer id").bytes(&peer_id.0);
    }
    writer.bytes(b"port").integer(address.port());
    writer.end();
}

/// Why an announce or scrape is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The sentence that clients show their users.
    pub reason: &'a str,
    /// Seconds until the client should ask again. Clients ignore a failure without it and come back at once.
    pub interval: u32,
    /// When waiting helps (BEP 31).
    pub retry_in: Option<RetryIn>,
}

/// The answer to a refused announce or scrape.
#[must_use]
pub fn failure(failure: Failure<'_>) -> Vec<u8> {
    let mut writer = bencode::Writer::with_capacity(128);
    writer.begin_dictionary();
    writer.bytes(b"failure reason").bytes(failure.reason.as_bytes());
    writer.bytes(b"interval").integer(failure.interval);
    match failure.retry_in {
        None => {}
        Some(RetryIn::Minutes(minutes)) => drop(writer.bytes(b"retry in").raw(b"i").digits(minutes).end()),
        Some(RetryIn::Never) => drop(writer.bytes(b"retry in").bytes(b"never")),
    }
    writer.end();
    writer.finish()
}

/// The answer to a scrape (BEP 48). `downloaded` only when the operator wants it shown.
#[must_use]
pub fn scrape(mut files: Vec<(InfoHash, Counts)>, show: ScrapeForm) -> Vec<u8> {
    // Keys in order, and each once, whatever the client asked for.
    files.sort_unstable_by_key(|(info_hash, _)| *info_hash);
    files.dedup_by_key(|(info_hash, _)| *info_hash);
    let mut writer = bencode::Writer::with_capacity(32 + 80 * files.len());
    writer.begin_dictionary().bytes(b"files").begin_dictionary();
    for (info_hash, counts) in files {
        writer.bytes(&info_hash.0).begin_dictionary();
        writer.bytes(b"complete").integer(counts.complete);
        if show == ScrapeForm::WithDownloaded {
            writer.bytes(b"downloaded").integer(counts.downloaded);
        }
        writer.bytes(b"incomplete").integer(counts.incomplete);
        writer.end();
    }
    writer.end().end();
    writer.finish()
}

/// The counts in a scrape's reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrapeForm {
    /// `complete` and `incomplete`.
    Counts,
    /// `downloaded` too.
    WithDownloaded,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::{Value, Writer, parse};
    use crate::peers::PeerIds;

    fn reply() -> Reply {
        let mut offers = Offers::with(PeerIds::Named);
        for address in ["192.0.2.1:6881", "[::1]:6882"] {
            offers.push(address.parse().unwrap(), PeerId(*b"-TR4000-abcdefghijkl"));
        }
        Reply {
            interval: 1800,
            min_interval: 900,
            counts: Counts { complete: 1, incomplete: 2, downloaded: 3 },
            offers,
            external_ip: "198.51.100.7".parse().unwrap(),
            warning: None,
        }
    }

    /// Reads a reply back and checks that no dictionary has its keys out of order.
    fn ordered(bytes: &[u8]) -> Value {
        fn write(value: &Value, out: &mut Writer) {
            match value {
                Value::Integer(number) => drop(out.integer(*number)),
                Value::Bytes(bytes) => drop(out.bytes(bytes)),
                Value::List(items) => {
                    out.begin_list();
                    items.iter().for_each(|item| write(item, out));
                    out.end();
                }
                Value::Dictionary(entries) => {
                    out.begin_dictionary();
                    for (key, value) in entries {
                        out.bytes(key);
                        write(value, out);
                    }
                    out.end();
                }
            }
        }
        let value = parse(bytes).unwrap();
        let mut sorted = Writer::default();
        write(&value, &mut sorted);
        assert_eq!(sorted.finish(), bytes, "keys are in order");
        value
    }

    #[test]
    fn a_compact_reply_has_both_families() {
        let value = ordered(&announce(&reply(), PeerForm::Compact));
        assert_eq!(value.get("interval").and_then(Value::as_integer), Some(1800));
        assert_eq!(value.get("peers").and_then(Value::as_bytes), Some(&[192, 0, 2, 1, 0x1a, 0xe1][..]));
        assert_eq!(value.get("peers6").and_then(Value::as_bytes).map(<[u8]>::len), Some(18));
        assert_eq!(value.get("external ip").and_then(Value::as_bytes), Some(&[198, 51, 100, 7][..]));
    }

    #[test]
    fn the_room_for_a_reply_is_enough() {
        let most = Counts { complete: u32::MAX, incomplete: u32::MAX, downloaded: 0 };
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse::<std::net::Ipv6Addr>().unwrap();
        for (form, peers) in [(PeerForm::List, 20), (PeerForm::List, 0), (PeerForm::Compact, 20)] {
            let mut offers = Offers::with(PeerIds::Named);
            (0..peers).for_each(|_| offers.push((longest, u16::MAX).into(), PeerId([1; 20])));
            let large = Reply {
                interval: u32::MAX,
                min_interval: u32::MAX,
                counts: most,
                offers,
                external_ip: longest.into(),
                warning: Some("w".repeat(1000).into()),
            };
            assert!(announce(&large, form).len() <= length(&large, form), "{form:?}, {peers} peers");
        }
    }

    #[test]
    fn peers_is_there_even_when_nobody_is() {
        let empty = Reply { offers: Offers::default(), ..reply() };
        let value = ordered(&announce(&empty, PeerForm::Compact));
        assert_eq!(value.get("peers").and_then(Value::as_bytes), Some(&[][..]));
        assert_eq!(value.get("peers6"), None);
        assert_eq!(ordered(&announce(&empty, PeerForm::List)).get("peers"), Some(&Value::List(vec![])));
    }

    #[test]
    fn a_list_reply_names_peers_unless_told_not_to() {
        let Some(Value::List(peers)) = ordered(&announce(&reply(), PeerForm::List)).get("peers").cloned()
        else {
            panic!("a list")
        };
        assert_eq!(peers.len(), 2);
        assert_eq!(peers[0].get("peer id").and_then(Value::as_bytes), Some(&b"-TR4000-abcdefghijkl"[..]));
        assert_eq!(peers[1].get("ip").and_then(Value::as_bytes), Some(&b"::1"[..]));
        let Some(Value::List(peers)) =
            ordered(&announce(&reply(), PeerForm::ListWithoutIds)).get("peers").cloned()
        else {
            panic!("a list")
        };
        assert_eq!(peers[0].get("peer id"), None);
    }

    #[test]
    fn a_peer_without_an_id_is_listed_without_one() {
        let mut offers = Offers::with(PeerIds::Named);
        offers.push("192.0.2.1:6881".parse().unwrap(), NAMELESS);
        let reply = Reply { offers, ..reply() };
        let value = ordered(&announce(&reply, PeerForm::List));
        let Some(Value::List(peers)) = value.get("peers") else { panic!("a list") };
        assert_eq!((peers.len(), peers[0].get("peer id")), (1, None));
    }

    #[test]
    fn a_warning_comes_with_the_peers() {
        let warned = Reply { warning: Some("too many clients".into()), ..reply() };
        for form in [PeerForm::Compact, PeerForm::List] {
            let value = ordered(&announce(&warned, form));
            assert_eq!(
                value.get("warning message").and_then(Value::as_bytes),
                Some(&b"too many clients"[..])
            );
            assert!(value.get("peers").is_some());
        }
    }

    #[test]
    fn a_failure_says_when_to_come_back() {
        let written = |retry_in| ordered(&failure(Failure { reason: "busy", interval: 60, retry_in }));
        assert_eq!(written(None).get("interval").and_then(Value::as_integer), Some(60));
        assert_eq!(written(None).get("retry in"), None);
        assert_eq!(written(Some(RetryIn::Minutes(7))).get("retry in"), Some(&Value::Integer(7)));
        assert_eq!(written(Some(RetryIn::Never)).get("retry in"), Some(&Value::Bytes(b"never".to_vec())));
    }

    #[test]
    fn a_scrape_has_raw_keys_in_order_each_once() {
        let counts = Counts { complete: 1, incomplete: 2, downloaded: 3 };
        let files =
            vec![(InfoHash([2; 20]), counts), (InfoHash([1; 20]), counts), (InfoHash([2; 20]), counts)];
        let value = ordered(&scrape(files.clone(), ScrapeForm::Counts));
        let Some(Value::Dictionary(entries)) = value.get("files") else { panic!("files") };
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[&vec![1; 20]].get("downloaded"), None);
        let value = ordered(&scrape(files, ScrapeForm::WithDownloaded));
        let Some(Value::Dictionary(entries)) = value.get("files") else { panic!("files") };
        assert_eq!(entries[&vec![1; 20]].get("downloaded"), Some(&Value::Integer(3)));
    }
}
