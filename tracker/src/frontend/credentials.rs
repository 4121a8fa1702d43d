//! Which of the things that a URL shows proves who asks: over HTTP the URL is the request's, over UDP it
//! comes as URL data (BEP 41). The path wins over the query, and of several names in a query the one that
//! says most. Pure.

use wire::http::query::{BadQuery, Credentials};
use wire::url::pairs;

use super::route::{Route, Routes};
use crate::announce::{Credential, Refusal};
use crate::arrival::Way;

/// The credential and token in an announce URL.
#[derive(Debug, Default)]
pub struct UrlCredentials {
    pub(crate) credential: Option<Credential>,
    /// The token that lets it into the torrent.
    pub jwt: Option<Credential>,
}

impl UrlCredentials {
    /// What a query shows. `path` is the path's credential, if it has one.
    pub(crate) fn by(query: &Credentials<'_>, path: Option<Credential>) -> Self {
        let shown = |value: wire::url::Value<'_>| Credential::new(&value.bytes());
        let in_query = || query.credential.or(query.passkey).or(query.auth_key).map(shown);
        Self { credential: path.or_else(in_query), jwt: query.jwt.map(shown) }
    }

    /// The credential is part of the URL that a client knows the tracker by.
    pub(crate) fn way(&self, way: Way) -> Way {
        self.credential.as_ref().map_or(way, |credential| way.by(credential.reveal()))
    }

    /// What URL data shows. A path that is none of ours shows nothing and harms nothing: clients that send
    /// URL data send whatever stands in the torrent.
    ///
    /// # Errors
    /// The refusal to show the client when an escape is broken.
    pub fn in_url(url: &[u8], routes: &Routes) -> Result<Self, Refusal> {
        let url = std::str::from_utf8(url).map_err(|_| BadQuery::Escape)?;
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let mut credentials = Credentials::default();
        for (name, value) in pairs(query) {
            credentials.take(name, value).map_err(BadQuery::from)?;
        }
        let from_path = match routes.find(path) {
            Some(Route::Announce(credential) | Route::Scrape(credential)) => credential,
            None => None,
        };
        Ok(Self::by(&credentials, from_path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn credential(url: &str) -> Option<Credential> {
        let own = |paths: &[&str]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
        let routes =
            Routes::new(&own(&["/announce", "/announce/:passkey"]), &own(&["/scrape/:passkey"])).unwrap();
        UrlCredentials::in_url(url.as_bytes(), &routes).unwrap().credential
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
        let token = UrlCredentials::in_url(b"/announce/k1?jwt=a.b.c", &Routes::default()).unwrap().jwt;
        assert_eq!(token, key(b"a.b.c"));
    }

    #[test]
    fn broken_text_is_refused() {
        for url in [&b"/announce?passkey=%4"[..], b"\xff"] {
            let refusal = UrlCredentials::in_url(url, &Routes::default()).unwrap_err();
            assert_eq!(refusal.reason, "invalid query escape");
        }
    }

    proptest! {
        #[test]
        fn no_url_makes_it_panic(url in proptest::collection::vec(any::<u8>(), 0..300)) {
            // That it returns is all that is asserted.
            drop(UrlCredentials::in_url(&url, &Routes::default()));
        }
    }
}
