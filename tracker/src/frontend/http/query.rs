//! From a query to an announce or scrape that hooks can judge. Pure.

use std::net::IpAddr;

use contract::Extras;
use wire::http::PeerForm;
use wire::http::query::{AnnounceQuery, ScrapeQuery};

use crate::announce::{Announce, Credential, Families, MAX_COUNTER, PeerIds, Refusal, Scrape};
use crate::arrival::Arrival;
use crate::frontend::credentials::UrlCredentials;
use crate::frontend::limits::{self, EventFields, Limits, Spoofing};

/// An announce with what only HTTP knows about it.
#[derive(Debug, Clone)]
pub struct HttpAnnounce {
    /// The part that hooks judge.
    pub announce: Announce,
    /// How to write the reply.
    pub form: PeerForm,
    /// The client sent an event that nobody knows; treated as none.
    pub unknown_event: bool,
}

impl HttpAnnounce {
    /// The same by this client, if the operator wants to see which.
    #[must_use]
    pub fn by(mut self, agent: Option<String>) -> Self {
        if agent.is_some() {
            self.announce.extras.get_or_insert_default().agent = agent;
        }
        self
    }
}

/// Reads an announce. `credential` is what the path carried, which wins over the query.
///
/// # Errors
/// The refusal to show the client; its text names the parameter, never the value.
pub fn announce(
    query: &str,
    arrival: Arrival,
    credential: Option<Credential>,
    limits: &Limits,
) -> Result<HttpAnnounce, Refusal> {
    let query = AnnounceQuery::read(query)?;
    let (event, unknown_event) = query.event();
    let form = query.form();
    let shown = UrlCredentials::by(&query.credentials, credential);
    let claimed_ip = if limits.spoofing == Spoofing::Allowed { query.claimed_ip() } else { None };
    let announce = Announce {
        info_hash: query.info_hash()?,
        peer_id: query.peer_id()?,
        ip: claimed_ip.unwrap_or(arrival.ip),
        port: query.port()?,
        uploaded: limits::counter("uploaded", query.uploaded()?)?,
        downloaded: limits::counter("downloaded", query.downloaded()?)?,
        left: limits::left(query.left()?),
        event,
        num_want: query.numwant()?.map_or(limits.default_numwant, |wanted| limits.num_want(wanted)),
        families: Families::Both,
        peer_ids: if form == PeerForm::List { PeerIds::Named } else { PeerIds::Spared },
        arrived: arrival.at,
        way: shown.way(arrival.way),
        credential: shown.credential,
        jwt: shown.jwt,
        extras: extras(&query, limits),
    };
    Ok(HttpAnnounce { announce, form, unknown_event })
}

/// What the operator wants to see besides. The agent stands elsewhere.
fn extras(query: &AnnounceQuery<'_>, limits: &Limits) -> Option<Box<Extras>> {
    let EventFields { key, corrupt, .. } = limits.event_fields;
    let key = if key { query.key() } else { None };
    let corrupt = if corrupt { query.corrupt() } else { None };
    let key = key.and_then(|key| limits::text(&key));
    let corrupt = corrupt.filter(|bytes| *bytes <= MAX_COUNTER);
    (key.is_some() || corrupt.is_some()).then(|| Box::new(Extras { agent: None, key, corrupt }))
}

