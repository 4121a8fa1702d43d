//! The UDP codec against what real clients sent: `fixtures/udp_packets.txt`.

#![allow(clippy::unwrap_used)]

use wire::udp::{PROTOCOL_ID, Request, event, parse, url_data};

const TORRENT: &str = "94ad36f1dac570568d970ca9d4e586b58d248885";
const CONNECTION: u64 = 0x1122_3344_5566_7788;

struct Recording {
    client: &'static str,
    peer_id: &'static str,
    url: Option<&'static str>,
    packet: Vec<u8>,
}

fn recordings() -> Vec<Recording> {
    let lines = include_str!("fixtures/udp_packets.txt").lines().filter(|line| !line.starts_with('#'));
    let read = |line: &'static str| {
        let [client, peer_id, url, packet] = line.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        Recording { client, peer_id, url: (url != "-").then_some(url), packet: bytes(packet) }
    };
    lines.map(read).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn what_real_clients_send_is_understood() {
    let mut events = std::collections::BTreeMap::<&str, Vec<u32>>::new();
    for Recording { client, peer_id, url, packet } in recordings() {
        match parse(&packet).unwrap_or_else(|error| panic!("{client}: {error}")) {
            Request::Connect { .. } => assert_eq!(packet[..8], PROTOCOL_ID.to_be_bytes(), "{client}"),
            Request::Scrape(scrape) => {
                assert_eq!((scrape.connection, scrape.info_hashes.len()), (CONNECTION, 1), "{client}");
            }
            Request::Announce(announce) => {
                assert_eq!((announce.connection, announce.left), (CONNECTION, 17_000), "{client}");
                assert_eq!(announce.info_hash.to_string(), TORRENT, "{client}");
                assert!(announce.peer_id.0.starts_with(peer_id.as_bytes()), "{client}");
                assert!(announce.port > 1024 && announce.num_want <= 200, "{client}");
                let sent = url_data::collect(announce.options).unwrap();
                assert_eq!(sent.as_deref(), url.map(str::as_bytes), "{client}");
                events.entry(client).or_default().push(announce.event);
                assert!(event(announce.event).is_some(), "{client}");
            }
        }
    }
    assert_eq!(events.len(), 6);
    for (client, events) in events {
        assert_eq!((events.first(), events.last()), (Some(&2), Some(&3)), "{client}: started to stopped");
    }
}

#[test]
fn what_real_clients_send_is_written_back_byte_for_byte() {
    for Recording { client, packet, .. } in recordings() {
        let mut written = Vec::new();
        parse(&packet).unwrap().write(&mut written);
        assert_eq!(written, packet, "{client}");
    }
}
