//! Where the load goes: one tracker, and the announce and scrape paths with the place for a passkey.
//!
//! The URL may hold a passkey, so only the address is ever shown.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

use wire::url::scrape_path;

use crate::error::LoadError;

/// Stands for each user's passkey, as in the tracker's own routes.
const PLACEHOLDER: &str = ":passkey";

/// How a tracker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Udp,
}

/// One tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
    /// Host and port as the URL has them.
    pub(crate) authority: String,
    /// Path and query; at least `/`.
    path: String,
}

impl Target {
    /// Reads a URL and looks its host up. Without `allow_remote` only this machine's own addresses are taken.
    pub(crate) fn read(url: &str) -> Result<Self, LoadError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(bad_url)?;
        let (protocol, port) = match scheme {
            "http" => (Protocol::Http, Some(80)),
            "udp" => (Protocol::Udp, None),
            _ => return Err(bad_url()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty()
            || authority.contains('@')
            || !path.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(bad_url());
        }
        let path = match path {
            "" | "/" => "/announce".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        };
        Ok(Self { protocol, address: resolve(authority, port)?, authority: authority.to_owned(), path })
    }

    /// Whether the address is this machine's loopback.
    pub(crate) fn is_local(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }

    /// Where announces go. `passkeys`: whether there are any to send.
    pub(crate) fn announce(&self, passkeys: Passkeys) -> Result<Path, LoadError> {
        Path::new(&self.path, passkeys)
    }

    /// Where scrapes go, or `None` on a tracker that offers none there.
    pub(crate) fn scrape(&self, passkeys: Passkeys) -> Result<Option<Path>, LoadError> {
        let (path, query) = self.path.split_at(self.path.find('?').unwrap_or(self.path.len()));
        let scrape = scrape_path(path).map(|path| Path::new(&format!("{path}{query}"), passkeys));
        scrape.transpose()
    }

    /// Whether the URL says more than where the tracker is.
    pub(crate) fn has_url_data(&self) -> bool {
        self.path != "/announce"
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.protocol == Protocol::Http { "http" } else { "udp" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// Whether users' passkeys are to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passkeys {
    /// One with each request.
    Sent,
    /// None, or one for all that stands in the URL.
    NotSent,
}

/// A path with the place where a passkey goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    before: String,
    after: String,
    /// What the next parameter of the query begins with.
    pub(crate) separator: u8,
}

impl Path {
    fn new(path: &str, passkeys: Passkeys) -> Result<Self, LoadError> {
        let joint = |text: &str| if text.contains('?') { b'&' } else { b'?' };
        let (before, after) = match (path.split_once(PLACEHOLDER), passkeys) {
            (Some((before, after)), Passkeys::Sent) => (before.to_owned(), after.to_owned()),
            (Some(_), Passkeys::NotSent) => {
                return Err(LoadError::usage("`:passkey` in the URL needs --users or --passkeys"));
            }
            (None, Passkeys::Sent) => (format!("{path}{}passkey=", char::from(joint(path))), String::new()),
            (None, Passkeys::NotSent) => (path.to_owned(), String::new()),
        };
        let separator = if before.contains('?') { b'&' } else { joint(&after) };
        Ok(Self { before, after, separator })
    }

    /// Appends the path with this passkey.
    pub(crate) fn write(&self, passkey: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.before.as_bytes());
        out.extend_from_slice(passkey.unwrap_or_default().as_bytes());
        out.extend_from_slice(self.after.as_bytes());
    }
}

fn resolve(authority: &str, default_port: Option<u16>) -> Result<SocketAddr, LoadError> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let named = match default_port {
        Some(port) if !has_port => format!("{authority}:{port}"),
        _ => authority.to_owned(),
    };
    let found = named.to_socket_addrs().map_err(|error| LoadError::usage(format!("{named}: {error}")))?;
    found.into_iter().next().ok_or_else(|| LoadError::usage(format!("{named} has no address")))
}

/// The URL is not repeated: it may hold a passkey.
fn bad_url() -> LoadError {
    LoadError::usage("expected a URL such as http://127.0.0.1:6969/announce or udp://127.0.0.1:6969")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(url: &str, passkeys: Passkeys) -> String {
        let path = Target::read(url).unwrap().announce(passkeys).unwrap();
        let mut out = Vec::new();
        path.write((passkeys == Passkeys::Sent).then_some("KEY"), &mut out);
        out.push(path.separator);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_passkey_goes_where_the_url_has_room_for_it_and_else_into_the_query() {
        let url = |path: &str| format!("http://127.0.0.1:6969{path}");
        assert_eq!(written(&url(""), Passkeys::NotSent), "/announce?");
        assert_eq!(written(&url("/KEY/announce"), Passkeys::NotSent), "/KEY/announce?");
        assert_eq!(written(&url("/:passkey/announce"), Passkeys::Sent), "/KEY/announce?");
        assert_eq!(written(&url("/announce?auth_key=:passkey"), Passkeys::Sent), "/announce?auth_key=KEY&");
        assert_eq!(written(&url("/announce?a=b"), Passkeys::Sent), "/announce?a=b&passkey=KEY&");
        assert!(Target::read(&url("/announce/:passkey")).unwrap().announce(Passkeys::NotSent).is_err());
    }

    #[test]
    fn addresses_are_read_in_all_their_forms_and_nothing_else() {
        let address = |url: &str| Target::read(url).map(|target| target.address.to_string()).ok();
        assert_eq!(address("http://127.0.0.1/announce").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(address("udp://[::1]:6969").as_deref(), Some("[::1]:6969"));
        for bad in [
            "https://127.0.0.1/announce",
            "127.0.0.1:6969",
            "udp://127.0.0.1",
            "http:///x",
            "http://u@127.0.0.1/",
            "http://127.0.0.1/a b",
        ] {
            assert_eq!(address(bad), None, "{bad}");
        }
        assert!(Target::read("http://127.3.2.1:1/").unwrap().is_local());
        assert!(!Target::read("http://192.0.2.1:1/").unwrap().is_local());
    }
}
