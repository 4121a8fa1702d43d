//! The URLs that a client would ask for (BEP 3, BEP 48).

use contract::PeerId;
use hyper::Uri;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::{Announce, Scrape, checked_passkey};
use crate::failure::Failure;

/// The whole URL of an announce.
pub(super) fn announce_url(command: &Announce) -> Result<Uri, Failure> {
    let peer_id = command.peer_id.unwrap_or_else(random_peer_id);
    let mut query = Query::of(&command.url);
    query.add("info_hash", &escaped(&command.info_hash.0));
    query.add("peer_id", &escaped(&peer_id.0));
    query.add("port", &command.port.to_string());
    query.add("uploaded", &command.uploaded.to_string());
    query.add("downloaded", &command.downloaded.to_string());
    query.add("left", &command.left.to_string());
    query.add("compact", &command.compact.to_string());
    if let Some(event) = &command.event {
        query.add("event", event);
    }
    if let Some(numwant) = command.numwant {
        query.add("numwant", &numwant.to_string());
    }
    if let Some(passkey) = checked_passkey(command.passkey.as_ref())? {
        query.add("passkey", &passkey);
    }
    query.url(&command.url, command.url.path())
}

/// The whole URL of a scrape, from a scrape or an announce URL.
pub(super) fn scrape_url(command: &Scrape) -> Result<Uri, Failure> {
    let path = scrape_path(command.url.path()).ok_or_else(|| {
        Failure::usage(
            "the URL has neither `scrape` nor `announce` in its path: this tracker offers no scrape",
        )
    })?;
    let mut query = Query::of(&command.url);
    for info_hash in &command.info_hashes {
        query.add("info_hash", &escaped(&info_hash.0));
    }
    if let Some(passkey) = checked_passkey(command.passkey.as_ref())? {
        query.add("passkey", &passkey);
    }
    query.url(&command.url, &path)
}

/// `/x/announce.php` -> `/x/scrape.php`, also where a passkey follows: `/announce/KEY` -> `/scrape/KEY`.
pub(crate) fn scrape_path(path: &str) -> Option<String> {
    if path.split('/').any(|segment| segment.starts_with("scrape")) {
        return Some(path.to_owned());
    }
    let (before, after) = path.rsplit_once("/announce")?;
    Some(format!("{before}/scrape{after}"))
}

/// Eight characters of our own and twelve random digits, as clients do (BEP 20).
fn random_peer_id() -> PeerId {
    let mut id = *b"-SB0001-000000000000";
    for digit in &mut id[8..] {
        *digit = rand::random_range(b'0'..=b'9');
    }
    PeerId(id)
}

fn escaped(bytes: &[u8]) -> String {
    percent_encode(bytes, NON_ALPHANUMERIC).to_string()
}

/// A query that grows behind the one which the URL came with.
struct Query(String);

impl Query {
    fn of(url: &Uri) -> Self {
        Self(url.query().unwrap_or_default().to_owned())
    }

    fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0 += name;
        self.0.push('=');
        self.0 += value;
    }

    /// The errors do not repeat the URL: it may hold a passkey.
    fn url(self, base: &Uri, path: &str) -> Result<Uri, Failure> {
        match (base.scheme_str(), base.authority()) {
            (Some("http"), Some(authority)) => Uri::builder()
                .scheme("http")
                .authority(authority.clone())
                .path_and_query(format!("{path}?{}", self.0))
                .build()
                .map_err(|error| Failure::usage(format!("the URL cannot be used: {error}"))),
            (Some(other), _) if other != "http" => {
                Err(Failure::usage(format!("only http:// trackers can be asked so far, not {other}://")))
            }
            _ => Err(Failure::usage("expected a URL such as http://127.0.0.1:6969/announce")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announce_url_becomes_its_scrape_url() {
        assert_eq!(scrape_path("/announce").as_deref(), Some("/scrape"));
        assert_eq!(scrape_path("/x/announce.php").as_deref(), Some("/x/scrape.php"));
        assert_eq!(scrape_path("/announce/KEY").as_deref(), Some("/scrape/KEY"));
        assert_eq!(scrape_path("/KEY/announce").as_deref(), Some("/KEY/scrape"));
        assert_eq!(scrape_path("/scrape/KEY").as_deref(), Some("/scrape/KEY"));
        assert_eq!(scrape_path("/a"), None);
    }

    #[test]
    fn a_query_goes_on_where_the_url_ends() {
        let base: Uri = "http://h:1/announce?passkey=k".parse().unwrap();
        let mut query = Query::of(&base);
        query.add("info_hash", &escaped(&[0xff, b'a']));
        let url = query.url(&base, base.path()).unwrap();
        assert_eq!(url.to_string(), "http://h:1/announce?passkey=k&info_hash=%FFa");
    }

    #[test]
    fn random_peer_ids_are_ours_and_differ() {
        assert!(random_peer_id().0.starts_with(b"-SB0001-"));
        assert_ne!(random_peer_id(), random_peer_id());
    }
}
