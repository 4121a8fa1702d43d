//! What a client writes into a URL.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use contract::InfoHash;
use tracker::arrival::{Arrival, Transport, Way};
use tracker::frontend::http::{query, reply};
use tracker::frontend::limits::{EventFields, Limits, Spoofing};
use tracker::frontend::route::{Route, Routes};
use wire::Counts;
use wire::bencode;
use wire::http::reply::{ScrapeForm, scrape};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

pub(crate) const LIMITS: Limits = Limits {
    default_numwant: 50,
    max_numwant: 100,
    max_scrape_infohashes: 50,
    spoofing: Spoofing::Allowed,
    event_fields: EventFields::NONE,
};

/// From this address, now.
pub(crate) fn arrival(ip: IpAddr) -> Arrival {
    Arrival { at: Instant::now(), ip, way: Way::over(Transport::Http, ip) }
}

/// An announce is read within its limits, or refused with a text that is proper bencode.
pub(crate) fn announce_query(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match query::announce(text, arrival(CLIENT), None, &LIMITS) {
        Ok(read) => {
            assert!(read.announce.num_want <= LIMITS.max_numwant);
            assert!(i64::try_from(read.announce.left).is_ok());
        }
        Err(refusal) => {
            let document = bencode::parse(&reply::refusal(&refusal, 60)).expect("a refusal is bencode");
            assert!(document.get("failure reason").is_some());
        }
    }
}

/// A scrape names at least one torrent and at most as many as allowed, and its reply is proper bencode.
pub(crate) fn scrape_query(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(read) = query::scrape(text, CLIENT, None, &LIMITS) else { return };
    assert!((1..=LIMITS.max_scrape_infohashes).contains(&read.info_hashes.len()));
    let files: Vec<(InfoHash, Counts)> =
        read.info_hashes.iter().map(|info_hash| (*info_hash, Counts::default())).collect();
    bencode::parse(&scrape(files, ScrapeForm::Counts)).expect("a scrape's reply is bencode");
}

/// The first line is a configured pattern, the rest a path.
pub(crate) fn path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (pattern, path) = text.split_once('\n').unwrap_or(("/:passkey/announce", text));
    let Ok(routes) = Routes::new(&[pattern.to_owned()], &[]) else { return };
    if let Some(Route::Announce(Some(credential))) = routes.find(path) {
        let shown = credential.reveal();
        assert!(
            path.as_bytes().windows(shown.len()).any(|part| part == shown),
            "a credential is part of the path"
        );
    }
}
