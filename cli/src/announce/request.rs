//! The URLs that a client would ask for (BEP 3, BEP 48).

use contract::{Event, PeerId};
use hyper::Uri;
use wire::http::PeerForm;
use wire::http::request::{AnnounceRequest, ScrapeRequest};
use wire::url::scrape_path;

use super::{Announce, Scrape, checked_passkey};
use crate::failure::Failure;

/// The whole URL of an announce.
pub(super) fn announce_url(command: &Announce) -> Result<Uri, Failure> {
    let passkey = checked_passkey(command.passkey.as_ref())?;
    let event = command.event.as_deref().and_then(|word| Event::from_word(word.as_bytes()));
    let request = AnnounceRequest {
        info_hash: command.info_hash,
        peer_id: command.peer_id.unwrap_or_else(random_peer_id),
        port: command.port,
        uploaded: command.uploaded,
        downloaded: command.downloaded,
        left: command.left,
        event: event.unwrap_or_default(),
        form: if command.compact == 1 { PeerForm::Compact } else { PeerForm::List },
        numwant: command.numwant.map(Into::into),
        ip: None,
        passkey: passkey.as_deref(),
    };
    url(&command.url, command.url.path(), |out| request.write(out))
}

/// The whole URL of a scrape, from a scrape or an announce URL.
pub(super) fn scrape_url(command: &Scrape) -> Result<Uri, Failure> {
    let path = scrape_path(command.url.path()).ok_or_else(|| {
        Failure::usage(
            "the URL has neither `scrape` nor `announce` in its path: this tracker offers no scrape",
        )
    })?;
    let passkey = checked_passkey(command.passkey.as_ref())?;
    let request = ScrapeRequest { info_hashes: &command.info_hashes, passkey: passkey.as_deref() };
    url(&command.url, &path, |out| request.write(out))
}

/// Eight characters of our own and twelve random digits, as clients do (BEP 20).
fn random_peer_id() -> PeerId {
    let mut id = *b"-SB0001-000000000000";
    for digit in &mut id[8..] {
        *digit = rand::random_range(b'0'..=b'9');
    }
    PeerId(id)
}

/// The query that `write` appends goes on where the one ends that the URL came with. The errors do not repeat
/// the URL: it may hold a passkey.
fn url(base: &Uri, path: &str, write: impl FnOnce(&mut Vec<u8>)) -> Result<Uri, Failure> {
    let authority = match (base.scheme_str(), base.authority()) {
        (Some("http"), Some(authority)) => authority.clone(),
        (Some(other), _) if other != "http" => {
            return Err(Failure::usage(format!("only http:// trackers can be asked so far, not {other}://")));
        }
        _ => return Err(Failure::usage("expected a URL such as http://127.0.0.1:6969/announce")),
    };
    let mut whole = format!("{path}?").into_bytes();
    if let Some(query) = base.query().filter(|query| !query.is_empty()) {
        whole.extend_from_slice(query.as_bytes());
        whole.push(b'&');
    }
    write(&mut whole);
    let built = Uri::builder().scheme("http").authority(authority).path_and_query(whole).build();
    built.map_err(|error| Failure::usage(format!("the URL cannot be used: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_goes_on_where_the_url_ends() {
        let base: Uri = "http://h:1/announce?passkey=k".parse().unwrap();
        let url = url(&base, base.path(), |out| out.extend_from_slice(b"info_hash=%FFa")).unwrap();
        assert_eq!(url.to_string(), "http://h:1/announce?passkey=k&info_hash=%FFa");
    }

    #[test]
    fn random_peer_ids_are_ours_and_differ() {
        assert!(random_peer_id().0.starts_with(b"-SB0001-"));
        assert_ne!(random_peer_id(), random_peer_id());
    }
}
