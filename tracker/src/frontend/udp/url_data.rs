//! URL data (BEP 41): the path and query of the announce URL, carried in options at the end of an announce.
//! This is how a passkey reaches a tracker over UDP.
//!
//! One option holds 255 bytes and longer URLs take several, but libtorrent up to 2.0 at least sends one and
//! cuts the rest: see [`CUT_AT`].

use std::borrow::Cow;

use super::packet::Malformed;
use crate::announce::{Credential, Refusal};
use crate::frontend::route::{Route, Routes};
use crate::frontend::url::{Proof, pairs};

/// Where clients cut a URL that would need a second option.
pub const CUT_AT: usize = 255;

const END: u8 = 0;
const NOTHING: u8 = 1;
const URL_DATA: u8 = 2;

/// The URL data of all options together, in their order; `None` when there is none. Options that nobody knows
/// are passed over.
///
/// # Errors
/// [`Malformed`] when an option is longer than the packet.
pub fn collect(mut options: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Malformed> {
    let mut url: Option<Cow<'_, [u8]>> = None;
    while let Some((kind, rest)) = options.split_first() {
        options = match *kind {
            END => break,
            NOTHING => rest,
            kind => {
                let (length, rest) = rest.split_first().ok_or(Malformed::TooShort)?;
                let (value, rest) = rest.split_at_checked(usize::from(*length)).ok_or(Malformed::TooShort)?;
                if kind == URL_DATA {
                    match &mut url {
                        Some(url) => url.to_mut().extend_from_slice(value),
                        none => *none = Some(Cow::Borrowed(value)),
                    }
                }
                rest
            }
        };
    }
    Ok(url)
}

/// Appends the options that carry `url`, as many as its length needs.
pub fn write(url: &[u8], out: &mut Vec<u8>) {
    for part in url.chunks(usize::from(u8::MAX)) {
        out.push(URL_DATA);
        out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(part);
    }
}

/// What a URL shows.
#[derive(Debug, Default)]
pub struct Shown {
    /// Who asks.
    pub credential: Option<Credential>,
    /// The token that lets it into the torrent.
    pub jwt: Option<Credential>,
}

/// What the URL shows to prove who asks. The path's credential wins over the query's. A path that is none of
/// ours shows nothing and harms nothing: clients that send URL data send whatever stands in the torrent.
///
/// # Errors
/// The refusal to show the client when an escape is broken.
pub fn shown(url: &[u8], routes: &Routes) -> Result<Shown, Refusal> {
    let url = std::str::from_utf8(url).map_err(|_| Refusal::because("invalid query escape"))?;
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut proof = Proof::default();
    for (name, value) in pairs(query) {
        proof.take(name, value)?;
    }
    let from_path = match routes.find(path) {
        Some(Route::Announce(credential) | Route::Scrape(credential)) => credential,
        None => None,
    };
    Ok(Shown { credential: from_path.or_else(|| proof.credential()), jwt: proof.jwt() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn collected(options: &[u8]) -> Option<Vec<u8>> {
        collect(options).unwrap().map(Cow::into_owned)
    }

    fn credential(url: &str) -> Option<Credential> {
        let own = |paths: &[&str]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
        let routes =
            Routes::new(&own(&["/announce", "/announce/:passkey"]), &own(&["/scrape/:passkey"])).unwrap();
        shown(url.as_bytes(), &routes).unwrap().credential
    }

    #[test]
    fn options_are_joined_and_others_passed_over() {
        assert_eq!(collected(b""), None);
        assert_eq!(collected(b"\0\x02\x01x"), None, "nothing counts after the end");
        assert_eq!(collected(b"\x02\x00"), Some(vec![]));
        assert_eq!(collected(b"\x01\x02\x02/a\x01\x09\x03???\x02\x01b\0rest"), Some(b"/ab".to_vec()));
    }

    #[test]
    fn an_option_longer_than_the_packet_is_none() {
        for options in [&b"\x02"[..], b"\x02\x01", b"\x02\x05/abc", b"\x09\x01"] {
            assert_eq!(collect(options), Err(Malformed::TooShort), "{options:?}");
        }
    }

    #[test]
    fn a_credential_stands_in_path_or_query() {
        let key = |text: &[u8]| Some(Credential::new(text));
        assert_eq!(credential("/announce/k1"), key(b"k1"));
        assert_eq!(credential("/scrape/k1"), key(b"k1"));
        assert_eq!(credential("/announce?passkey=k%31"), key(b"k1"));
        assert_eq!(credential("/elsewhere?auth_key=k1&x"), key(b"k1"));
        assert_eq!(credential("?credential=c&passkey=p"), key(b"c"));
        assert_eq!(credential("/announce/path?passkey=query"), key(b"path"));
        assert_eq!((credential(""), credential("/"), credential("/announce")), (None, None, None));
        let token = shown(b"/announce/k1?jwt=a.b.c", &Routes::default()).unwrap().jwt;
        assert_eq!(token, key(b"a.b.c"));
    }

    #[test]
    fn broken_text_is_refused() {
        for url in [&b"/announce?passkey=%4"[..], b"\xff"] {
            let refusal = shown(url, &Routes::default()).unwrap_err();
            assert_eq!(refusal.reason, "invalid query escape");
        }
    }

    proptest! {
        #[test]
        fn a_url_of_any_length_survives(url in proptest::collection::vec(any::<u8>(), 1..1200)) {
            let mut options = Vec::new();
            write(&url, &mut options);
            prop_assert_eq!(collected(&options), Some(url));
        }

        #[test]
        fn no_options_make_it_panic(options in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(url)) = collect(&options) {
                drop(shown(&url, &Routes::default()));
            }
        }
    }
}
