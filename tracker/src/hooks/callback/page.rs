//! One question to the site: `GET <http_url>?passkey=<passkey>`, and what its answer means.

use contract::Passkey;
use contract::sealed::Word;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use thiserror::Error;

use super::{Extras, Opinion};
use crate::fetch::{Answer, FetchError, Fetcher};

/// How the tracker proves itself to the site: a header's name and value. The value is marked sensitive.
pub type Credentials = (HeaderName, HeaderValue);

/// The site's page that says who may announce.
#[derive(Debug, Clone)]
pub struct ApprovalPage {
    pub(crate) fetcher: Fetcher,
    /// Its address, which may have a query of its own.
    pub uri: Uri,
    pub(crate) credentials: Option<Credentials>,
}

/// Why the site's opinion is not known.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer says neither `\"valid\": true` nor `\"valid\": false`")]
    NoOpinion,
    #[error("the address cannot carry a passkey")]
    Address,
}

impl ApprovalPage {
    /// One request about one passkey, without a retry.
    pub(super) async fn ask(&self, passkey: &Passkey) -> Result<Opinion, Failure> {
        let uri = with_passkey(&self.uri, passkey).ok_or(Failure::Address)?;
        let headers: &[Credentials] = self.credentials.as_slice();
        read(&self.fetcher.get(uri, headers).await?)
    }
}

/// A passkey's characters need no escape in a query.
fn with_passkey(uri: &Uri, passkey: &Passkey) -> Option<Uri> {
    let path = uri.path();
    let query = match uri.query() {
        Some(query) if !query.is_empty() => format!("{query}&passkey={}", passkey.reveal()),
        _ => format!("passkey={}", passkey.reveal()),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{path}?{query}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[derive(Deserialize)]
struct Body {
    valid: Option<bool>,
    fd: Option<Word>,
    pd: Option<Word>,
    data: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    valid: Option<bool>,
    fd: Option<Word>,
    pd: Option<Word>,
}

/// A page that is not there, or is forbidden for this passkey, is a no. What says that *we* are not welcome
/// (401, 407), or that it was too much (408, 429), is no opinion about anybody, and neither is a redirect or
/// an error of the site.
fn read(answer: &Answer) -> Result<Opinion, Failure> {
    match answer.status.as_u16() {
        200..=299 => read_body(&answer.body),
        401 | 407 | 408 | 429 => Err(Failure::Status(answer.status)),
        400..=499 => Ok(Opinion::Refused),
        _ => Err(Failure::Status(answer.status)),
    }
}

fn read_body(body: &[u8]) -> Result<Opinion, Failure> {
    let Body { valid, fd, pd, data } = serde_json::from_slice(body).map_err(|_| Failure::NoOpinion)?;
    let inner = data.unwrap_or(Inner { valid: None, fd: None, pd: None });
    match valid.or(inner.valid) {
        None => Err(Failure::NoOpinion),
        Some(false) => Ok(Opinion::Refused),
        Some(true) => {
            let text = |word: Option<Word>| word.map(Word::into_text).filter(|text| !text.is_empty());
            Ok(Opinion::Approved(Extras { fd: text(fd.or(inner.fd)), pd: text(pd.or(inner.pd)) }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Opinion, String> {
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), body: body.to_owned().into() };
        read(&answer).map_err(|failure| failure.to_string())
    }

    fn approved(fd: Option<&str>, pd: Option<&str>) -> Result<Opinion, String> {
        Ok(Opinion::Approved(Extras { fd: fd.map(Into::into), pd: pd.map(Into::into) }))
    }

    #[test]
    fn either_form_of_a_yes_approves_with_what_it_carries() {
        assert_eq!(answer(200, r#"{"valid": true}"#), approved(None, None));
        assert_eq!(
            answer(204, r#"{"valid": true, "fd": 17, "pd": "x", "user": {}}"#),
            approved(Some("17"), Some("x"))
        );
        assert_eq!(
            answer(200, r#"{"data": {"valid": true, "fd": "f"}, "pd": 2}"#),
            approved(Some("f"), Some("2"))
        );
    }

    #[test]
    fn a_no_is_a_no_in_words_or_by_status() {
        for (status, body) in [
            (200, r#"{"valid": false}"#),
            (200, r#"{"data": {"valid": false}}"#),
            (404, ""),
            (403, "no"),
            (422, "{}"),
        ] {
            assert_eq!(answer(status, body), Ok(Opinion::Refused), "{status} {body}");
        }
    }

    #[test]
    fn what_is_neither_is_a_failure() {
        for (status, body) in [
            (200, ""),
            (200, "<html>"),
            (200, "{}"),
            (200, r#"{"valid": "yes"}"#),
            (301, r#"{"valid": true}"#),
            (401, r#"{"valid": true}"#),
            (429, ""),
            (500, r#"{"valid": true}"#),
        ] {
            assert!(answer(status, body).is_err(), "{status} {body}");
        }
    }

    #[test]
    fn the_address_keeps_its_own_query() {
        let asked =
            |uri: &str| with_passkey(&uri.parse().unwrap(), &"k1".parse().unwrap()).unwrap().to_string();
        assert_eq!(asked("https://s.example/check"), "https://s.example/check?passkey=k1");
        assert_eq!(asked("https://s.example/check?"), "https://s.example/check?passkey=k1");
        assert_eq!(asked("http://s.example?a=b"), "http://s.example/?a=b&passkey=k1");
    }
}