/// Reads a scrape.
///
/// # Errors
/// The refusal to show the client.
pub fn scrape(
    query: &str,
    ip: IpAddr,
    credential: Option<Credential>,
    limits: &Limits,
) -> Result<Scrape, Refusal> {
    let ScrapeQuery { info_hashes, credentials } = ScrapeQuery::read(query, limits.max_scrape_infohashes)?;
    let credential = UrlCredentials::by(&credentials, credential).credential;
    Ok(Scrape { info_hashes, ip, credential })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    use contract::Event;
    use proptest::prelude::*;

    use crate::arrival::Way;

    const LIMITS: Limits = Limits {
        default_numwant: 50,
        max_numwant: 100,
        max_scrape_infohashes: 3,
        spoofing: Spoofing::Ignored,
        event_fields: EventFields::NONE,
    };
    const HASH: &str = "%01%02%03%04%05%06%07%08%09%0a%0b%0c%0d%0e%0f%10%11%12%13%14";

    fn ip() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    fn arrival() -> Arrival {
        Arrival { at: Instant::now(), ip: ip(), way: Way::default() }
    }

    fn read(extra: &str) -> Result<HttpAnnounce, String> {
        let base =
            format!("info_hash={HASH}&peer_id=-TR4000-abcdefghijkl&port=6881&uploaded=1&downloaded=2&left=3");
        announce(&format!("{base}{extra}"), arrival(), None, &LIMITS)
            .map_err(|refusal| refusal.reason.into_owned())
    }

    fn refused(query: &str) -> String {
        announce(query, arrival(), None, &LIMITS).unwrap_err().reason.into_owned()
    }

    #[test]
    fn a_usual_announce_is_read() {
        let read = read("&event=started&numwant=20&compact=1&passkey=k1&key=abc&jwt=a.b.c").unwrap();
        let announce = read.announce;
        assert_eq!(announce.info_hash.0[19], 0x14);
        assert_eq!((announce.uploaded, announce.downloaded, announce.left), (1, 2, 3));
        assert_eq!((announce.event, announce.num_want, read.form), (Event::Started, 20, PeerForm::Compact));
        assert_eq!(announce.credential, Some(Credential::new(b"k1")));
        assert_eq!(announce.jwt, Some(Credential::new(b"a.b.c")));
    }

    #[test]
    fn what_is_wrong_is_named_in_the_texts_clients_know() {
        assert_eq!(refused(""), "no info_hash parameter supplied");
        assert_eq!(refused("info_hash=abc"), "provided invalid infohash");
        assert_eq!(
            refused(&format!("info_hash={HASH}&info_hash={HASH}")),
            "multiple info_hash parameters supplied"
        );
        assert_eq!(refused(&format!("info_hash={HASH}")), "failed to provide valid peer_id");
        assert_eq!(refused("info_hash=%zz"), "invalid query escape");
        assert_eq!(refused("info_hash=%4"), "invalid query escape");
        assert_eq!(read("&port=70000").unwrap_err(), "invalid port");
        assert_eq!(read("&uploaded=-1").unwrap_err(), "failed to parse parameter: uploaded");
        assert_eq!(read("&left=x").unwrap_err(), "failed to parse parameter: left");
        assert_eq!(read("&numwant=x").unwrap_err(), "failed to parse parameter: numwant");
        assert_eq!(
            read("&downloaded=9007199254740992").unwrap_err(),
            "failed to parse parameter: downloaded"
        );
    }

    #[test]
    fn numwant_follows_the_limits() {
        let wants = |extra: &str| read(extra).unwrap().announce.num_want;
        assert_eq!(wants(""), 50);
        assert_eq!(wants("&numwant=-1"), 50);
        assert_eq!(wants("&numwant=0"), 0);
        assert_eq!(wants("&numwant=1000"), 100);
    }

    #[test]
    fn odd_clients_are_understood() {
        assert_eq!(read("&event=stoped").unwrap().announce.event, Event::Stopped);
        assert!(!read("&event=paused").unwrap().unknown_event);
        assert!(read("&event=resting").unwrap().unknown_event);
        assert_eq!(read("&left=18446744073709551615").unwrap().announce.left, i64::MAX.unsigned_abs());
        assert_eq!(read("&compact=0").unwrap().form, PeerForm::List);
        assert_eq!(read("&no_peer_id=1").unwrap().form, PeerForm::ListWithoutIds);
        assert_eq!(read("&auth_key=k2").unwrap().announce.credential, Some(Credential::new(b"k2")));
        let hex = "0102030405060708090a0b0c0d0e0f1011121314";
        let query =
            format!("info_hash={hex}&peer_id=-TR4000-abcdefghijkl&port=1&uploaded=0&downloaded=0&left=0");
        assert_eq!(announce(&query, arrival(), None, &LIMITS).unwrap().announce.info_hash.0[0], 1);
    }

    #[test]
    fn the_paths_credential_wins_and_a_claimed_address_needs_permission() {
        let query =
            format!("info_hash={HASH}&peer_id=-TR4000-abcdefghijkl&port=1&uploaded=0&downloaded=0&left=0");
        let query = format!("{query}&passkey=q&ip=198.51.100.7");
        let path = Some(Credential::new(b"p"));
        let read = announce(&query, arrival(), path.clone(), &LIMITS).unwrap().announce;
        assert_eq!((read.credential, read.ip), (path, ip()));
        let allowed = Limits { spoofing: Spoofing::Allowed, ..LIMITS };
        assert_eq!(
            announce(&query, arrival(), None, &allowed).unwrap().announce.ip.to_string(),
            "198.51.100.7"
        );
    }

    #[test]
    fn what_only_some_sites_want_is_read_for_them_and_refuses_nobody() {
        let base =
            format!("info_hash={HASH}&peer_id=-TR4000-abcdefghijkl&port=1&uploaded=0&downloaded=0&left=0");
        let read = |extra: &str, event_fields| {
            let limits = Limits { event_fields, ..LIMITS };
            announce(&format!("{base}&{extra}"), arrival(), None, &limits).unwrap().announce.extras
        };
        let wanted = EventFields { key: true, corrupt: true, ..EventFields::NONE };
        let extras = Extras { agent: None, key: Some("5D3 A".into()), corrupt: Some(7) };
        assert_eq!(read("key=5D3+%41&corrupt=7", wanted), Some(Box::new(extras)));
        assert_eq!(read("key=5D3&corrupt=7", EventFields::NONE), None);
        assert_eq!(read("key=%zz&corrupt=-1", wanted), None);
        assert_eq!(read("key=&corrupt=9007199254740992", wanted), None);
    }

    #[test]
    fn a_scrape_reads_as_many_torrents_as_allowed() {
        let query = vec![format!("info_hash={HASH}"); 5].join("&");
        assert_eq!(scrape(&query, ip(), None, &LIMITS).unwrap().info_hashes.len(), 3);
        let none = scrape("passkey=k", ip(), None, &LIMITS).unwrap_err();
        assert_eq!(none.reason, "no info_hash parameter supplied");
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query in ".{0,300}") {
            drop(announce(&query, arrival(), None, &LIMITS));
            drop(scrape(&query, ip(), None, &LIMITS));
        }

        #[test]
        fn any_twenty_bytes_survive_the_escape(bytes in any::<[u8; 20]>()) {
            let escaped: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
            let query = format!("info_hash={escaped}&peer_id={escaped}&port=1&uploaded=0&downloaded=0&left=0");
            let read = announce(&query, arrival(), None, &LIMITS).unwrap().announce;
            prop_assert_eq!((read.info_hash.0, read.peer_id.0), (bytes, bytes));
        }
    }
}
